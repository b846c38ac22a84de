"""differences.png: each variant's difference from the baseline with its interval, and the paper's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from reid_runtime.io.atomic import atomic_write
from training.ablation.factors import Factor
from training.ablation.results import MAP, Row

_REAL, _OPEN, _PAPER = "#1f4e8c", "#7f8fa6", "#c0392b"


def write_plot(path: Path, tables: Mapping[Factor, Sequence[Row]], title: str) -> None:
    """Draw a panel a factor over one axis of points of mAP."""
    # The figure itself, without pyplot: no window, no state that other figures of the process share.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    compared = {
        factor: [(row, row.differences[MAP]) for row in rows if row.differences] for factor, rows in tables.items()
    }
    heights = [len(lines) + 0.8 for lines in compared.values()]
    figure = Figure(figsize=(8, 1.6 + 0.36 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(compared), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (factor, lines) in zip(panels, compared.items(), strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for position, (row, difference) in enumerate(lines):
            both, colour = difference.both, _REAL if difference.is_real else _OPEN
            axes.plot([100 * both.low, 100 * both.high], [position] * 2, color=colour, lw=2.2, solid_capstyle="butt")
            axes.plot(100 * both.value, position, "o", color=colour, markersize=6)
            paper = row.paper_difference
            # The paper's a little below, where the interval does not hide them.
            for value, shape in zip((paper.market, paper.duke) if paper else (), "Ds", strict=False):
                axes.plot(value, position + 0.27, shape, color=_PAPER, markerfacecolor="none", markersize=5)
        axes.set_yticks(range(len(lines)), [row.variant.name for row, _ in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_title(f"{factor.title}; baseline: {factor.baseline.name}", loc="left", fontsize=10)
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
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
