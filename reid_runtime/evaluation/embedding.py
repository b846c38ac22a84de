"""The vectors of an evaluation set: every image embedded once, by the embedder that everybody uses."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError, ImageError
from reid_runtime.evaluation.eval_set import Entries, EntryImage, EvalSet
from reid_runtime.images.boxes import crop_box
from reid_runtime.images.decode import ImageSource, load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.io.concurrency import interruptible
from reid_runtime.jobs import Embeddings
from reid_runtime.jobs.labels import named_labels
from reid_runtime.scoring.tracklets import Pooling, pool
from reid_runtime.vectors import Vectors

Sizes = npt.NDArray[np.int32]
"""(N, 2) width and height in pixels."""

_POOLED = 256
"""How many tracklets are pooled at once."""


def embed_eval_set(
    embedder: Embedder, eval_set: EvalSet, advance: Callable[[], None] = lambda: None, pooling: Pooling = "mean"
) -> Embeddings:
    """One row for each entry of the set, split after split; a tracklet's vector is pooled from its frames.

    `advance` is called once an image. Raises DatasetError, with the first image that cannot be used and how many
    there are: a score that leaves some out means nothing.
    """
    images = eval_set.images()
    index = {image: row for row, image in enumerate(images)}
    vectors, sizes = _embed(embedder, images, advance)
    entries = list(eval_set.splits.values())
    parts = [_rows(each, index, vectors, sizes, pooling if eval_set.tracklets else None) for each in entries]
    labels = [named_labels(each.identities, each.cameras, each.names.identity, each.names.camera) for each in entries]
    return Embeddings.of(
        embedder,
        [name for each in entries for name in each.ids],
        np.concatenate([rows for rows, _ in parts]),
        np.concatenate([size for _, size in parts]),
        split=np.array([name for name, each in eval_set.splits.items() for _ in each.ids], dtype=np.str_),
        **{name: np.concatenate([each[name] for each in labels]) for name in labels[0]},
    )


def _embed(embedder: Embedder, images: list[EntryImage], advance: Callable[[], None]) -> tuple[Vectors, Sizes]:
    vectors = np.empty((len(images), embedder.dimension), np.float32)
    sizes = np.empty((len(images), 2), np.int32)
    failed = []
    stream = embedder.stream(_sources(images), "rgb", low_latency=False)
    with closing(interruptible(stream)) as results:
        for result in results:
            if result.vector is None:
                failed.append(result)
            else:
                vectors[result.index] = result.vector
            sizes[result.index] = result.width, result.height
            advance()
    if failed:
        first = images[failed[0].index]
        box = "" if first.xyxy is None else f", box {first.xyxy}"
        raise DatasetError(
            f"{len(failed)} of {len(images)} images cannot be used, the first is {first.path}{box}: "
            f"{failed[0].error}; a score that leaves images out means nothing"
        )
    return vectors, sizes


def _sources(images: Iterable[EntryImage]) -> Iterator[ImageSource]:
    """What the embedder takes: paths, and the pixels of boxes, each frame decoded once."""
    path, frame = None, None
    for image in images:
        if image.xyxy is None:
            yield image.path
            continue
        if image.path != path:
            path, frame = image.path, _frame(image.path)
        # A frame that cannot be read goes on as its path: the embedder says why, as of any image.
        yield image.path if frame is None else crop_box(frame, image.xyxy)


def _frame(path: Path) -> Pixels | None:
    try:
        return load_image(path)
    except ImageError:
        return None


def _rows(
    entries: Entries, index: dict[EntryImage, int], vectors: Vectors, sizes: Sizes, pooling: Pooling | None
) -> tuple[Vectors, Sizes]:
    """The entries' (N, D) vectors, and their sizes: a tracklet's is that of its first frame."""
    first = np.array([index[images[0]] for images in entries.images], dtype=np.int64)
    if pooling is None:
        return vectors[first], sizes[first]
    # A part at a time: the frames of a whole set, gathered at once, would be a second copy of all vectors.
    parts = [entries.images[start : start + _POOLED] for start in range(0, len(entries), _POOLED)]
    return np.concatenate([_pooled(part, index, vectors, pooling) for part in parts]), sizes[first]


def _pooled(
    tracklets: tuple[tuple[EntryImage, ...], ...], index: dict[EntryImage, int], vectors: Vectors, pooling: Pooling
) -> Vectors:
    frames = np.array([index[image] for images in tracklets for image in images], dtype=np.int64)
    stops = np.cumsum([len(images) for images in tracklets])
    return pool(vectors[frames], np.concatenate([[0], stops[:-1]]), stops, pooling)
