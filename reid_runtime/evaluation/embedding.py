"""The vectors of a task: every picture embedded once, through the same door as anyone's."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError, ImageError
from reid_runtime.evaluation.tasks import Items, Picture, Task, cut
from reid_runtime.images.decode import ImageSource, load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.jobs import Embeddings
from reid_runtime.scoring.tracklets import Pooling, pool
from reid_runtime.vectors import Vectors

Sizes = npt.NDArray[np.int32]
"""(N, 2) width and height in pixels."""

_POOLED = 256
"""How many tracklets are pooled at once."""


def embed_task(
    embedder: Embedder, task: Task, advance: Callable[[], None] = lambda: None, pooling: Pooling = "mean"
) -> Embeddings:
    """One row for each of the task's items, split after split; a tracklet's is that of its pooled frames.

    `advance` is called once a picture. Raises DatasetError, with the first picture that cannot be used and how
    many there are: a score that leaves some out means nothing.
    """
    pictures = task.pictures()
    places = {picture: place for place, picture in enumerate(pictures)}
    vectors, sizes = _embed(embedder, pictures, advance)
    parts = [_rows(items, places, vectors, sizes, pooling if task.tracklets else None) for items in task.parts.values()]
    every = list(task.parts.values())
    size = np.concatenate([size for _, size in parts])
    return Embeddings(
        id=np.array([name for items in every for name in items.ids], dtype=np.str_),
        embedding=np.concatenate([rows for rows, _ in parts]),
        width=size[:, 0],
        height=size[:, 1],
        error=np.full(len(size), "", dtype=np.str_),
        contract=embedder.contract.to_json(),
        contract_id=embedder.contract.contract_id,
        artefact_id=embedder.artefact_id,
        backend=embedder.backend.name,
        identity=np.concatenate([items.identities for items in every]),
        camera=np.concatenate([items.cameras for items in every]),
        split=np.array([name for name, items in task.parts.items() for _ in items.ids], dtype=np.str_),
    )


def _embed(embedder: Embedder, pictures: list[Picture], advance: Callable[[], None]) -> tuple[Vectors, Sizes]:
    vectors = np.empty((len(pictures), embedder.dimension), np.float32)
    sizes = np.empty((len(pictures), 2), np.int32)
    failed = []
    for result in embedder.stream(_sources(pictures), "rgb", low_latency=False):
        if result.vector is None:
            failed.append(result)
        else:
            vectors[result.index] = result.vector
        sizes[result.index] = result.width, result.height
        advance()
    if failed:
        first = pictures[failed[0].index]
        box = "" if first.xyxy is None else f", box {first.xyxy}"
        raise DatasetError(
            f"{len(failed)} of {len(pictures)} pictures cannot be used, the first is {first.path}{box}: "
            f"{failed[0].error}; a score that leaves pictures out means nothing"
        )
    return vectors, sizes


def _sources(pictures: Iterable[Picture]) -> Iterator[ImageSource]:
    """What the embedder takes: paths, and the pixels of boxes, each frame decoded once."""
    path, frame = None, None
    for picture in pictures:
        if picture.xyxy is None:
            yield picture.path
            continue
        if picture.path != path:
            path, frame = picture.path, _frame(picture)
        # A frame that cannot be read goes on as its path: the embedder says why, as of any picture.
        yield picture.path if frame is None else cut(frame, picture.xyxy)


def _frame(picture: Picture) -> Pixels | None:
    try:
        return load_image(picture.path)
    except ImageError:
        return None


def _rows(
    items: Items, places: dict[Picture, int], vectors: Vectors, sizes: Sizes, pooling: Pooling | None
) -> tuple[Vectors, Sizes]:
    """The items' (N, D) vectors, and their sizes: a tracklet's is that of its first frame."""
    first = np.array([places[pictures[0]] for pictures in items.pictures], dtype=np.int64)
    if pooling is None:
        return vectors[first], sizes[first]
    # A part at a time: the frames of a whole set, gathered at once, would be a second copy of all vectors.
    parts = [items.pictures[start : start + _POOLED] for start in range(0, len(items), _POOLED)]
    return np.concatenate([_pooled(part, places, vectors, pooling) for part in parts]), sizes[first]


def _pooled(
    tracklets: tuple[tuple[Picture, ...], ...], places: dict[Picture, int], vectors: Vectors, pooling: Pooling
) -> Vectors:
    frames = np.array([places[picture] for pictures in tracklets for picture in pictures], dtype=np.int64)
    stops = np.cumsum([len(pictures) for pictures in tracklets])
    starts = np.concatenate([[0], stops[:-1]])
    return pool(vectors[frames], starts, stops, pooling)
