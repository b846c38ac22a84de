"""The rendered images of the examples: how they lie, how much they weigh, and that the miniatures made of them hold."""

import numpy as np
import pytest
from PIL import Image

from examples.video import STREET, moments
from reid_runtime.scoring.layouts.market1501 import read_split
from tests.miniature import CROPS, crop, write_market

SUFFIXES = {".jpg", ".png"}


def images():
    return sorted(path for path in CROPS.rglob("*.*") if path.suffix in SUFFIXES)


def test_eight_people_are_seen_twice_by_each_of_two_cameras():
    names = [path.relative_to(CROPS).with_suffix("").as_posix() for path in images()]
    assert names == [f"person-{p:02}/camera-{c}/view-{v}" for p in range(1, 9) for c in (1, 2) for v in (1, 2)]
    assert {path.suffix for path in images()} == SUFFIXES
    assert sum(path.stat().st_size for path in images()) < 400_000
    assert len({Image.open(path).size for path in images()}) > 24
    assert "MakeHuman" in (CROPS / "CREDITS.md").read_text()


def test_crops_of_one_person_are_of_the_same_colours():
    def colours(pixels):
        middle = pixels[20:108, 20:44].reshape(2, -1, 3) // 64
        return np.concatenate([np.bincount(half @ np.array([16, 4, 1]), minlength=64) / len(half) for half in middle])

    first, other = (np.array([colours(crop(person, 0, moment)) for person in range(8)]) for moment in (0, 1))
    away = np.abs(first[:, None] - other[None]).sum(axis=2)
    assert np.mean(away.argmin(axis=1) == np.arange(8)) > 0.5


@pytest.mark.parametrize("camera", [0, 1])
def test_the_street_has_a_box_around_each_person(camera):
    frames = list(moments(None, 1000, camera))
    assert len(frames) == 48
    videos = sum(path.stat().st_size for path in STREET.glob("*.mp4"))
    assert sum(path.stat().st_size for path in STREET.iterdir()) - videos < 500_000
    assert videos < 300_000
    walls = np.median([moment.frame for moment in frames[::4]], axis=0)
    for moment in frames[::12]:
        assert moment.identities.tolist() == [0, 1, 2, 3]
        differs = np.abs(moment.frame - walls).max(axis=2) > 30
        inside = np.zeros_like(differs)
        for x1, y1, x2, y2 in moment.boxes.round().astype(int):
            assert differs[y1:y2, x1:x2].mean() > 0.1
            inside[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = True
        assert differs[~inside].mean() < 0.03


def test_every_query_of_the_miniature_has_a_right_answer_in_another_camera(tmp_path):
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
    assert len({path.read_bytes() for path in written}) == len(written)
