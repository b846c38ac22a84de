"""differences.png: each setting's difference from the baseline with its interval, and the paper's as marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_runtime.io.atomic import atomic_write
from reid_runtime.scoring.bootstrap import Interval

_REAL, _OPEN, _PAPER = "#1f4e8c", "#7f8fa6", "#c0392b"


@dataclass(frozen=True)
class Mark:
    """A line of the plot."""

    name: str
    difference: Interval
    """In points of mAP."""
    real: bool
    paper: tuple[float, float] | None
    """The paper's points, on Market-1501 and DukeMTMC-reID."""


def write_plot(path: Path, practices: Mapping[str, Sequence[Mark]], title: str) -> None:
    """Draw a panel a practice, by its title, over one axis of points."""
    # The figure itself, without pyplot: no window, no state that other figures of the process share.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [len(marks) + 0.8 for marks in practices.values()]
    figure = Figure(figsize=(8, 1.6 + 0.36 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(practices), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, marks) in zip(panels, practices.items(), strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for place, mark in enumerate(marks):
            found, colour = mark.difference, _REAL if mark.real else _OPEN
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot(found.value, place, "o", color=colour, markersize=6)
            # The paper's a little below, where the interval does not hide them.
            for value, shape in zip(mark.paper or (), "Ds", strict=False):
                axes.plot(value, place + 0.27, shape, color=_PAPER, markerfacecolor="none", markersize=5)
        axes.set_yticks(range(len(marks)), [mark.name for mark in marks])
        axes.set_ylim(len(marks) - 0.4, -0.6)
        axes.set_title(name, loc="left", fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    panels[-1].set_xlabel("points of mAP (finite-sum) from the baseline")
    legend = [
        panels[0].plot([], [], "o-", color=_REAL, label="ours, real")[0],
        panels[0].plot([], [], "o-", color=_OPEN, label="ours, 95 % interval holds 0 or too few seeds")[0],
        panels[0].plot([], [], "D", color=_PAPER, markerfacecolor="none", label="paper, Market-1501")[0],
        panels[0].plot([], [], "s", color=_PAPER, markerfacecolor="none", label="paper, DukeMTMC-reID")[0],
    ]
    figure.suptitle(title, fontsize=11)
    figure.legend(handles=legend, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    with atomic_write(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
