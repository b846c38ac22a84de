"""The boxes of a video: rows with the right vectors, numbers and times, whatever is broken or interrupted."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from reid_runtime import embed_video, read_embeddings
from reid_runtime.errors import ImageError, OptionsError, StorageError
from reid_runtime.images.boxes import crop_box
from reid_runtime.images.quality import DEFAULT_POLICY
from reid_runtime.jobs.manifest import Manifest
from reid_runtime.jobs.video.boxes import Boxes
from reid_runtime.jobs.video.crops import crop_paths

cv2 = pytest.importorskip("cv2", reason="needs the extra video")
pytest.importorskip("pyarrow", reason="needs the extra parquet")

from ..videos import BOX, FRAMES, RATE, SIZE, break_packets, cut_short, turn, write_video

WIDTH, HEIGHT = SIZE


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_video(tmp_path / "film.mp4").relative_to(tmp_path)


def two_tracks(frames=range(1, FRAMES + 1)):
    """One that walks to the right, another behind it in every second frame."""
    rows = [(frame, "1", [frame, 4, frame + 24, 44]) for frame in frames]
    rows += [(frame, "2", [30.4, 2, 60.6, 47]) for frame in frames if frame % 2]
    return Boxes.of("boxes.txt", *([row[column] for row in rows] for column in (0, 2, 1)))


def decoded(path):
    """All frames, by OpenCV alone."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (frame := capture.read())[0]:
        frames.append(frame[1])
    return frames


def test_rows(tiny, film):
    boxes = two_tracks()
    result = embed_video(tiny, film, boxes, "out.parquet", camera="door", start_time=100)
    rows = read_embeddings("out.parquet")
    assert (result.boxes, result.embedded, result.tracks, result.frames) == (len(boxes), len(boxes), 2, FRAMES)
    assert rows.id[:4].tolist() == ["film.mp4#1/1", "film.mp4#1/2", "film.mp4#2/1", "film.mp4#3/1"]
    assert rows.frame.tolist() == sorted(boxes.frame.tolist())
    assert np.allclose(rows.time, 100 + (rows.frame - 1) / RATE)
    assert {*rows.camera.tolist()} == {"door"}
    frames = decoded(film)
    for row in range(len(rows)):
        box = [getattr(rows, edge)[row] for edge in ("x1", "y1", "x2", "y2")]
        crop = np.ascontiguousarray(crop_box(frames[rows.frame[row] - 1], box)[:, :, ::-1])
        assert np.array_equal(tiny.embed([crop], "rgb")[0], rows.embedding[row])
        quality, codes = DEFAULT_POLICY.judge(crop)
        assert (rows.quality[row], rows.reasons[row]) == (np.float32(quality), ",".join(codes))
        assert (rows.height[row], rows.width[row]) == crop.shape[:2]


def test_each_frame_is_decoded_once_and_batches_are_shared(tiny, film, monkeypatch):
    sizes, retrieved, run = [], [], type(tiny.backend).run
    monkeypatch.setattr(type(tiny.backend), "run", lambda self, batch: sizes.append(len(batch)) or run(self, batch))
    opened = cv2.VideoCapture

    class Counted:
        def __init__(self, *arguments):
            self.capture = opened(*arguments)

        def __getattr__(self, name):
            if name == "retrieve":
                retrieved.append(1)
            return getattr(self.capture, name)

    monkeypatch.setattr(cv2, "VideoCapture", Counted)
    embed_video(tiny, film, two_tracks(range(1, FRAMES + 1, 2)), "out.parquet")
    assert len(retrieved) == FRAMES // 2  # those without boxes are not even converted
    assert sum(sizes) == FRAMES
    assert len(sizes) <= 2


def test_a_job_that_was_interrupted_gives_the_same_bytes(tiny, film, monkeypatch):
    monkeypatch.setattr("reid_runtime.jobs.job.Manifest", partial(Manifest, part_images=8))
    boxes = two_tracks()
    finished = []

    def interrupt(count):
        finished.append(count)
        if len(finished) == 20:
            raise KeyboardInterrupt

    embed_video(tiny, film, boxes, "whole/", crops="crops")
    with pytest.raises(KeyboardInterrupt):
        embed_video(tiny, film, boxes, "parts/", progress=interrupt)
    assert 0 < len(list(film.parent.glob("parts/*.parquet"))) < len(list(film.parent.glob("whole/*.parquet")))
    embed_video(tiny, film, boxes, "parts/", resume=True)
    for part in film.parent.glob("whole/*.parquet"):
        assert part.read_bytes() == (film.parent / "parts" / part.name).read_bytes()
    with pytest.raises(StorageError, match="have changed"):
        embed_video(tiny, film, boxes, "parts/", resume=True, every=2)
    with pytest.raises(StorageError, match="have changed"):
        embed_video(tiny, film, boxes, "parts/", resume=True, camera="other")


def test_boxes_without_a_crop_keep_their_reasons(tiny, film):
    break_packets(film, 10)
    corners = [BOX, (-20, 0, 10, 20), (100, 0, 120, 20), (9, 9, 9, 20), (np.nan, 0, 9, 9), BOX, BOX, BOX]
    boxes = Boxes.of("boxes.txt", [1, 1, 1, 1, 1, 10, 11, FRAMES + 1], corners)
    result = embed_video(tiny, film, boxes, "out.parquet", on_error="record")
    rows = read_embeddings("out.parquet")
    assert [bool(error) for error in rows.error] == [False, False, True, True, True, True, False, True]
    assert rows.error[2] == f"the box 100, 0, 120, 20 has no pixels in its frame of {WIDTH} x {HEIGHT}"
    assert rows.error[5] == "frame 10 of the video does not decode"
    assert rows.error[7] == f"the video has no frame {FRAMES + 1}, its last is {FRAMES}"
    assert (rows.width[1], rows.height[1]) == (10, 20)  # what is inside
    assert rows.time[5] == pytest.approx(9 / RATE)
    assert np.isnan(rows.time[7])
    assert result.failed == tuple((name, text) for name, text in zip(rows.id, rows.error, strict=True) if text)
    with pytest.raises(ImageError, match=r"film\.mp4#1/3: the box"):
        embed_video(tiny, film, boxes, "raised.parquet", on_error="raise")


def test_notes_on_a_video_and_its_boxes(tiny, film):
    def notes(boxes, **options):
        return " ".join(embed_video(tiny, film, boxes, "out.parquet", force=True, **options).notes)

    assert notes(two_tracks()) == ""
    assert "its frames are numbered from 0" in notes(two_tracks(range(FRAMES)))
    beyond = f"2 boxes are of frames behind the last that can be read, {FRAMES}, up to {FRAMES + 1}: are they of this"
    assert beyond in notes(two_tracks(range(2, FRAMES + 2)))
    turn(film)
    assert "turned by 90 degrees" in notes(Boxes.of("boxes.txt", [1], [BOX]))
    as_they_lie = Boxes.of("boxes.txt", [1], [(30, 4, 60, 40)])
    assert "seem to be of frames as they lie in the file: begin again with --no-rotate" in notes(as_they_lie)
    assert "begin again" not in notes(as_they_lie, upright=False)
    cut_short(film, 11)
    assert f"it says {FRAMES} frames, and 11 can be read" in notes(two_tracks([1, 11]))


def test_crops_are_files(tiny, film):
    boxes = Boxes.of("boxes.txt", [1, 1, 2], [BOX, BOX, BOX], ["1/a", "", ".."])
    embed_video(tiny, film, boxes, "out.parquet", crops="crops", camera="a b")
    rows = read_embeddings("out.parquet")
    paths = crop_paths("crops", rows)
    assert list(paths.values()) == [
        f"crops/a b/{name}.jpg" for name in ("1%2Fa/000001", "000001-box-2", "%2E%2E/000002")
    ]
    crop = crop_box(decoded(film)[0], BOX)[:, :, ::-1]
    assert np.abs(np.asarray(Image.open(paths["film.mp4#1/1/a"])).astype(int) - crop).mean() < 3
    with pytest.raises(StorageError, match="crops/a b is not empty"):
        embed_video(tiny, film, boxes, "other.parquet", crops="crops", camera="a b")
    embed_video(tiny, film, boxes, "other.parquet", crops="crops", camera="other")


def test_the_best_crops_of_each_track(tiny, film):
    everything, best = two_tracks(), 3
    everything = Boxes.of(
        "boxes.txt", [*everything.frame, 5, 6, 6], [*everything.corners, BOX, BOX, [900, 0, 901, 1]],
        [*everything.track, "", "", "3"],
    )  # fmt: skip
    embed_video(tiny, film, everything, "all.parquet")
    result = embed_video(tiny, film, everything, "best.parquet", best=best)
    rows, chosen = read_embeddings("all.parquet"), read_embeddings("best.parquet")
    assert [name for name, _ in result.failed] == ["film.mp4#6/3"]  # no crop of the track: said, and not passed over
    for track in ("1", "2"):
        top = np.sort(rows.quality[rows.track == track])[-best:]
        assert np.array_equal(np.sort(chosen.quality[chosen.track == track]), top)
    assert (chosen.track == "").sum() == 2
    assert chosen.frame.tolist() == sorted(chosen.frame.tolist())
    for row, name in enumerate(chosen.id.tolist()):
        assert np.array_equal(chosen.embedding[row], rows.embedding[rows.id.tolist().index(name)])


def test_times_of_a_stated_rate(tiny, film):
    embed_video(tiny, film, two_tracks([1, 8]), "out.parquet", rate=7, start_time=-1)
    assert np.allclose(read_embeddings("out.parquet").time, [-1, -1, 0])
    for wrong in ({"every": 0}, {"best": 0}, {"rate": 0}):
        with pytest.raises(OptionsError, match="expected every and best of at least 1"):
            embed_video(tiny, film, two_tracks(), "wrong.parquet", **wrong)


def test_shards_are_disjoint_and_everything(tiny, film):
    for shard in ("1/2", "2/2"):
        embed_video(tiny, film, two_tracks(), f"{shard[0]}.parquet", shard=shard)
    ids = [read_embeddings(f"{number}.parquet").id.tolist() for number in (1, 2)]
    assert sorted(ids[0] + ids[1]) == sorted(two_tracks().of_frames().names("film.mp4"))
