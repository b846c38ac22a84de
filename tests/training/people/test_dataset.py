"""The writer, with a studio that renders flat colours: names, splits, going on, and what a data set's reader sees."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from reid_runtime.scoring.layouts import read_market
from tests.sample_images import encode
from training.people import dataset
from training.people.command import people
from training.people.crop import Crop
from training.people.dataset import Plan


class Flat:
    """Renders a colour by seed and view, and counts."""

    def __init__(self):
        self.calls = []

    def crop(self, seed, view, camera):
        self.calls.append((seed, view, camera))
        image = np.full((20, 10, 3), (seed * 7 + view * 31) % 256, np.uint8)
        facts = dict.fromkeys(dataset.FACTS, "x") | {"width": 10, "height": 20}
        return Crop(encode(image, "JPEG"), np.eye(20, 10, dtype=bool), facts)


@pytest.fixture
def studio(monkeypatch):
    flat = Flat()
    monkeypatch.setattr(dataset, "_studio", lambda assets, cache: flat)
    return flat


PLAN = Plan(first=500, people=3, views=4, cameras=2, test=1, masks=True)


def write(out, plan=PLAN):
    return list(dataset.write(out, out / "assets", plan))


def rows(out):
    with (out / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_splits_are_those_of_market1501(studio, tmp_path):
    assert write(tmp_path) == [1, 2, 3]
    splits = read_market(tmp_path)
    assert splits.train is not None
    assert set(splits.train.identities) == {500, 501}
    assert len(splits.train) == 8
    assert sorted(zip(splits.query.identities, splits.query.cameras, strict=True)) == [(502, 1), (502, 2)]
    assert len(splits.gallery) == 2
    assert studio.calls[:3] == [(500, 0, 0), (500, 1, 1), (500, 2, 0)]


def test_masks_and_index_belong_to_the_crops(studio, tmp_path):
    write(tmp_path)
    for row in rows(tmp_path):
        mask = np.asarray(Image.open((tmp_path / "masks" / row["file"]).with_suffix(".png")))
        np.testing.assert_array_equal(mask, np.eye(20, 10) * 255)
        assert (tmp_path / row["file"]).is_file()
    assert [(row["seed"], row["view"]) for row in rows(tmp_path)] == [
        (str(seed), str(view)) for seed in (500, 501, 502) for view in range(4)
    ]
    assert not list(tmp_path.rglob("*.tmp"))


def test_it_goes_on_with_what_is_missing(studio, tmp_path):
    write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    studio.calls.clear()
    write(tmp_path)
    assert studio.calls == []
    (tmp_path / PLAN.name(501, 2)).unlink()
    index = tmp_path / "index.csv"
    index.write_text(index.read_text().rstrip()[:-6])  # and the last line is cut off
    write(tmp_path)
    assert studio.calls == [(501, 2, 0), (502, 3, 1)]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


def test_more_people_and_views_contain_fewer(studio, tmp_path):
    write(tmp_path / "few", Plan(500, 2, 2, 6, 0, False))
    write(tmp_path / "many", Plan(500, 4, 3, 6, 0, False))
    for path in (tmp_path / "few" / dataset.TRAIN).iterdir():
        assert (tmp_path / "many" / dataset.TRAIN / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "few" / "query").exists()


def test_a_query_has_others_in_the_gallery_when_each_camera_has_one_view(studio, tmp_path):
    write(tmp_path, Plan(500, 2, 3, 6, 2, False))
    splits = read_market(tmp_path)
    assert splits.train is None
    assert len(splits.query) == 2
    assert len(splits.gallery) == 4


def test_command_prints_counts_and_refuses_more_test_people(studio, tmp_path):
    done = CliRunner().invoke(people, [str(tmp_path), "--assets", "a", "--people", "2", "--views", "1"])
    assert done.exit_code == 0
    assert "2 people, 2 crops" in done.output
    failed = CliRunner().invoke(people, [str(tmp_path), "--assets", "a", "--people", "2", "--test", "3"])
    assert failed.exit_code == 2
