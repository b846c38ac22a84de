"""The examples for video, each with the real package: what comes out of it lies where it belongs."""

import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest

from examples.video import STREET, arguments, moments, one_video
from reid_runtime import EmbedBoxes, Embedder
from reid_runtime.tracking import ReassociateTracks

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


def test_people_behind_tracks_and_a_video_of_them(embed, video, tmp_path, monkeypatch, capsys):
    pytest.importorskip("norfair", reason="needs norfair-enough")
    cv2 = pytest.importorskip("cv2", reason="needs the extra video")
    from examples import track_video

    people = ReassociateTracks.calibrated(embed)
    followed = list(track_video.follow(people, video))
    who = {}
    for each in followed:
        for row, person in zip(each.rows, each.people, strict=True):
            who.setdefault(int(person), set()).add(int(each.moment.identities[row]))
    assert who
    assert all(len(identities) == 1 for identities in who.values())
    image = track_video.annotated(followed[-1])
    assert image.shape == followed[-1].moment.frame.shape
    assert not np.array_equal(image, followed[-1].moment.frame)
    monkeypatch.setattr(track_video, "moments", lambda *arguments, **options: video)
    track_video.main(Namespace(video=None, boxes=None, limit=9, output=tmp_path / "seen.mp4", fps=15))
    assert " people; " in capsys.readouterr().out
    assert int(cv2.VideoCapture(str(tmp_path / "seen.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == LIMIT


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


def test_people_of_two_cameras(monkeypatch, capsys):
    from examples import two_cameras

    monkeypatch.setattr("sys.argv", ["two_cameras"])
    two_cameras.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{person} is {person}" for person in range(4)]
    monkeypatch.setattr("sys.argv", ["two_cameras", "a.mp4"])
    with pytest.raises(SystemExit, match="2"):
        two_cameras.main()
    assert "expected two videos and the boxes of each, found 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "missing"), [("x.mp4", "x.mp4"), ("film.mp4", "gt.txt"), ("film.mp4 --boxes b.csv", "b.csv")]
)
def test_missing_arguments(monkeypatch, tmp_path, capsys, command, missing):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").touch()
    monkeypatch.setattr("sys.argv", ["example", *command.split()])
    with pytest.raises(SystemExit, match="2"):
        one_video(arguments("usage"))
    assert f"{missing} is not there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["two_cameras", "track_video", "supervision_detections", "gallery_to_stores"])
def test_examples_run_as_files_from_any_folder(tmp_path, name):
    if name in ("track_video", "supervision_detections"):
        pytest.importorskip("norfair" if name == "track_video" else "supervision", reason="needs the package it shows")
    file = STREET.parent / f"{name}.py"
    done = subprocess.run([sys.executable, "-E", file, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert f"python examples/{name}.py" in done.stdout
