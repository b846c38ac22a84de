"""Data sets by name, with their counts, and any folder by its layout, without."""

import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts import datasets
from reid_runtime.scoring.layouts.registry import count_splits, find_dataset, read_dataset, read_layout

from . import miniatures

MATLAB = {
    "cuhk03-np-detected": miniatures.cuhk03,
    "mars": miniatures.mars,
    "cuhk-sysu": miniatures.cuhk_sysu,
    "prw": miniatures.prw,
}


@pytest.mark.parametrize("name", MATLAB)
def test_matlab_layouts_are_recognised(tmp_path, name):
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    MATLAB[name](tmp_path)
    assert read_layout(tmp_path)[0].name == name


@pytest.mark.parametrize(("name", "build"), [("market1501", miniatures.market), ("msmt17", miniatures.msmt17)])
def test_any_folder_in_a_layout_is_read_and_only_a_named_set_is_counted(tmp_path, name, build):
    build(tmp_path)
    layout, splits = read_layout(tmp_path)
    assert layout.name == name
    assert len(splits.query) == 2
    with pytest.raises(DatasetError, match=rf"not all of {name}.*query: expected \d+, found 2; gallery: expected"):
        read_dataset(name, tmp_path)


def test_a_plain_folder_is_recognised(tmp_path):
    miniatures.touch(tmp_path, "query/1/1/a.jpg", "gallery/1/2/a.jpg")
    assert read_layout(tmp_path)[0].name == "plain"


def test_a_copy_with_the_published_counts_is_read_by_name(tmp_path, monkeypatch):
    miniatures.market(tmp_path)
    counts = {"train": 2, "train_identities": 2, "query": 2, "gallery": 4, "junk": 1}
    small = datasets.Dataset("small", "", datasets.read_market, find_dataset("market1501").layout, counts)
    monkeypatch.setattr("reid_runtime.scoring.layouts.registry.DATASETS", (small,))
    assert count_splits(read_dataset("small", tmp_path)) == counts
    for crop in (tmp_path / "bounding_box_train").iterdir():
        crop.unlink()
    (tmp_path / "bounding_box_train").rmdir()
    assert read_dataset("small", tmp_path).train is None, "training crops are not needed to score"


def test_missing_files_are_named(tmp_path):
    miniatures.market(tmp_path / "inner")
    for name, root, match in (
        (
            "market1501",
            tmp_path,
            r"missing query or image_query, bounding_box_test or image_test; .*inner has them all",
        ),
        ("market1501", tmp_path / "nowhere", "does not exist"),
        ("market", tmp_path, "no data set is named 'market'; expected one of market1501, dukemtmc-reid"),
    ):
        with pytest.raises(DatasetError, match=match):
            read_dataset(name, root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DatasetError, match=r"empty has no images at identity/camera/image .*`reid-runtime datasets` lists the layouts$"
    ):
        read_layout(tmp_path / "empty")
    miniatures.msmt17(tmp_path)
    (tmp_path / "list_query.txt").unlink()
    with pytest.raises(DatasetError, match=r"has part of msmt17's layout, but lacks list_query.txt$"):
        read_layout(tmp_path)


def test_names_are_distinct():
    names = [dataset.name for dataset in datasets.DATASETS]
    assert len(set(names)) == len(names)
