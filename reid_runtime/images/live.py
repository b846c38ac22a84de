"""Frames of a camera or a stream: the newest few wait for whoever takes them, older ones are dropped and counted."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType

from reid_runtime.images.video import UnreadableVideoError, VideoFrame, import_opencv

_FAILURES = 16
"""Frames in a row that cannot be had: then the stream is at its end."""
_PATIENCE = 5.0
"""Seconds that the end of the reading thread is waited for."""


class LiveVideo:
    """A camera or stream, read by a thread of its own: `with LiveVideo("rtsp://…") as frames: for frame in frames: …`.

    The numbers of the frames count the dropped ones too, and their times are those of this machine's clock when they
    came, so that cameras which one machine reads share a clock.

    Attributes:
        dropped: How many frames nobody took in time.
    """

    def __init__(self, source: str | int, *, waiting: int = 4, timeout: float = 30.0) -> None:
        """Open the stream.

        Args:
            source: A URL that OpenCV opens (RTSP, HTTP), a device as /dev/video0, or a camera's number.
            waiting: How many frames are kept for the one who takes them; the oldest is dropped for a new one.
            timeout: Seconds after which a server that does not answer, or falls silent, ends the stream.

        Raises:
            VideoError: Where it cannot be opened.
        """
        cv2 = import_opencv()
        if isinstance(source, int) or source.startswith("/dev/"):
            self._capture = cv2.VideoCapture(source)
        else:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * timeout)]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * timeout)]
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            raise UnreadableVideoError(f"{source}: the stream cannot be opened within {timeout:g} s")
        self.dropped = 0
        self._frames: deque[VideoFrame] = deque()
        self._waiting, self._timeout, self._has_ended = max(1, waiting), timeout, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True, name="live")
        self._thread.start()

    def __enter__(self) -> "LiveVideo":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._has_ended)
                if not self._frames:
                    return
                frame = self._frames.popleft()
            yield frame

    def close(self) -> None:
        """End the reading; frames that wait can still be taken."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def _read(self) -> None:
        number = failures = 0
        last = time.monotonic()
        try:
            while not self._has_ended and failures < _FAILURES and time.monotonic() - last < self._timeout:
                has_frame, pixels = self._capture.read()
                if not has_frame:
                    failures += 1
                    continue
                last, failures, number = time.monotonic(), 0, number + 1
                with self._changed:
                    if len(self._frames) >= self._waiting:
                        self._frames.popleft()
                        self.dropped += 1
                    self._frames.append(VideoFrame(number, time.time(), pixels))
                    self._changed.notify_all()
        finally:
            self._capture.release()
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()
