"""The examples for video, each with the real package: what comes out of it lies where it belongs."""

import subprocess
import sys

import numpy as np
import pytest

from examples.video import STREET, moments, video_argument
from reid_runtime import EmbedBoxes, Embedder

LIMIT = 12


@pytest.fixture(scope="module", params=["rendered", pytest.param("filmed", marks=pytest.mark.realdata)])
def video(request):
    if request.param == "rendered":
        return list(moments(None, LIMIT))
    pytest.importorskip("cv2", reason="needs the extra video")
    path = request.getfixturevalue("reid_data") / "pets09-s2l1" / "View_001.mp4"
    if not path.is_file():
        pytest.skip(f"no {path.name} among the development data")
    return list(moments(path, LIMIT))


@pytest.fixture(scope="module")
def embed():
    """The default model, and what it gave for each box alone."""
    return EmbedBoxes(Embedder.load(), "bgr")


def alone(embed, moment, row):
    """The vector of a box cut out here, by no code of the project's."""
    height, width = moment.frame.shape[:2]
    sides = zip(moment.boxes[row].astype(float), (width, height, width, height), strict=True)
    left, top, right, bottom = (int(min(max(np.floor(value + 0.5), 0), side)) for value, side in sides)
    return embed.embedder.embed([moment.frame[top:bottom, left:right]], "bgr")[0]


def test_the_boxes_hold_their_people(video):
    assert len(video) == LIMIT
    for moment in video:
        assert moment.frame.dtype == np.uint8
        assert len(moment.boxes) == len(moment.identities) > 0
        assert (moment.boxes[:, 2:] > moment.boxes[:, :2]).all()


def test_a_tracker_keeps_vectors_with_their_boxes(embed, video):
    pytest.importorskip("norfair", reason="needs norfair-enough or norfair")
    from examples.track_video import track

    rows = list(track(embed, video))
    assert len(rows) >= len(video)
    assert len({(row.moment, row.box) for row in rows}) == len(rows)
    for row in rows[:: len(rows) // 6]:
        assert np.array_equal(row.vector, alone(embed, video[row.moment], row.box))


def test_vectors_follow_supervisions_detections(embed, video):
    pytest.importorskip("supervision", reason="needs supervision")
    from examples.supervision_detections import detections

    moment = video[-1]
    (detected,) = detections(embed, [moment])
    assert detected.data["embedding"].shape == (len(moment.boxes), embed.embedder.dimension)
    turned = detected[np.arange(len(detected))[::-1]][detected.area[::-1] > np.median(detected.area)]
    assert 0 < len(turned) < len(detected)
    for box, identity, vector in zip(turned.xyxy, turned.data["identity"], turned.data["embedding"], strict=True):
        row = moment.identities.tolist().index(identity)
        assert np.array_equal(box, moment.boxes[row])
        assert np.array_equal(vector, alone(embed, moment, row))


def test_supervisions_empty_detections(embed, video):
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    assert embed(video[0].frame, supervision.Detections.empty()).shape == (0, embed.embedder.dimension)


def test_two_cameras_in_one_call(embed):
    first, second = (next(moments(None, 1, camera=camera)) for camera in (0, 1))
    both = embed.embedder.embed_frames([first.frame, second.frame], [first.boxes, second.boxes], "bgr")
    for moment, vectors in zip((first, second), both, strict=True):
        for row, vector in enumerate(vectors):
            assert np.array_equal(vector, alone(embed, moment, row))
    assert not np.array_equal(both[0], both[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x.mp4"], r"x\.mp4 is not there"),
        (["film.mp4"], r"gt.txt is not there: an example reads"),
        (["--help"], "usage"),
    ],
)
def test_arguments_that_name_no_video(monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").touch()
    monkeypatch.setattr("sys.argv", ["example", *arguments])
    with pytest.raises(SystemExit, match=said):
        video_argument("usage")


@pytest.mark.parametrize("name", ["two_cameras", "track_video", "supervision_detections", "gallery_to_stores"])
def test_examples_run_as_files_from_any_folder(tmp_path, name):
    if name in ("track_video", "supervision_detections"):
        pytest.importorskip("norfair" if name == "track_video" else "supervision", reason="needs the package it shows")
    file = STREET.parent / f"{name}.py"
    done = subprocess.run([sys.executable, "-E", file, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert f"python examples/{name}.py" in done.stderr
