"""plots.png: loss, learning rate and held-out mAP over a run's updates."""

import importlib.util
from pathlib import Path

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.install import install_line
from reid_runtime.io.atomic import atomic_write
from training.run.record import read_metrics

PLOTS = "plots.png"
_PANELS = (
    ("loss", "loss, mean of the updates since the last record", "log"),
    ("learning_rate", "learning rate", "linear"),
    ("held_out_map", "mAP (finite-sum) of held-out people", "linear"),
)


class PlotError(ReidRuntimeError):
    """Plots cannot be drawn here."""


def check_plots() -> None:
    """Raises PlotError, before anything is trained, where what draws the plots is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise PlotError(f"the run's plots need matplotlib: {install_line('train')}")


def write_plots(folder: Path) -> None:
    """Draw the folder's metrics, a panel each; what was not measured stays empty."""
    # The figure itself, without pyplot: no window, no state that other figures of the process share.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_metrics(folder)
    figure = Figure(figsize=(8, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(_PANELS), sharex=True)
    for axis, (name, title, scale) in zip(axes, _PANELS, strict=True):
        points = [(record["update"], record[name]) for record in records if name in record]
        positive = bool(points) and min(value for _, value in points) > 0
        axis.plot([at for at, _ in points], [value for _, value in points], marker="." if len(points) < 50 else "")
        axis.set_yscale(scale if positive else "linear")
        axis.set_title(title, loc="left", fontsize=10)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("update")
    with atomic_write(folder / PLOTS) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
