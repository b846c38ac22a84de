"""What INT8 ranges are measured on: a seeded sample of training crops, and what flows through the graph for them."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from export.gate import read_image
from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.batching import same_shape_batches
from reid_runtime.errors import DatasetError, ReidRuntimeError
from reid_runtime.evaluation import EvalSet
from reid_runtime.images.jitter import colour_jitter, low_resolution, window_jitter
from reid_runtime.images.resize import Pixels, ResizeRule, resize
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.scoring.layouts.crops import CropSplits
from reid_runtime.scoring.layouts.datasets import DATASETS
from reid_runtime.scoring.layouts.registry import read_layout

Floats = npt.NDArray[np.float32]

LEAST = 32
"""Different crops that show something, below which ranges are chance."""
_CONTRAST = 4.0
"""Standard deviation of a image's values, of 255, below which it shows nothing."""
_SPREAD = 8.0
"""Mean standard deviation over the sample at one place of the image: crops of people are at 40 and more."""
_HELD_BACK = 8
"""One crop in so many is kept from the ranges and shows what they are worth."""
_SCAN = 32
VIEWS = 4
"""How each of those is shown: as it is, and three times as another camera might have it, for INT8 must hold there."""
OVERFLOWING = 32
"""So many crops that the ranges clip most are judged too: no crop that was held back need show what a range lacks."""
_BATCH_PIXELS = 8 * 256 * 128

_TEST_FOLDERS = frozenset(
    part.name
    for known in DATASETS
    for names in known.layout
    for part in map(PurePosixPath, names)
    if not part.suffix and ("query" in part.name or "test" in part.name)
) | {"gt_bbox", "gallery", "probe"}
"""What folders of queries and galleries are called: by the layouts, gt_bbox for multi-query, and elsewhere."""


class CalibrationError(ReidRuntimeError):
    """Images that INT8 ranges must not, or cannot, be measured on."""


@dataclass(frozen=True)
class Sample:
    """The drawn crops, as they came, in the order of the draw."""

    folder: str
    """Name of the folder that they are of."""
    seed: int
    names: tuple[str, ...]
    """Relative POSIX paths."""
    images: tuple[Pixels, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the names in their order, one a line."""
        return f"sha256:{hashlib.sha256(chr(10).join(self.names).encode()).hexdigest()}"

    def resized(self, rule: ResizeRule) -> tuple[list[Pixels], list[Pixels]]:
        """As the model gets them: those that ranges are measured on, and VIEWS views of each that is held back."""
        back = range(0, len(self.images), _HELD_BACK)[:_SCAN]
        measured = [image for row, image in enumerate(self.images) if row not in back]
        held_out = [
            view
            for row in back
            for view in (
                self.images[row],
                *(
                    simulate_other_camera(self.images[row], np.random.default_rng((self.seed, row, number)))
                    for number in range(1, VIEWS)
                ),
            )
        ]
        ready, shown = ([resize(one, rule.shape(*one.shape[:2])) for one in some] for some in (measured, held_out))
        return ready, shown

    def __str__(self) -> str:
        return f"{len(self.names)} crops of {self.folder}, seed {self.seed}"


@dataclass(frozen=True)
class Activations:
    """What flowed through a graph: N crops, one at a time."""

    low: Mapping[str, Floats]
    """By tensor, (N,) least value for each crop."""
    high: Mapping[str, Floats]
    means: Mapping[str, Floats]
    """By tensor, (C,) mean of each channel."""

    def limits(self, tensor: str, percentile: float) -> tuple[float, float]:
        """Between which values the tensor stays for `percentile` % of the crops; 100 is min-max."""
        low = float(np.percentile(self.low[tensor], 100 - percentile))
        return low, float(np.percentile(self.high[tensor], percentile))

    def overflowing(self, percentile: float, most: int) -> list[int]:
        """Up to `most` crops, by their row: those that leave a tensor's range furthest, the furthest first.

        Of each tensor the one crop that is furthest outside its limits, as a part of the range's width. An OSNet has
        channels that fire for a pattern that few people wear: five crops in two thousand have three times the range
        that all others have, and lose a cosine of 0.04 where it is clipped.
        """
        furthest: dict[int, float] = {}
        for tensor in self.low:
            low, high = self.limits(tensor, percentile)
            outside = np.maximum(self.high[tensor] - high, low - self.low[tensor])
            row = int(outside.argmax())
            part = float(outside[row]) / ((max(high, 0.0) - min(low, 0.0)) or 1.0)
            furthest[row] = max(furthest.get(row, 0.0), part)
        order = sorted((row for row, part in furthest.items() if part > 0), key=lambda row: -furthest[row])
        return order[:most]


def draw(folder: Path, count: int, seed: int, task: EvalSet | None = None) -> Sample:
    """Up to `count` crops of a training split: of a folder of them, or of a data set that has one.

    Raises CalibrationError for queries and galleries (by the names that the layouts give their folders, and where
    `task` is given by every file's content), and for crops that are too few, flat or alike to say anything.
    """
    paths, name = _training(folder)
    if len(paths) < LEAST:
        raise CalibrationError(f"{folder}: expected at least {LEAST} training crops, found {len(paths)}")
    order = np.random.default_rng(seed).permutation(len(paths))[: max(count, LEAST)]
    drawn = [paths[row] for row in order]
    if task is not None:
        _refuse_judged(drawn, task)
    root = folder.resolve()
    names = tuple(path.resolve().relative_to(root).as_posix() for path in drawn)
    sample = Sample(name, seed, names, tuple(map(read_image, drawn)))
    _refuse_degenerate(sample, folder)
    return sample


def collect_ranges(model: onnx.ModelProto, tensors: Collection[str], images: Sequence[Pixels]) -> Activations:
    """Run the float32 graph on resized images and note, for each tensor, its extremes and its channels' means."""
    names = list(tensors)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = session_of(watched)
    low, high = ({name: np.empty(len(images), np.float32) for name in names} for _ in range(2))
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for row, image in enumerate(images):
        values = session.run(names, {session.get_inputs()[0].name: image[None]})
        for name, value in zip(names, values, strict=True):
            low[name][row], high[name][row] = value.min(), value.max()
            channels = value.reshape(value.shape[1], -1).mean(axis=1, dtype=np.float64)
            sums[name] = sums.get(name, 0.0) + channels
    broken = [name for name in names if not (np.isfinite(low[name]).all() and np.isfinite(high[name]).all())]
    if broken:
        raise CalibrationError(f"{broken[0]!r} holds NaN or infinity for the calibration crops: the model is damaged")
    means = {name: (total / len(images)).astype(np.float32) for name, total in sums.items()}
    return Activations(low, high, means)


def simulate_other_camera(image: Pixels, random: np.random.Generator) -> Pixels:
    """The image as another camera might have it: another part of it, in another light, half of them small."""
    view = colour_jitter(window_jitter(image, (0.5, 1.12), 0.08, 0.06, random), random)
    return low_resolution(view, view.shape[:2], (0.1, 0.5), random) if random.random() < 0.5 else view


def vectors_of(model: onnx.ModelProto, images: Sequence[Pixels]) -> Floats:
    """(N, D) output of a graph for resized images, in their order; raises CalibrationError for other shapes."""
    session = session_of(model)
    name = session.get_inputs()[0].name
    rows: list[Floats | None] = [None] * len(images)
    for batch in same_shape_batches([(image.shape[0], image.shape[1]) for image in images], _BATCH_PIXELS):
        vectors, *_ = session.run(None, {name: np.stack([images[place] for place in batch])})
        if len(vectors) != len(batch):
            raise CalibrationError(f"the graph gives {vectors.shape} for {len(batch)} crops, expected a row for each")
        for place, vector in zip(batch, vectors, strict=True):
            rows[place] = vector
    return np.stack([row for row in rows if row is not None])


def session_of(model: onnx.ModelProto):  # type: ignore[no-untyped-def]  # ONNX Runtime has no types
    """The graph on ONNX Runtime's CPU."""
    onnxruntime = import_onnxruntime("cpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _training(folder: Path) -> tuple[list[Path], str]:
    """The training crops' paths and their folder's name."""
    root = folder.resolve()
    # Its own name and its parent's: a split may be cut into folders of one person each.
    judged = sorted(_TEST_FOLDERS & set(root.parts[-2:]))
    if judged:
        raise CalibrationError(
            f"{folder} is a folder of queries or of a gallery ({judged[0]!r}): a model that was fitted to what it is "
            "judged on proves nothing; name training crops"
        )
    try:
        dataset, splits = read_layout(root)
    except DatasetError:
        dataset = None
    if dataset is not None and dataset.layout:  # the plain layout is just a folder of crops
        train = splits.train if isinstance(splits, CropSplits) else None
        if train is None:
            raise CalibrationError(
                f"{folder} lies as {dataset.name} does, and has no training crops; name a folder of some"
            )
        return train.paths, f"{root.name}'s training split"
    paths = sorted(path for path in root.rglob("*") if is_image_name(path))
    for path in paths:
        judged = sorted(_TEST_FOLDERS & {*path.relative_to(root).parts[:-1], *path.resolve().parts[-3:-1]})
        if judged:
            raise CalibrationError(f"{path} is of a query or gallery ({judged[0]!r}); name training crops alone")
    return paths, root.name


def _refuse_judged(drawn: Sequence[Path], task: EvalSet) -> None:
    """By content: a copy under another name is the same image."""
    sizes = {path.stat().st_size for path in drawn}
    judged = {_digest(image.path) for image in task.images() if image.path.stat().st_size in sizes}
    for path in drawn:
        if _digest(path) in judged:
            raise CalibrationError(
                f"{path} is also a query or gallery image of {task.dataset}, on which the artefact is judged; name "
                "training crops alone"
            )


def _refuse_degenerate(sample: Sample, folder: Path) -> None:
    different = {image.tobytes() for image in sample.images if image.std() >= _CONTRAST}
    if len(different) < LEAST:
        raise CalibrationError(
            f"{folder}: expected at least {LEAST} different crops that show something, found {len(different)} among "
            f"the {len(sample.images)} drawn; the others are flat or repeated"
        )
    small = np.stack([resize(image, (8, 4)) for image in sample.images]).astype(np.float64)
    spread = float(small.std(axis=0).mean())
    if spread < _SPREAD:
        raise CalibrationError(
            f"{folder}: the crops are all alike (a place in them varies by {spread:.1f} of 255, expected at least "
            f"{_SPREAD}): ranges measured on them say nothing of others"
        )


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
