"""The gate of an artefact: its vectors beside its reference's at any size, on real crops, and in a data set's ranking.

What is judged is the file as it lies on the disk, run by ONNX Runtime's CPU; the reference is torch for a float32
export and the parent's file for a derived artefact.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from export.parity import (
    ParityError,
    crop_probes,
    require_distinct,
    require_parity,
    require_unit,
    require_within,
)
from reid_runtime.agreement import Agreement, Tolerances, compare
from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError, ImageError, ReidRuntimeError
from reid_runtime.evaluation import EvalSet, Evaluation, eval_set_of, evaluate
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.model_file.contract import Score
from reid_runtime.scoring.bootstrap import METRICS, Interval, compare_scores
from reid_runtime.scoring.layouts.registry import read_layout
from reid_runtime.vectors import Vectors

Command = TypeVar("Command", bound=Callable[..., Any])

EXAMPLES = Path(__file__).parents[1] / "examples" / "crops"
_MAPS = ("map_finite_sum", "map_trapezoid")
_WITHIN = 0.999
"""The least share of a data set's vectors that keep the cosine of the crops: among many thousand images some show
nobody, or are so odd that no range was made for them."""


@dataclass(frozen=True)
class EvalInputs:
    """What artefacts are judged on: N crops, any sizes, and a labelled data set where there is one."""

    names: tuple[str, ...]
    crops: tuple[Pixels, ...]
    task: EvalSet | None = None
    dataset: str | None = None
    """The task's name in contracts."""


@dataclass(frozen=True)
class Reference:
    """What an artefact is held to, with its answers to the inputs."""

    embedder: Embedder
    vectors: Vectors
    """(N, D) of the crops."""
    evaluation: Evaluation | None
    """Of the data set."""

    @classmethod
    def on(cls, embedder: Embedder, inputs: EvalInputs) -> "Reference":
        """The reference's answers; raises ParityError where it has none that can be judged by."""
        vectors = _embed("the reference", embedder, inputs)
        return cls(embedder, vectors, None if inputs.task is None else evaluate(embedder, inputs.task))


@dataclass(frozen=True)
class Cosines:
    """Of many vectors to their references."""

    rows: int
    worst: float
    mean: float


@dataclass(frozen=True)
class ParityResult:
    """What a gate measured on an artefact that passed it."""

    crops: Agreement
    mean_cosine: float
    """Over the crops."""
    probes: Agreement
    images: Cosines | None = None
    """Over all queries and gallery of the data set, where there is one."""
    changes: Mapping[str, Interval] | None = None
    """By measure, the data set's change from the reference to the artefact, paired."""
    score: Score | None = None
    """The artefact's own on that data set."""

    def drift(self) -> dict[str, float]:
        """The measured difference, as the contract keeps it."""
        drift = {
            "crops": float(self.crops.rows),
            "worst_cosine": round(self.crops.worst_cosine, 7),
            "mean_cosine": round(self.mean_cosine, 7),
            "largest_difference": round(self.crops.largest_difference, 7),
            "rank_agreement": round(self.crops.rank_agreement, 4),
        }
        if self.images is not None and self.changes is not None:
            drift |= {
                "images": float(self.images.rows),
                "images_worst_cosine": round(self.images.worst, 7),
                "images_mean_cosine": round(self.images.mean, 7),
            }
            drift |= {f"{name}_change": round(self.changes[name].value, 6) for name in _MAPS}
        return drift

    def __str__(self) -> str:
        """What a command prints."""
        text = (
            f"{self.crops.rows} crops: worst cosine {self.crops.worst_cosine:.7f}, mean {self.mean_cosine:.7f}; "
            f"{self.probes.rows} probes at any size: {self.probes.worst_cosine:.7f}"
        )
        if self.images is not None and self.changes is not None:
            text += f"; {self.images.rows} images: worst {self.images.worst:.7f}, mean {self.images.mean:.7f}"
            text += "".join(f"; {METRICS[name]} {in_points(self.changes[name])} points" for name in _MAPS)
        return text


def in_points(change: Interval) -> str:
    """A change and its interval in percentage points."""
    return f"{100 * change.value:+.2f} ({100 * change.low:+.2f} to {100 * change.high:+.2f})"


def check_parity(reference: Reference, candidate: Embedder, gate: Tolerances, inputs: EvalInputs) -> ParityResult:
    """Hold an artefact to its reference. Raises ParityError with the size, crop or measure that is out of bounds."""
    vectors = _embed("the artefact", candidate, inputs)
    cosines = (reference.vectors.astype(np.float64) * vectors).sum(axis=1)
    for name, expected, actual in zip(inputs.names, reference.vectors, vectors, strict=True):
        require_within(gate.crops, compare(expected[None], actual[None]), name)
    require_distinct(reference.vectors, gate.crops)
    agreement = compare(reference.vectors, vectors)
    if not agreement.rank_agreement >= gate.rank_agreement:
        raise ParityError(
            f"the artefact ranks the {len(vectors)} crops as the reference does in {agreement.rank_agreement:.1%} of "
            f"cases (the nearest other crop is the same), expected at least {gate.rank_agreement:.1%}"
        )
    over = crop_probes(inputs.crops) if gate.coarse else None
    probes = require_parity(reference.embedder.backend.run, candidate.backend.run, gate.probes, over)
    parity = ParityResult(agreement, float(cosines.mean()), probes)
    if inputs.task is None or reference.evaluation is None:
        return parity
    after = evaluate(candidate, inputs.task)
    images = _of_all(reference.evaluation, after, gate, inputs)
    changes = compare_scores(reference.evaluation.scores, after.scores).changes
    for name in _MAPS:
        if not changes[name].value >= gate.map_change:
            raise ParityError(
                f"on {inputs.dataset} {METRICS[name]} changes by {in_points(changes[name])} points, expected at "
                f"least {100 * gate.map_change:+.2f}"
            )
    return replace(parity, images=images, changes=changes, score=score_of(after, inputs))


def _of_all(before: Evaluation, after: Evaluation, gate: Tolerances, inputs: EvalInputs) -> Cosines:
    """The cosines over a whole data set; raises ParityError where too many of its vectors are out of bounds."""
    expected = np.concatenate([before.query_vectors, before.gallery_vectors])
    actual = np.concatenate([after.query_vectors, after.gallery_vectors])
    cosines = (expected.astype(np.float64) * actual).sum(axis=1)
    least = gate.crops.min_cosine
    within = float((cosines >= least).mean())
    if not within >= _WITHIN:
        raise ParityError(
            f"on {inputs.dataset} {within:.2%} of {len(actual)} vectors have a cosine of {least} or more "
            f"to the reference's, expected at least {_WITHIN:.1%}; the worst has {cosines.min():.5f}"
        )
    return Cosines(len(actual), float(cosines.min()), float(cosines.mean()))


def score_of(evaluation: Evaluation, inputs: EvalInputs) -> Score:
    """An evaluation as contracts record it."""
    summary = evaluation.scores.summary()
    return Score(
        dataset=inputs.dataset or evaluation.eval_set.dataset,
        protocol=evaluation.protocol,
        rank_1=round(summary.rank_1, 6),
        map_finite_sum=round(summary.map_finite_sum, 6),
        map_trapezoid=round(summary.map_trapezoid, 6),
    )


def read_eval_inputs(crops: Path = EXAMPLES, data: Path | None = None, dataset: str | None = None) -> EvalInputs:
    """The crops of a folder and the queries and gallery of a data set in any layout; `dataset` is what to call it.

    Raises ImageError for a crop that cannot be used, and DatasetError for folders without any.
    """
    if data is None and dataset is not None:
        raise DatasetError(f"--called {dataset} names a data set, and there is no --data")
    names, images = read_crops(crops)
    if data is None:
        return EvalInputs(names, images)
    layout, splits = read_layout(data)
    task = eval_set_of(splits, dataset, layout)
    return EvalInputs(names, images, task, task.dataset)


def read_crops(folder: Path) -> tuple[tuple[str, ...], tuple[Pixels, ...]]:
    """The relative names of a folder's images, in their order, and their pixels."""
    paths = sorted(path for path in folder.rglob("*") if is_image_name(path))
    if len(paths) < 2:
        raise DatasetError(f"{folder}: expected a folder of crops to judge by, two or more, found {len(paths)}")
    names = tuple(path.relative_to(folder).as_posix() for path in paths)
    return names, tuple(map(read_image, paths))


def gate_options(command: Command) -> Command:
    """--crops, --data and --called: what the artefact is judged on."""
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    for option in (
        click.option("--called", "dataset", help="The data set's name in the contract: Market-1501."),
        click.option("--data", type=folder, help="A data set, in any layout that `evaluate` reads, to be ranked."),
        click.option(
            "--crops", type=folder, default=EXAMPLES, help="Crops on which every vector must agree.  [examples/crops]"
        ),
    ):
        command = option(command)
    return command


def read_image(path: Path) -> Pixels:
    """The pixels of a file; raises ImageError, with its path."""
    try:
        return load_image(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _embed(whose: str, embedder: Embedder, inputs: EvalInputs) -> Vectors:
    """The crops' vectors, each alone and by its name: an error in a batch would not say whose."""
    rows = []
    for name, crop in zip(inputs.names, inputs.crops, strict=True):
        try:
            rows.append(embedder.embed([crop], "rgb")[0])
        except ReidRuntimeError as error:
            raise ParityError(f"{whose} fails on {name}: {error}") from error
    vectors = np.stack(rows)
    require_unit(vectors, f"{whose}'s for the crops")
    return vectors
