"""What third-party video and batch code calls: one callable for frames, one for batches. No dependency is added."""

import os
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.images.resize import Pixels
from reid_runtime.jobs import Embeddings
from reid_runtime.vectors import Vectors

_ADDED = ("embedding", "width", "height", "error")


@dataclass(frozen=True)
class EmbedBoxes:
    """`(frame, boxes) -> (N, D)`: the shape of appearance model that trackers ask for.

    The boxes are (N, 4) of x1, y1, x2, y2 pixels, or any detections that hold such an array as `.xyxy`, as
    `supervision.Detections` does. Row i is box i; a box without pixels has a zero row, at cosine 0 to everything.

        appearance = EmbedBoxes(Embedder.load(), "bgr")
        detections.data["embedding"] = appearance(frame, detections)    # supervision; follows every filter
        tracker.update_tracks(raw, embeds=appearance(frame, boxes))     # a tracker that takes vectors
    """

    embedder: Embedder
    channel_order: ChannelOrder
    """The frames' channel order; OpenCV's is "bgr". It is never guessed."""

    def __call__(self, frame: Pixels, boxes: Any) -> Vectors:
        """(N, D) float32 for (H, W, 3) uint8 and N boxes; raises as `Embedder.embed_boxes` does."""
        return self.embedder.embed_boxes(frame, getattr(boxes, "xyxy", boxes), self.channel_order)


@dataclass(frozen=True)
class EmbedBatch:
    """Adds `embedding`, `width`, `height` and `error` to a batch of images: a callable for engines that scale out.

    It holds settings and no model, so it pickles to a few hundred bytes. Each process loads the model once, at its
    first batch. The same class runs in:

        # Ray Data: a pool of workers that each keep the model; a worker that dies is replaced, its batch done again.
        # The cluster needs a CPU more than the workers take, or nothing is left to read the images.
        dataset.map_batches(EmbedBatch, fn_constructor_kwargs={"column": "bytes", "threads": 1},
                            compute=ray.data.ActorPoolStrategy(size=8), batch_size=512, num_cpus=1)

        # Spark: an iterator of data frames
        embed = EmbedBatch(column="path", threads=1)
        schema = "path string, embedding array<float>, width int, height int, error string"
        frame.mapInPandas(lambda batches: map(embed, batches), schema)

        # Dask: a data frame a partition
        meta = {"path": "object", "embedding": "object", "width": "int32", "height": "int32", "error": "object"}
        frame.map_partitions(EmbedBatch(column="path", threads=1), meta=meta)

    A dict of arrays gets the columns as .npz files have them: `embedding` (N, D) float32 with NaN in the row of an
    image that cannot be used, `error` with its reason, else empty. A pandas data frame gets them as .parquet files
    do: lists, and None for what is not there. Rows keep their order, and each is embedded as it would be alone.
    """

    model: str | None = None
    """A model file that every worker can read; None for the embedded default."""
    column: str = "path"
    """The column with the images: paths, the bytes of files, or (H, W, 3) uint8 arrays, which need
    `channel_order`.
    """
    device: str = "cpu"
    contract: str | None = None
    threads: int | None = None
    """CPU threads of the model, and as many that decode. Several workers on one machine want as many together as it
    has cores.
    """
    channel_order: ChannelOrder | None = None
    """"rgb" or "bgr", for arrays."""

    @property
    def embedder(self) -> Embedder:
        """This process's own, loaded once: its `contract.contract_id` says which embedding space the vectors are in."""
        with _LOADING:
            return _load(self, os.getpid())

    def __call__(self, batch: Any) -> Any:
        """The batch, a dict of arrays or a pandas data frame, with the four columns added; the input is not changed.

        Raises ReidRuntimeError where the column is missing, or one of the four is there already.
        """
        if not isinstance(batch, dict) and not hasattr(batch, "assign"):
            raise ReidRuntimeError(
                f"expected a dict of arrays or a pandas data frame, found {type(batch).__name__}: in Ray Data, "
                "pass batch_format='numpy'"
            )
        names = list(batch)
        if self.column not in names:
            raise ReidRuntimeError(f"expected the images in the column {self.column!r}, found {names}: pass column=")
        taken = sorted({*_ADDED} & set(names))
        if taken:
            raise ReidRuntimeError(f"the batch has {taken} already, and would lose them: rename or drop them first")
        embedder = self.embedder
        results = list(embedder.stream(list(batch[self.column]), self.channel_order, low_latency=False))
        rows = Embeddings.from_results(embedder, map(str, range(len(results))), results)
        columns: dict[str, Any] = {name: rows.columns()[name] for name in _ADDED}
        if isinstance(batch, dict):
            return batch | columns
        objects = np.empty((2, len(results)), dtype=object)
        for row, result in enumerate(results):
            objects[0, row] = None if result.vector is None else result.vector.tolist()
            objects[1, row] = None if result.error is None else str(result.error)
        return batch.assign(**columns | {"embedding": objects[0], "error": objects[1]})


_LOADING = threading.Lock()


@cache
def _load(settings: EmbedBatch, process: int) -> Embedder:
    """`process` keeps a fork from using its parent's session, whose threads did not come along."""
    return Embedder.load(settings.model, device=settings.device, contract=settings.contract, threads=settings.threads)
