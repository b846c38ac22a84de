"""What third-party video and batch code calls: for frames, for batches, for shards. No dependency is added."""

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
from reid_runtime.io.remote import is_url
from reid_runtime.jobs import Embeddings
from reid_runtime.jobs.embed_folder import JobResult, embed_folder
from reid_runtime.jobs.job import OnError
from reid_runtime.jobs.shard import Shard
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
            return _load(self.model, self.device, self.contract, self.threads, os.getpid())

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


@dataclass(frozen=True)
class EmbedShard:
    """A callable for any scheduler of a cluster: embeds one shard of a folder into a folder of parts of its own.

    A call that was killed, on whichever machine, is made again and goes on behind the last part that was finished; the
    parts have the same bytes as if nothing had happened. `reid-runtime merge` makes one file of all shards.

        embed = EmbedShard("s3://bucket/crops", "s3://bucket/rows", 64, threads=1)
        sum(client.gather(client.map(embed, embed.numbers, pure=False)))  # Dask
        context.parallelize(embed.numbers, 64).map(embed).sum()  # Spark
        task = ray.remote(max_retries=3)(lambda number: embed(number))  # Ray
        sum(ray.get([task.remote(number) for number in embed.numbers]))

    Args:
        source: A folder or its URL, which all machines reach.
        output: Likewise; shard 3 of 64 is `shard-00003-of-00064/` in it.
        count: How many shards: some for each worker, of ten thousand images or more.
        model: As for `Embedder.load`.
        device: As for `Embedder.load`.
        contract: As for `Embedder.load`.
        threads: CPU threads of the model, and as many that read and decode.
        on_error: As for `embed_folder`.
    """

    source: str
    output: str
    count: int
    model: str | None = None
    device: str = "cpu"
    contract: str | None = None
    threads: int | None = None
    on_error: OnError = "skip"

    @property
    def numbers(self) -> range:
        """Of the shards, from 1."""
        return range(1, self.count + 1)

    def folder(self, number: int) -> str:
        """Where the parts of a shard are."""
        return f"{self.output.rstrip('/')}/shard-{number:05}-of-{self.count:05}/"

    def run(self, number: int) -> JobResult:
        """Embed a shard, or finish it; raises what `embed_folder` raises."""
        with _LOADING:
            embedder = _load(self.model, self.device, self.contract, self.threads, os.getpid())
        if not is_url(self.output):
            os.makedirs(self.output, exist_ok=True)
        return embed_folder(
            embedder, self.source, self.folder(number),
            shard=Shard(number, self.count), resume=True, on_error=self.on_error,
        )  # fmt: skip

    def __call__(self, number: int) -> int:
        """As `run`; gives the number of images that were embedded."""
        return self.run(number).embedded


_LOADING = threading.Lock()


@cache
def _load(model: str | None, device: str, contract: str | None, threads: int | None, process: int) -> Embedder:
    """`process` keeps a fork from using its parent's session, whose threads did not come along."""
    return Embedder.load(model, device=device, contract=contract, threads=threads)
