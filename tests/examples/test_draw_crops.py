"""The drawn crops: the same numbers give the same pictures, and an identity is recognisable in them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from examples.draw_crops import VIEWS_PER_CAMERA, draw_frame, draw_person, write_crops, write_market
from reid_runtime.scoring.layouts.market1501 import read_split

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def pixels(path: Path) -> npt.NDArray[np.int64]:
    """(H, W, 3) levels of a picture file."""
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int64)


def colours(crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(128,) colour histogram of a crop's middle, where the person is: the upper half's and the lower half's."""
    height, width = crop.shape[:2]
    middle = crop[height // 6 : height * 5 // 6, width // 3 : width * 2 // 3]
    halves = np.array_split(middle.reshape(-1, 3) // 64, 2)
    counts = [np.bincount(half @ np.array([16, 4, 1]), minlength=64) / len(half) for half in halves]
    return np.concatenate(counts)


def test_same_numbers_same_bytes() -> None:
    assert draw_person(3, 107, 128, 50).tobytes() == draw_person(3, 107, 128, 50).tobytes()


def test_identity_and_view_both_matter() -> None:
    crop = draw_person(3, 107, 64, 32)
    assert not np.array_equal(crop, draw_person(4, 107, 64, 32))
    assert not np.array_equal(crop, draw_person(3, 108, 64, 32))
    assert not np.array_equal(crop, draw_person(3, 207, 64, 32))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (1, 1), (100, 3), (3, 100), (128, 64), (65, 41)])
def test_size_is_what_was_asked(height: int, width: int) -> None:
    crop = draw_person(1, 0, height, width)
    assert crop.shape == (height, width, 3)
    assert crop.dtype == np.uint8


@pytest.mark.parametrize("numbers", [(-1, 0, 64, 32), (0, -1, 64, 32), (0, 0, 0, 32), (0, 0, 64, 0)])
def test_numbers_without_a_picture_are_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="or more, found"):
        draw_person(*numbers)


def test_every_identity_and_camera_can_be_drawn() -> None:
    for number in range(48):
        assert draw_person(number, number * VIEWS_PER_CAMERA, 48, 20).std() > 5


def test_views_of_an_identity_are_nearer_than_other_identities() -> None:
    views = [camera * VIEWS_PER_CAMERA + moment for camera in range(2) for moment in range(2)]
    rows = np.array([colours(draw_person(identity, view, 128, 52)) for identity in range(8) for view in views])
    identities = np.repeat(np.arange(8), len(views))
    distances = np.abs(rows[:, None] - rows[None, :]).sum(axis=-1)
    same = identities[:, None] == identities[None, :]
    apart = distances[~same].mean()
    together = distances[same & ~np.eye(len(rows), dtype=bool)].mean()
    assert together < 0.7 * apart


def test_frame_holds_each_person_in_its_box() -> None:
    frame, boxes = draw_frame([5, 2, 9], 120, 200, time=1.0)
    assert frame.shape == (120, 200, 3)
    assert frame.dtype == np.uint8
    assert boxes.shape == (3, 4)
    assert boxes.dtype == np.float32
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [200, 120]).all()
    assert (boxes[:, 3] - boxes[:, 1] > 30).all()
    # The place is still, so that pixels far from every box are the empty street's but for the sensor's noise.
    empty, none = draw_frame([], 120, 200, time=1.0)
    assert none.shape == (0, 4)
    changed = np.abs(frame.astype(int) - empty).max(axis=-1) > 60
    for left, top, right, bottom in np.rint(boxes).astype(int):
        assert changed[top:bottom, left:right].mean() > 0.15
        changed[top:bottom, left:right] = False
    assert changed.mean() < 0.02


def test_people_in_a_frame_move_and_repeat() -> None:
    before, _ = draw_frame([1], 64, 96, time=0.0)
    later, boxes = draw_frame([1], 64, 96, time=0.5)
    again, same_boxes = draw_frame([1], 64, 96, time=0.5)
    assert not np.array_equal(before, later)
    assert np.array_equal(later, again)
    assert np.array_equal(boxes, same_boxes)


def test_committed_crops_are_what_the_script_draws(tmp_path: Path) -> None:
    drawn = write_crops(tmp_path, identities=8, views=2)
    names = [path.relative_to(tmp_path).as_posix() for path in drawn]
    committed = EXAMPLES / "crops"
    assert names == sorted(path.relative_to(committed).as_posix() for path in committed.rglob("*.*"))
    assert {path.suffix for path in drawn} == {".jpg", ".png"}
    for path, name in zip(drawn, names, strict=True):
        # Another Pillow may decode and filter a level or two differently.
        assert np.abs(pixels(path) - pixels(committed / name)).mean() < 2, name
    assert sum(path.stat().st_size for path in committed.rglob("*.*")) < 400_000


def test_crops_have_many_sizes(tmp_path: Path) -> None:
    sizes = {Image.open(path).size for path in write_crops(tmp_path, identities=3, views=2, seed=4, cameras=3)}
    assert len(sizes) > 12
    assert all(100 <= height <= 400 for _, height in sizes)


def test_market_layout_gives_every_query_a_right_answer_in_another_camera(tmp_path: Path) -> None:
    written = write_market(tmp_path, identities=4, cameras=2, views=1)
    train, query, gallery = (
        read_split(tmp_path, split) for split in ("bounding_box_train", "query", "bounding_box_test")
    )
    assert len(train) + len(query) + len(gallery) == len(written)
    assert set(train.identities.tolist()) == {2, 3}
    assert set(query.identities.tolist()) == {4, 5}
    assert set(gallery.identities.tolist()) == {-1, 0, 4, 5}
    for identity, camera in zip(query.identities, query.cameras, strict=True):
        assert ((gallery.identities == identity) & (gallery.cameras != camera)).any()
    assert {Image.open(path).size for path in written} == {(64, 128)}


def test_market_without_right_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 cameras"):
        write_market(tmp_path, cameras=1)


@pytest.mark.parametrize(
    ("options", "expected"), [(["--market"], "query/0003_c1*.jpg"), ([], "person-02/camera-2/*.*")]
)
def test_script_runs_from_anywhere(tmp_path: Path, options: list[str], expected: str) -> None:
    script = str(EXAMPLES / "draw_crops.py")
    command = [sys.executable, script, str(tmp_path / "out"), "--identities", "2", "--views", "1", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "crops in" in done.stdout
    assert list((tmp_path / "out").glob(expected))
