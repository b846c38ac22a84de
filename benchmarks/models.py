"""python -m benchmarks models: the packaged models beside others, what they score against what they cost."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.environment import environment
from benchmarks.measurements import markdown_table
from benchmarks.timing import Interval, median_interval, paired
from reid_runtime import Embedder
from reid_runtime.backends.base import SideBySide
from reid_runtime.cli import run
from reid_runtime.errors import OptionsError
from reid_runtime.images.model_input import to_model_input
from reid_runtime.io.concurrency import cores, share_out
from reid_runtime.io.decode import decode
from reid_runtime.model_file.formats import OPENVINO, format_of
from reid_runtime.model_file.packaged import PACKAGED

_DEVICES = ("openvino", "cpu")
_EMBED, _NETWORK = "embed", "network"
Times = Mapping[tuple[str, str], Mapping[str, list[float]]]
"""Milliseconds a crop of round i as sample i: by what was timed and the device, then by model."""
_BATCH = 32
_WARMUP = 20
"""Rounds that do not count: the runtime opens a model for batches side by side after 256 crops, and compiles it for
their size after 256 more."""
_COLUMNS = 3  # of panels
_SHAPE = (128, 64, 3)
"""Market-1501's crops: both longest side 256 and stretching make 256x128 of them, so that all do the same work."""


@dataclass(frozen=True)
class Scored:
    """A model of the table.

    Attributes:
        model: A packaged model's name, or a file, from the folder of the scores' file.
        scores: Rank-1 and mAP (finite-sum) in percent by the data set, as `reid-runtime evaluate` gave them.
        contract: The contract's JSON of a file that carries none; None for one that does.
    """

    model: str
    scores: Mapping[str, tuple[float, float]]
    contract: str | None = None


def milliseconds(models: Mapping[str, Scored], folder: Path, rounds: int) -> Times:
    """How long `Embedder.embed` takes, and the network alone; OpenVINO's files run on OpenVINO alone."""
    crops = np.random.default_rng(0).integers(0, 256, (_BATCH, *_SHAPE), dtype=np.uint8)
    candidates: dict[tuple[str, str, str], Callable[[], object]] = {}
    for name, scored in models.items():
        packaged = scored.model in PACKAGED
        path = PACKAGED[scored.model].path if packaged else folder / scored.model
        contract = None if scored.contract is None else folder / scored.contract
        for device in _DEVICES[: 1 if format_of(path) is OPENVINO else None]:
            embedder = Embedder.load(path, device=device, contract=contract)
            candidates[_EMBED, device, name] = partial(embedder.embed, crops, "rgb")
            candidates[_NETWORK, device, name] = network_alone(embedder)
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    seconds = paired({"\n".join(key): call for key, call in candidates.items()}, rounds, _WARMUP)
    for what, device, name in candidates:
        samples = seconds["\n".join((what, device, name))]
        times.setdefault((what, device), {})[name] = [1000 * value / _BATCH for value in samples]
    return times


def network_alone(embedder: Embedder) -> Callable[[], object]:
    """A call of the network on as many resized images, in batches as the runtime makes them, one on each core."""
    form, shape = embedder.contract.input, embedder.contract.resize.shape(*_SHAPE[:2])
    noise = np.random.default_rng(0).integers(0, 256, (_BATCH, *shape, 3), dtype=np.uint8)
    backend = embedder.backend
    how = backend.side_by_side if isinstance(backend, SideBySide) else None
    if how is None:
        return partial(backend.run, to_model_input(noise, form))
    size = max(1, min(how.group, how.pixels // math.prod(shape)))
    batches = [to_model_input(noise[start : start + size], form) for start in range(0, _BATCH, size)]
    return partial(share_out, how.open(cores()), batches, cores())


def score_table(models: Mapping[str, Scored]) -> str:
    """Markdown: rank-1 and mAP by model and data set."""
    sets = datasets(models)
    lines = []
    for name, scored in models.items():
        own_scores = [scored.scores.get(dataset) for dataset in sets]
        lines.append([name, *("–" if score is None else f"{score[0]:.1f} / {score[1]:.1f}" for score in own_scores)])
    return markdown_table(["model", *sets], lines)


def time_table(times: Times) -> str:
    """Markdown: milliseconds by model, each also as a share of the first model's in that round."""
    names = dict.fromkeys(name for samples in times.values() for name in samples)
    head = [title for what, device in times for title in (f"{what}, {device}, ms", "of the first")]
    lines = []
    for name in names:
        cells = [
            cell
            for samples in times.values()
            for cell in (
                (str(median_interval(samples[name])), str(_share(samples, name))) if name in samples else ("–", "–")
            )
        ]
        lines.append([name, *cells])
    return markdown_table(["model", *head], lines)


def datasets(models: Mapping[str, Scored]) -> list[str]:
    """The data sets that any of the models has a score on, in their order."""
    return list(dict.fromkeys(dataset for scored in models.values() for dataset in scored.scores))


def _share(times: Mapping[str, list[float]], name: str) -> Interval:
    return median_interval([one / first for one, first in zip(times[name], next(iter(times.values())), strict=True)])


def plot(models: Mapping[str, Scored], times: Times, path: Path) -> None:
    """Rank-1 of each data set against milliseconds of `Embedder.embed` on the first device, a panel a set."""
    from matplotlib.figure import Figure

    sets, embedding = datasets(models), times[_EMBED, _DEVICES[0]]
    rows = math.ceil((len(sets) + 1) / _COLUMNS)  # one cell more than sets: the legend's, for names at points overlap
    figure = Figure(figsize=(4 * _COLUMNS, 3.6 * rows), layout="constrained")
    *panels, legend = figure.subplots(rows, _COLUMNS, squeeze=False).flat[: len(sets) + 1]
    for empty in figure.axes[len(sets) :]:
        empty.set_axis_off()
    for axes, dataset in zip(panels, sets, strict=True):
        for number, (name, scored) in enumerate(models.items()):
            if dataset in scored.scores:
                point = float(np.median(embedding[name])), scored.scores[dataset][0]
                axes.scatter(*point, marker="o" if scored.model in PACKAGED else "x", color=f"C{number}", label=name)
        axes.margins(y=0.1)
        axes.set(title=dataset, xlabel=f"ms a crop, {_DEVICES[0]}", ylabel="rank-1, %")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    labelled = [each for axes in panels for each in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {name: handle for handle, name in labelled}
    names = [name for name in models if name in handles]
    legend.legend([handles[name] for name in names], names, loc="center")
    figure.savefig(path, dpi=110)


@click.command()
@click.argument("scores", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(1), default=24, show_default=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="A folder.")
def main(scores: Path, rounds: int, output: Path) -> None:
    """Time the models of SCORES in turn, and write models.md and models.png into a folder.

    SCORES is JSON: by name, `model` (a packaged one's name, or a file beside SCORES), `contract` where it carries none,
    and `scores`, rank-1 and mAP by data set.
    """
    try:
        read: Mapping[str, Scored] = decode(Mapping[str, Scored], json.loads(scores.read_text("utf-8")), scores.name)
    except (ValueError, OSError) as error:
        raise OptionsError(f"{scores}: expected models and their scores: {error}") from error
    times = milliseconds(read, scores.parent, rounds)
    output.mkdir(parents=True, exist_ok=True)
    text = f"{score_table(read)}\n\n{time_table(times)}"
    machine = environment()
    note = (
        f"Milliseconds a crop, medians with 95 % intervals: {rounds} paired rounds of {_BATCH} crops of 128x64; "
        f"{machine['processor']}, {machine['cores']} cores. `embed` is `Embedder.embed`, resizing and judging too; "
        f"`network` is its network alone, {cores()} batches side by side as the runtime runs them."
    )
    (output / "models.md").write_text(f"{text}\n\n{note}\n", encoding="utf-8")
    plot(read, times, output / "models.png")
    click.echo(f"{text}\n\n{note}")


if __name__ == "__main__":
    run(main)
