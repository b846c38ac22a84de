"""Frames of video files: their numbers and times are right, whatever is broken, turned, uneven or missing."""

import re
import sys

import numpy as np
import pytest

from reid_runtime.images.video import UnreadableVideoError, VideoError, open_video
from reid_runtime.install import install_line

pytest.importorskip("cv2", reason="needs the extra video")

from ..videos import FRAMES, RATE, SIZE, break_packets, cut_short, number_of, turn, vary_rate, write_video

ALL = range(1, FRAMES + 1)


@pytest.fixture
def film(tmp_path):
    return write_video(tmp_path / "film.mp4")


def numbers_of(video, wanted=ALL):
    """What the frames say of themselves; each must have the number that it is."""
    frames = list(video.frames(wanted))
    assert [frame.number for frame in frames] == [number_of(frame.pixels) for frame in frames]
    assert [frame.time for frame in frames] == [video.times[frame.number - 1] for frame in frames]
    return [frame.number for frame in frames]


@pytest.mark.parametrize(("suffix", "fourcc"), [("mp4", "mp4v"), ("avi", "MJPG"), ("webm", "VP80"), ("mkv", "FFV1")])
def test_all_frames_in_their_order(tmp_path, suffix, fourcc):
    video = open_video(write_video(tmp_path / f"film.{suffix}", fourcc=fourcc))
    assert (len(video), video.size, video.rotation, video.is_variable) == (FRAMES, SIZE, 0, False)
    assert np.allclose(video.times, np.arange(FRAMES) / RATE, atol=1e-3)
    assert numbers_of(video) == [*ALL]
    assert numbers_of(video, [2, 3, 17]) == [2, 3, 17]


@pytest.mark.parametrize("broken", [(2,), (13, 14), (FRAMES,), (12, 20, 21, 22)])
def test_frames_behind_a_broken_packet_keep_their_numbers(film, broken):
    break_packets(film, *broken)
    video = open_video(film)
    assert len(video) == FRAMES
    given = [frame.number for frame in video.frames(ALL)]
    assert given == [number for number in ALL if number not in broken]
    before = range(1, broken[0])
    assert numbers_of(video, before) == [*before]


def test_all_packets_broken(film):
    break_packets(film, *ALL)
    assert list(open_video(film).frames(ALL)) == []


def test_times_are_the_containers(film):
    seconds = [0.04, 0.3, 0.1] * (FRAMES // 3)
    vary_rate(film, seconds)
    video = open_video(film)
    assert video.is_variable
    assert np.allclose(video.times, np.cumsum([0, *seconds[:-1]]), atol=1e-3)
    assert numbers_of(video) == [*ALL]


def test_a_phones_video_is_turned(film):
    turn(film)
    width, height = SIZE
    turned, as_it_lies = open_video(film), open_video(film, upright=False)
    assert (turned.size, as_it_lies.size, turned.rotation) == ((height, width), (width, height), 90)
    first, other = (next(video.frames([1])).pixels for video in (turned, as_it_lies))
    assert np.array_equal(first, np.rot90(other, -1))


def test_a_file_that_is_cut_short_gives_what_is_there(film):
    cut_short(film, 11)
    video = open_video(film)
    assert (video.stated, len(video)) == (FRAMES, 11)
    assert numbers_of(video) == [*range(1, 12)]


@pytest.mark.parametrize("content", [b"", b"no video", "cut"])
def test_foreign_files_are_no_video(film, content):
    film.write_bytes(film.read_bytes()[:-100] if content == "cut" else content)
    with pytest.raises(UnreadableVideoError, match=r"film\.mp4: (it cannot be opened|no frame of it)"):
        open_video(film)


def test_the_missing_extra_is_named(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(VideoError, match=re.escape(install_line("video"))):
        open_video(film)


@pytest.mark.realdata
def test_frames_that_are_stored_out_of_order(reid_data, tmp_path):
    source = reid_data / "pets09-s2l1" / "View_001.mp4"
    if not source.is_file():
        pytest.skip("no PETS09 among the development data")
    film = tmp_path / "film.mp4"
    film.write_bytes(source.read_bytes())
    video = open_video(film)
    assert len(video) == 795
    numbers = range(95, 106)
    before = {frame.number: frame.pixels for frame in video.frames(numbers)}
    break_packets(film, 102)  # which is shown as frame 100, and which no other frame needs
    after = {frame.number: frame.pixels for frame in open_video(film).frames(numbers)}
    assert {*before} - {*after} == {100}
    assert all(np.array_equal(before[number], pixels) for number, pixels in after.items())
