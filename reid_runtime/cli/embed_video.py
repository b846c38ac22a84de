"""The options of `reid-runtime embed VIDEO --boxes FILE`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from reid_runtime.cli.options import gathered
from reid_runtime.cli.terminal import note
from reid_runtime.errors import OptionsError
from reid_runtime.images.video import is_video_name
from reid_runtime.io.text import counted
from reid_runtime.jobs.sources import check_named
from reid_runtime.jobs.video.box_files import FORMATS

if TYPE_CHECKING:
    from reid_runtime.jobs.embed_video import ChosenBoxes

_LIVE = ("rtsp://", "rtsps://", "rtmp://", "udp://", "rtp://", "srt://")


@dataclass(frozen=True)
class VideoChoice:
    """What the options of a video say."""

    boxes: str | None = None
    first_frame: int | None = None
    camera: str | None = None
    start_time: float = 0.0
    rate: float | None = None
    every: int = 1
    best: int | None = None
    min_score: float | None = None
    no_rotate: bool = False
    crops: str | None = None


video_options = gathered(
    "video", VideoChoice,
    [
        click.option("--boxes", metavar="FILE", help=f"PATH is a video, and these are its boxes: {FORMATS}."),
        click.option(
            "--first-frame", type=int, metavar="N",
            help="The number that the boxes give the first frame.  [0 where they have a frame 0, else 1]",
        ),
        click.option("--camera", metavar="NAME", help="Of a video.  [its name without suffix]"),
        click.option(
            "--start-time", type=float, default=0.0, metavar="SECONDS",
            help="When the video begins, on the clock that the cameras share.",
        ),
        click.option(
            "--rate", type=click.FloatRange(min=0, min_open=True), metavar="FPS",
            help="Frames a second, where the file states wrong times.",
        ),
        click.option(
            "--every", type=click.IntRange(min=1), default=1, metavar="N", help="Only every N-th frame, of the first."
        ),
        click.option(
            "--best", type=click.IntRange(min=1), metavar="K", help="Only the K best crops of each track, by quality."
        ),
        click.option("--min-score", type=float, metavar="S", help="Boxes of a lower score are left out."),
        click.option("--no-rotate", is_flag=True, help="The boxes are of frames that are not turned as the file says."),
        click.option("--crops", metavar="DIR", help="Of a video: write the crops too, as DIR/CAMERA/TRACK/FRAME.jpg."),
    ],
)  # fmt: skip


def check_video(paths: tuple[str, ...], video: VideoChoice, of_images: Mapping[str, object]) -> None:
    """Raises OptionsError for a video without boxes, several of them, and options that are not a video's."""
    if video.boxes is None:
        path = next((path for path in paths if is_video_name(path)), None)
        if path is not None:
            raise OptionsError(f"{path} is a video: pass --boxes FILE, where its people are: {FORMATS}")
        if video != VideoChoice():
            raise OptionsError("--camera, --every, --crops and the like are of a video: expected --boxes FILE too")
        return
    if len(paths) != 1:
        raise OptionsError(f"--boxes are those of one video, found {len(paths)}: embed one at a time")
    if paths[0].startswith((*_LIVE, "/dev/")):
        raise OptionsError(
            f"{paths[0]} is live, and a file of boxes is of frames that are over: in Python, "
            "reid_runtime.images.live.LiveVideo gives its frames to your detector"
        )
    for option, value in of_images.items():
        if value:
            raise OptionsError(f"--{option} is for images, and {paths[0]} is a video")
    check_named([video.boxes])


def choose_video(path: str, video: VideoChoice) -> "ChosenBoxes":
    """The boxes of a video that the options choose; what there is to say of it and them is printed."""
    from reid_runtime.jobs.embed_video import choose_boxes

    # Broken packets are told in our own words; FFmpeg's are for people who know its insides.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    if video.best is not None:
        note(f"looking for the {counted(video.best, 'best crop')} of each track, then the video is read again")
    chosen = choose_boxes(
        path, video.boxes or "",
        camera=video.camera, start_time=video.start_time, rate=video.rate, first_frame=video.first_frame,
        every=video.every, best=video.best, min_score=video.min_score, upright=not video.no_rotate,
    )  # fmt: skip
    note(*chosen.notes)
    return chosen
