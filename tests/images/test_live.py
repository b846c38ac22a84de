"""Streams: who takes frames too slowly gets the newest, and the others are counted."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from reid_runtime.images.live import LiveVideo
from reid_runtime.images.video import VideoError

cv2 = pytest.importorskip("cv2", reason="needs the extra video")

from ..videos import FRAMES, number_of, write_video


class Camera(BaseHTTPRequestHandler):
    """Motion JPEG over HTTP, as cheap cameras send it: frame n is of the grey level 20 + 8 n."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(1, FRAMES + 1):
            image = cv2.imencode(".jpg", np.full((48, 64, 3), 20 + 8 * number, np.uint8))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            self.wfile.write(head.encode() + image + b"\r\n")
            time.sleep(0.01)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def camera():
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
        server.shutdown()


def test_a_camera_on_the_network(camera):
    begin = time.time()
    with LiveVideo(camera, waiting=FRAMES, timeout=600) as frames:  # the clock goes on while tests are stopped
        taken = list(frames)
    assert [frame.number for frame in taken] == [number_of(frame.pixels) for frame in taken] == [*range(1, FRAMES + 1)]
    assert frames.dropped == 0
    times = [frame.time for frame in taken]
    assert times == sorted(times)
    assert begin <= times[0] <= times[-1] <= time.time()


def test_a_slow_consumer_gets_the_newest_frames(tmp_path):
    path = str(write_video(tmp_path / "film.avi", fourcc="MJPG"))
    with LiveVideo(path, waiting=3) as frames:
        frames._thread.join()  # all have come before the first is taken
        taken = list(frames)
    assert [number_of(frame.pixels) for frame in taken] == [FRAMES - 2, FRAMES - 1, FRAMES]
    assert [frame.number for frame in taken] == [FRAMES - 2, FRAMES - 1, FRAMES]
    assert frames.dropped == FRAMES - 3


def test_closing_ends_the_reading(camera):
    with LiveVideo(camera, timeout=600) as frames:
        next(iter(frames))
    assert not frames._thread.is_alive()


def test_a_server_that_is_not_there():
    with pytest.raises(VideoError, match="cannot be opened within"):
        LiveVideo("http://127.0.0.1:9/video.mjpg", timeout=2)
