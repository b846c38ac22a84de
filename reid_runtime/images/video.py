"""Frames of a video file, by OpenCV (extra `video`): each has its number and time, also behind one that is broken.

OpenCV alone stops at the first packet that does not decode, and counts the frames that it gave. Here the packets are
listed first, without decoding, so that every frame is known by its time before any is decoded.
"""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import OptionsError, ReidRuntimeError
from reid_runtime.images.resize import Pixels
from reid_runtime.install import install_line

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv",
)  # fmt: skip

_SAME = 1e-5
"""Seconds by which the time of a packet and that of its frame may differ: the rounding of float64."""
_ALIKE = 2e-3
"""Seconds by which the steps of a video of one frame rate may differ: containers round to milliseconds."""
_LATE = 64
"""Frames that a decoder may give after the last packet."""


class VideoError(ReidRuntimeError):
    """A video cannot be read, or what reads videos is not installed."""


class UnreadableVideoError(VideoError, OptionsError):
    """What was named is no video."""


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame."""

    number: int
    """From 1, in the order in which frames are shown; one that does not decode has its number too."""
    time: float
    """Seconds."""
    pixels: Pixels
    """(H, W, 3) uint8, BGR, upright."""


@dataclass(frozen=True)
class VideoFile:
    """A video, and when its frames are shown."""

    path: str
    """A file, or a URL that OpenCV opens."""
    times: npt.NDArray[np.float64]
    """(N,) seconds from the beginning, by the container, ascending: frame n is shown at times[n - 1]."""
    stated: int
    """Frames that the file says it has, which are more where it is cut short; 0: it does not say."""
    size: tuple[int, int]
    """Width and height in pixels of an upright frame."""
    rotation: int
    """Degrees by which the file says its frames are turned: 0, 90, 180 or 270."""
    upright: bool
    """Whether frames are turned so; boxes have to be those of such frames."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def is_variable(self) -> bool:
        """Whether the time from one frame to the next varies."""
        steps = np.diff(self.times)
        return bool(len(steps) and np.ptp(steps) > _ALIKE)

    def frames(self, wanted: Iterable[int]) -> Generator[VideoFrame, None, None]:
        """Decode frames; those that are not wanted are not converted, and behind the last one nothing is read.

        Args:
            wanted: Their numbers, ascending.

        Yields:
            The wanted frames that decode, in order.

        Raises:
            VideoError: Where the file cannot be opened any more.
        """
        numbers = iter(wanted)
        next_wanted = next(numbers, None)
        if next_wanted is None:
            return
        with _opened(self.path) as capture:
            _set_upright(capture, self.upright)
            number = 0
            for _ in range(len(self) + _LATE):
                if not capture.grab():
                    continue  # a packet that does not decode, or the end, to which the count leads
                shown = self._number(_seconds(capture), number)
                if shown <= number:
                    continue  # a second frame of one time, which a decoder makes up
                number = shown
                while next_wanted is not None and next_wanted < number:
                    next_wanted = next(numbers, None)
                if next_wanted == number:
                    has_pixels, pixels = capture.retrieve()
                    if has_pixels:
                        yield VideoFrame(number, float(self.times[number - 1]), pixels)
                    next_wanted = next(numbers, None)
                if next_wanted is None:
                    return

    def _number(self, seconds: float, before: int) -> int:
        index = int(np.searchsorted(self.times, seconds - _SAME))
        if index < len(self) and self.times[index] <= seconds + _SAME:
            return index + 1
        return min(before + 1, len(self))


def import_opencv() -> Any:
    """OpenCV, or a VideoError with the line that installs it."""
    try:
        import cv2
    except ImportError as error:
        raise VideoError(f"videos need OpenCV: {install_line('video')}") from error
    return cv2


def is_video_name(path: str) -> bool:
    """Whether a path's name is that of a video."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def open_video(path: str | os.PathLike[str], *, upright: bool = True) -> VideoFile:
    """List the frames of a video, without decoding them: it takes the time that reading the file takes.

    Args:
        path: A file, or a URL that OpenCV opens.
        upright: Whether frames are turned as the file says, which phones do not do themselves.

    Returns:
        The video.

    Raises:
        VideoError: Where OpenCV is missing, or the file is no video, has no frame, or its index is missing.
    """
    cv2 = import_opencv()
    name = os.fspath(path)
    if _is_text(name):
        raise UnreadableVideoError(f"{name}: it cannot be opened as a video: it is a text")  # which FFmpeg would show
    with _opened(name) as capture:
        _set_upright(capture, upright)
        rotation = int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        stated = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        packets = _all_times(capture) if capture.set(cv2.CAP_PROP_FORMAT, -1) else []
    times = np.unique(np.array(packets, np.float64))
    if not len(times) or len(times) < len(packets) or np.diff(times, prepend=-_ALIKE).min() < 2 * _SAME:
        with _opened(name) as capture:  # a stream without times in its packets: its frames are counted by decoding
            times = np.array(_all_times(capture), np.float64)
        if len(times) > 1 and np.diff(times).min() < 2 * _SAME:
            raise VideoError(f"{name}: its frames have no times of their own: remux it, ffmpeg -i IN -c copy OUT.mp4")
    if not len(times):
        raise UnreadableVideoError(f"{name}: no frame of it can be read: it is damaged or cut short")
    return VideoFile(name, times, stated, size, rotation, upright)


def _is_text(name: str) -> bool:
    if name.lower().endswith(".m3u8") or not os.path.isfile(name):
        return False
    with open(name, "rb") as file:
        start = file.read(1024)
    return bool(start) and not any(byte < 9 or byte > 126 for byte in start)


@contextmanager
def _opened(name: str) -> Generator[Any, None, None]:
    cv2 = import_opencv()
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise UnreadableVideoError(
                f"{name}: it cannot be opened as a video: expected a file that FFmpeg reads; it is none, or damaged, "
                "or cut short (an mp4 has its index at its end, and without that nothing of it can be read)"
            )
        yield capture
    finally:
        capture.release()


def _set_upright(capture: Any, upright: bool) -> None:
    capture.set(import_opencv().CAP_PROP_ORIENTATION_AUTO, int(upright))


def _seconds(capture: Any) -> float:
    return float(capture.get(import_opencv().CAP_PROP_POS_MSEC)) / 1000


def _all_times(capture: Any) -> list[float]:
    times = []
    while capture.grab():
        times.append(_seconds(capture))
    return times
