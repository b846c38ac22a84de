"""What third-party video and batch code calls: one callable for frames, one for batches. No dependency is added."""

import os
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.boxes import Frame
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.jobs import Embeddings
from reid_runtime.vectors import Vectors

_ADDED = ("embedding", "width", "height", "error")


@dataclass(frozen=True)
class EmbedBoxes:
    """A callable `(frame, boxes) -> (N, D)`, as trackers and detection libraries take an appearance model.

        appearance = EmbedBoxes(Embedder.load(), "bgr")
        detections.data["embedding"] = appearance(frame, detections)    # supervision; follows every filter
        tracker.update_tracks(raw, embeds=appearance(frame, boxes))     # a tracker that takes vectors

    Args:
        embedder: The model.
        channel_order: "rgb" or "bgr", the order of the frames' channels; OpenCV's is "bgr".
    """

    embedder: Embedder
    channel_order: ChannelOrder

    def __call__(self, frame: Frame, boxes: Any) -> Vectors:
        """Embed the boxes of one frame.

        Args:
            frame: (H, W, 3) uint8, as `Embedder.embed_boxes` takes it.
            boxes: (N, 4) of x1, y1, x2, y2 in pixels, or detections with such an array as `.xyxy`, as
                `supervision.Detections` has.

        Returns:
            (N, D) float32 of unit length, row i for box i; a zero row for a box without pixels.

        Raises:
            ImageError: For a frame or boxes of another shape or kind.
        """
        return self.embedder.embed_boxes(frame, getattr(boxes, "xyxy", boxes), self.channel_order)


@dataclass(frozen=True)
class EmbedBatch:
    """A callable for Ray Data, Spark and Dask: adds `embedding`, `width`, `height` and `error` to a batch of images.

    It holds settings and no model, so it pickles to a few hundred bytes. Each process loads the model once, at its
    first batch.

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

    Args:
        model: A model file that every worker can read; None for the default model.
        column: The column with the images: paths, bytes of files, or (H, W, 3) uint8 arrays.
        device: As for `Embedder.load`.
        contract: As for `Embedder.load`.
        threads: CPU threads of the model, and as many that decode; for several workers on one machine its cores
            divided by their number.
        channel_order: "rgb" or "bgr", for arrays.
    """

    model: str | None = None
    column: str = "path"
    device: str = "cpu"
    contract: str | None = None
    threads: int | None = None
    channel_order: ChannelOrder | None = None

    @property
    def embedder(self) -> Embedder:
        """This process's embedder, loaded once; its `contract.contract_id` names the embedding space of the vectors."""
        with _LOADING:
            return _load(self, os.getpid())

    def __call__(self, batch: Any) -> Any:
        """Embed a batch.

        Args:
            batch: A dict of arrays, or a pandas data frame; it is not changed.

        Returns:
            The batch with four more columns, rows in their order. A dict gets them as .npz files have them: (N, D)
            float32 with NaN where an image cannot be used, `error` with the reason, else empty. A data frame gets
            them as .parquet files do: lists, and None for what is missing.

        Raises:
            ReidRuntimeError: Where the column is missing, or one of the four is there already.
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
