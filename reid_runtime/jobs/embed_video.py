"""Embed the boxes of a video into one file of embeddings, or into a folder of parts: `reid-runtime embed VIDEO`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reid_runtime.embedder import Embedder
from reid_runtime.errors import OptionsError
from reid_runtime.images.video import VideoFile, open_video
from reid_runtime.io.folder import Folder
from reid_runtime.io.text import counted
from reid_runtime.jobs.job import Failures, OnError, open_output, run_job
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.video.best import best_of_tracks
from reid_runtime.jobs.video.box_files import read_boxes
from reid_runtime.jobs.video.boxes import Boxes
from reid_runtime.jobs.video.crops import CropFolder
from reid_runtime.jobs.video.video_boxes import VideoBoxes


@dataclass(frozen=True)
class VideoResult:
    """What a finished job has done."""

    output: str
    """The file, or the folder of parts, as it was named."""
    frames: int
    """How many the video has."""
    boxes: int
    """How many the job had."""
    embedded: int
    """How many of them have a vector."""
    tracks: int
    """Of how many tracks they are."""
    failed: Failures
    """(id, reason) of the others: outside of their frame, of a frame that does not decode, ..."""
    flagged: Failures
    """(id, reason codes with commas) of boxes that have a vector and are hardly worth it."""
    notes: tuple[str, ...]
    """What was found out about the video and its boxes, a sentence each."""
    dimension: int
    contract_id: str
    artefact_id: str
    backend: str
    seconds: float
    stage_seconds: Mapping[str, float]
    """By stage, as in `JobResult`."""


@dataclass(frozen=True)
class ChosenBoxes:
    """The boxes of a video that a job embeds."""

    images: VideoBoxes
    notes: tuple[str, ...]
    """What was found out about the video and its boxes, a sentence each."""


def choose_boxes(
    video: str | os.PathLike[str] | VideoFile,
    boxes: str | os.PathLike[str] | Boxes,
    *,
    camera: str | None = None,
    start_time: float = 0.0,
    rate: float | None = None,
    first_frame: int | None = None,
    every: int = 1,
    best: int | None = None,
    min_score: float | None = None,
    upright: bool = True,
) -> ChosenBoxes:
    """Choose the boxes of a video that are embedded, as `embed_video` does: arguments and errors are its own."""
    if every < 1 or (best is not None and best < 1) or (rate is not None and not rate > 0):
        raise OptionsError(f"expected every and best of at least 1 and a rate above 0, found {every}, {best}, {rate}")
    given = boxes if isinstance(boxes, Boxes) else read_boxes(boxes)
    opened = video if isinstance(video, VideoFile) else open_video(video, upright=upright)
    chosen = given.of_frames(first_frame, every, min_score)
    notes = _notes(opened, given, chosen, first_frame)
    if best is not None:
        chosen = best_of_tracks(opened, chosen, best)
    name = Path(opened.path).stem if camera is None else camera
    return ChosenBoxes(VideoBoxes(opened, chosen, name, start_time, rate), notes)


def embed_video(
    embedder: Embedder,
    video: str | os.PathLike[str] | VideoFile,
    boxes: str | os.PathLike[str] | Boxes,
    output: str | os.PathLike[str] | Folder,
    *,
    camera: str | None = None,
    start_time: float = 0.0,
    rate: float | None = None,
    first_frame: int | None = None,
    every: int = 1,
    best: int | None = None,
    min_score: float | None = None,
    upright: bool = True,
    crops: str | os.PathLike[str] | None = None,
    on_error: OnError = "skip",
    shard: Shard | str = "1/1",
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int], object] = lambda boxes: None,
    metrics: str | os.PathLike[str] | None = None,
) -> VideoResult:
    """Embed the boxes of a video, of anyone's detector or tracker.

    Rows have the id `VIDEO#FRAME/TRACK` and the columns camera, frame (from 1, in the order in which frames are shown,
    with those that do not decode), time, track, x1, y1, x2, y2, quality and reasons. Each frame is decoded once, boxes
    of several frames share batches, and frames are decoded while others are cut and embedded. Files, folders of parts,
    and going on with them are as in `embed_folder`.

    Args:
        embedder: The model.
        video: A file, or what `open_video` found.
        boxes: A file, or what `read_boxes` found.
        output: As for `embed_folder`.
        camera: Its name; None for the file's without suffix.
        start_time: Seconds, which are added to the times of the frames: where the clock of all cameras stood.
        rate: Frames a second, for a container that states wrong times; None for the container's.
        first_frame: The number that the boxes give the first frame; None for 0 where they have a frame 0, else 1.
        every: Only every n-th frame, of the first, is taken.
        best: Only so many boxes of each track, those with the best crops; the video is read twice.
        min_score: Boxes of a lower score are left out.
        upright: Whether frames are turned as the file says; boxes must be of such frames.
        crops: A folder for the crops too, as CAMERA/TRACK/FRAME.jpg.
        on_error: As for `embed_folder`, of a box that cannot be used.
        shard: As for `embed_folder`, by the ids of the boxes.
        resume: As for `embed_folder`.
        force: As for `embed_folder`; crops are overwritten.
        progress: Is called with the number of boxes that are finished since the last call.
        metrics: As for `embed_folder`.

    Returns:
        How many boxes were embedded, and which were not.

    Raises:
        VideoError: For a video that cannot be read.
        BoxesError: For boxes that cannot be read, or do not fit the video.
        OptionsError, StorageError, ImageError, BackendError: As `embed_folder` does.
    """
    open_output(output, resume, False, force)  # whose options may contradict each other
    chosen = choose_boxes(
        video, boxes,
        camera=camera, start_time=start_time, rate=rate, first_frame=first_frame,
        every=every, best=best, min_score=min_score, upright=upright,
    )  # fmt: skip
    return embed_chosen(
        embedder, chosen, output,
        crops=crops, on_error=on_error, shard=shard, resume=resume, force=force, progress=progress, metrics=metrics,
    )  # fmt: skip


def embed_chosen(
    embedder: Embedder,
    chosen: ChosenBoxes,
    output: str | os.PathLike[str] | Folder,
    *,
    crops: str | os.PathLike[str] | None,
    on_error: OnError,
    shard: Shard | str,
    resume: bool,
    force: bool,
    progress: Callable[[int], object],
    metrics: str | os.PathLike[str] | None,
) -> VideoResult:
    """Embed boxes that `choose_boxes` chose, as `embed_video` does: arguments, result and errors are its own."""
    shard = Shard.parse(shard) if isinstance(shard, str) else shard
    folder = None if crops is None else CropFolder(Path(crops))
    if folder is not None:
        folder.check(chosen.images.camera, force or resume)
    images = replace(chosen.images, crops=folder).of(shard)
    done = run_job(
        embedder, images, output,
        on_error=on_error, shard=shard, resume=resume, update=False, force=force, progress=progress,
        metrics=None if metrics is None else Path(metrics),
    )  # fmt: skip
    tracks = len(np.unique(images.boxes.track[images.boxes.track != ""]))
    return VideoResult(
        done.output, len(images.video), len(images), len(images) - len(done.failed), tracks, done.failed, done.flagged,
        chosen.notes, embedder.dimension, embedder.contract.contract_id, embedder.artefact_id, embedder.backend.name,
        done.seconds, done.stage_seconds,
    )  # fmt: skip


def _notes(video: VideoFile, given: Boxes, chosen: Boxes, first_frame: int | None) -> tuple[str, ...]:
    notes = [f"{given.name}: left out {counted(count, 'box')} {reason}" for reason, count in chosen.left_out.items()]
    if first_frame is None and given.first_frame == 0:
        notes.append(f"{given.name}: its frames are numbered from 0, so its frame 0 is the video's first")
    last = int(chosen.frame.max())
    if last > len(video):
        beyond = int(np.count_nonzero(chosen.frame > len(video)))
        ask = ": are they of this video? If its frames are numbered otherwise, pass --first-frame"
        notes.append(
            f"{given.name}: {counted(beyond, 'box is of a frame', 'boxes are of frames')} behind the last that can be "
            f"read, {len(video)}, up to {last}{ask if last > video.stated else ''}"
        )
    if video.stated > len(video):
        behind = "; an AVI keeps no times, so frames behind a damaged place have too low numbers"
        notes.append(
            f"{video.path}: it is cut short or damaged: it says {counted(video.stated, 'frame')}, and {len(video):,} "
            f"can be read{behind if video.path.lower().endswith('.avi') else ''}"
        )
    if video.is_variable:
        steps = np.diff(video.times)
        notes.append(
            f"{video.path}: its frame rate varies, {1 / steps.max():.3g} to {1 / steps.min():.3g} a second; times are "
            "those of its frames"
        )
    if video.rotation:
        turned = "frames are turned so" if video.upright else "frames are left as they lie in it"
        width, height = video.size
        notes.append(
            f"{video.path}: it says that it is turned by {video.rotation} degrees; {turned}, {width} x {height}"
        )
        right, bottom = chosen.corners[:, 2], chosen.corners[:, 3]
        outside = (right > width + 1) | (bottom > height + 1)
        if outside.any() and not ((right > height + 1) | (bottom > width + 1)).any():
            how, other = ("as they lie in the file", "with") if video.upright else ("that are turned", "without")
            notes.append(
                f"{given.name}: {counted(int(outside.sum()), 'box reaches', 'boxes reach')} out of such frames, and "
                f"none out of {height} x {width}: they seem to be of frames {how}: begin again {other} --no-rotate"
            )
    return tuple(notes)
