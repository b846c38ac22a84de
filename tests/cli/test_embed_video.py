"""reid-runtime embed VIDEO: from a video and a file of boxes to people."""

import json
import shutil

import pytest

from reid_runtime import read_embeddings

pytest.importorskip("cv2", reason="needs the extra video")

from examples.video import STREET

from ..videos import BOX, FRAMES, break_packets, write_video


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{frame},1,{BOX[0]},{BOX[1]},{BOX[2] - BOX[0]},{BOX[3] - BOX[1]},1,-1,-1,-1\n" for frame in range(FRAMES)]
    (tmp_path / "boxes.txt").write_text("".join(lines), encoding="utf-8")
    return write_video(tmp_path / "film.mp4")


def test_what_is_printed(command, film, tiny_model):
    break_packets(film, 5)
    made = command("embed", "film.mp4", "--boxes", "boxes.txt", "-o", "out.npz", "--model", tiny_model, "--json")
    assert made.code == 3  # done, with boxes skipped
    assert "boxes.txt: its frames are numbered from 0, so its frame 0 is the video's first" in made.err
    assert f"embedded {FRAMES - 1} of {FRAMES} boxes of 1 track" in made.err
    assert "film.mp4#5/1: frame 5 of the video does not decode" in made.err
    assert json.loads(made.out)["failed"] == [
        {"id": "film.mp4#5/1", "error": "frame 5 of the video does not decode"},
    ]
    assert len(read_embeddings("out.npz")) == FRAMES - 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["film.mp4"], "film.mp4 is a video: pass --boxes FILE"),
        (["film.mp4", "--boxes", "none.txt"], "none.txt: no such file"),
        (["none.mp4", "--boxes", "boxes.txt"], "none.mp4: no such file"),
        (["film.mp4", "film.mp4", "--boxes", "boxes.txt"], "--boxes are those of one video, found 2"),
        (["boxes.txt", "--every", "2"], "are of a video: expected --boxes FILE too"),
        (["film.mp4", "--boxes", "boxes.txt", "--root", "."], "--root is for images"),
        (["film.mp4", "--boxes", "boxes.txt", "--update"], "--update is for images"),
        (["rtsp://door/stream", "--boxes", "boxes.txt"], "rtsp://door/stream is live"),
        (["boxes.txt", "--boxes", "boxes.txt"], "boxes.txt: it cannot be opened as a video"),
    ],
)
def test_usage(command, film, words, told):
    made = command("embed", *words)
    assert made.code == 2
    assert told in made.err


def test_from_two_videos_to_people_in_three_commands(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = []
    for number in (1, 2):
        for suffix in ("mp4", "txt"):
            shutil.copy(STREET / f"camera-{number}.{suffix}", tmp_path)
        files.append(f"{number}.npz")
        made = command(
            "embed", f"camera-{number}.mp4", "--boxes", f"camera-{number}.txt", "--every", 4, "-o", files[-1],
            "--crops", "crops", "--model", "small",
        )  # fmt: skip
        assert made.code == 0, made.err
    made = command("cluster", *files, "--root", "crops", "-o", "people")
    assert made.code == 0, made.err
    rows = read_embeddings("people/embeddings.npz")
    people = {}
    for track, identity in zip(rows.track.tolist(), rows.identity.tolist(), strict=True):
        people.setdefault(track, set()).add(identity)  # both cameras number their people alike
    assert [len(each) for each in people.values()] == [1] * 4
    assert len(set.union(*people.values())) == 4
    tree = sorted(path.relative_to(tmp_path / "people").as_posix() for path in tmp_path.glob("people/**/*.jpg"))
    assert len(tree) == len(rows)
    assert tree[0] == "person-0001/camera-1/000001.jpg"
