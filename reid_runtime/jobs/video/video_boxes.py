"""The boxes of a video as what a job embeds."""

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.embedder import Embedder, Result
from reid_runtime.errors import ImageError
from reid_runtime.images.decode import ImageSource, RemoteImage
from reid_runtime.images.video import VideoFile
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.video.boxes import Boxes
from reid_runtime.jobs.video.crops import CropFolder, crop_name
from reid_runtime.jobs.video.cutting import cut_boxes


@dataclass(frozen=True)
class VideoBoxes:
    """N boxes of a video: a `JobInput`."""

    video: VideoFile
    boxes: Boxes
    """In the order of their frames, which are counted from 1."""
    camera: str
    start_time: float = 0.0
    """Seconds, of the video's beginning on the clock that cameras share."""
    rate: float | None = None
    """Frames a second, where the container's times are wrong."""
    crops: CropFolder | None = None
    names: tuple[str, ...] = field(default=(), repr=False)
    """The ids; none for those of `boxes`."""

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """`VIDEO#FRAME/TRACK`."""
        return self.names or self.boxes.names(self.video.path.replace(os.sep, "/"))

    def __len__(self) -> int:
        return len(self.boxes)

    def of(self, shard: Shard) -> "VideoBoxes":
        """The boxes of one shard, by a hash of the ids."""
        return self.take([row for row, name in enumerate(self.ids) if shard.holds(name)])

    def take(self, kept: Sequence[int]) -> "VideoBoxes":
        """These boxes, in this order, with the ids that they have among all."""
        names = tuple(self.ids[row] for row in kept)
        return replace(self, boxes=self.boxes.take(np.asarray(kept, np.int64)), names=names)

    def digest(self, indices: range) -> str:
        """SHA-256 over the boxes, their ids, and size and time of the video's file."""
        digest = hashlib.sha256("\n".join(self.ids[indices.start : indices.stop]).encode())
        digest.update(self.boxes.take(np.arange(indices.start, indices.stop)).digest())
        digest.update(f"{self.camera} {self.start_time} {self.rate} {self.video.upright} {self._file}".encode())
        return f"sha256:{digest.hexdigest()}"

    @cached_property
    def _file(self) -> str:
        try:
            status = os.stat(self.video.path)
        except (OSError, ValueError):  # a URL
            return f"{len(self.video)} {self.video.times[-1]}"
        return f"{status.st_size} {status.st_mtime_ns}"

    def results(self, embedder: Embedder, indices: Sequence[int]) -> Iterator[Result]:
        """One for each of these boxes, whose rows ascend: frames are decoded, cut and embedded at the same time.

        Boxes of several frames share batches. How many crops are held is bounded, whatever the frames' number.
        """
        boxes = self.boxes.take(np.asarray(indices, np.int64))
        errors: dict[int, ImageError] = {}

        def images() -> Generator[ImageSource, None, None]:
            with closing(cut_boxes(self.video, boxes, embedder.times)) as crops:
                for crop in crops:
                    row = indices[crop.row]
                    if isinstance(crop.pixels, ImageError):
                        errors[crop.row] = crop.pixels
                        yield RemoteImage(self.ids[row], None)  # which the stream gives back as an error
                        continue
                    if self.crops is not None:
                        with embedder.times.measure("write"):
                            self.crops.write(self._crop_name(row), crop.pixels)
                    yield crop.pixels

        with closing(images()) as crops:
            for result in embedder.stream(crops, "rgb", low_latency=False):
                yield replace(result, source=None, error=errors.pop(result.index, result.error))

    def columns(self, indices: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """Camera, track, time, frame and the corners; no time is known of a frame that the video has not."""
        boxes = self.boxes.take(np.asarray(indices, np.int64))
        corners = boxes.corners.astype(np.float32)
        return {
            "camera": np.full(len(boxes), self.camera or ""),
            "track": boxes.track,
            "time": self._times(boxes),
            "frame": boxes.frame,
        } | {name: corners[:, edge] for edge, name in enumerate(("x1", "y1", "x2", "y2"))}

    def _times(self, boxes: Boxes) -> npt.NDArray[np.float64]:
        if self.rate is not None:
            rated: npt.NDArray[np.float64] = self.start_time + (boxes.frame - 1) / self.rate
            return rated
        times = np.full(len(boxes), np.nan)
        inside = boxes.frame <= len(self.video)
        times[inside] = self.start_time + self.video.times[boxes.frame[inside] - 1]
        return times

    def _crop_name(self, row: int) -> str:
        return crop_name(self.camera, str(self.boxes.track[row]), int(self.boxes.frame[row]), self.ids[row])
