"""Each published layout, read from a miniature of its files."""

import re

import numpy as np
import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.install import install_line
from reid_runtime.scoring.layouts import cuhk03, read_market
from reid_runtime.scoring.layouts.mars import read_mars, read_mars_torchreid
from reid_runtime.scoring.layouts.msmt17 import read_msmt17

from . import miniatures


def columns(crops):
    return list(zip(crops.ids, crops.identities.tolist(), crops.cameras.tolist(), strict=True))


def needs_scipy():
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")


def test_market_reads_junk_and_distractors_by_their_sign(tmp_path):
    miniatures.market(tmp_path)
    splits = read_market(tmp_path)
    assert columns(splits.query) == [
        ("query/0001_c1s1_001051_00.jpg", 1, 1),
        ("query/0003_c6s3_079642_00.jpg", 3, 6),
    ]
    assert splits.gallery.identities.tolist() == [-1, 0, 1, 1, 3]
    assert splits.gallery.cameras.tolist() == [1, 2, 1, 2, 5]
    assert splits.train.identities.tolist() == [2, 7]
    assert splits.multi_query is None
    assert all(path.is_file() for path in splits.gallery.paths)


def test_market_reads_facts_from_the_name_and_never_from_the_path(tmp_path):
    root = tmp_path / "0999_c9s9"
    miniatures.market(root)
    assert read_market(root).query.identities.tolist() == [1, 3]


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".webp", ".bmp", ".jpeg"])
def test_market_takes_any_image_format(tmp_path, suffix):
    miniatures.touch(tmp_path, f"query/12_c3{suffix}", f"bounding_box_test/12_c14{suffix}")
    splits = read_market(tmp_path)
    assert (splits.query.identities.tolist(), splits.gallery.cameras.tolist()) == ([12], [14])


def test_market_keeps_of_gt_bbox_what_multi_query_averages(tmp_path):
    miniatures.market(tmp_path)
    names = ("0001_c1s1_001051_00.jpg", "0001_c1s1_009.jpg", "0001_c2s1_1.jpg", "0002_c1s1_1.jpg", "0003_c6s3_1.jpg")
    miniatures.touch(tmp_path, *(f"gt_bbox/{name}" for name in names))
    more = read_market(tmp_path).multi_query
    assert [name.split("/")[1] for name in more.ids] == [names[0], names[1], names[4]]


def test_market_names_that_do_not_parse(tmp_path):
    miniatures.market(tmp_path)
    miniatures.touch(tmp_path, "bounding_box_test/a0001_c1s1.jpg", "bounding_box_test/b.jpg")
    with pytest.raises(DatasetError, match=r"2 of 7 names do not read IDENTITY_cCAM.*, the first is 'a0001_c1s1.jpg'"):
        read_market(tmp_path)


@pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_as_torchreid_but_with_people_from_one(tmp_path, folders):
    miniatures.msmt17(tmp_path, *folders)
    splits = read_msmt17(tmp_path)
    assert columns(splits.query) == [
        (f"{folders[1]}/0000/0000_003_01_0303morning_0020_2.jpg", 1, 1),
        (f"{folders[1]}/0001/0001_001_15_0302noon_0713_1_ex.jpg", 2, 15),
    ]
    assert splits.gallery.identities.tolist() == [2, 1, 1]
    assert splits.gallery.cameras.tolist() == [2, 11, 1]
    assert splits.train.identities.tolist() == [1, 2, 1], "the training list, then the validation list"


def test_msmt17_names_missing_images(tmp_path):
    miniatures.msmt17(tmp_path)
    (tmp_path / "test/0000/0000_004_11_0303morning_0021_0.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 3 images that list_gallery.txt names are missing.*0000_004_11"):
        read_msmt17(tmp_path)
    (tmp_path / "list_gallery.txt").write_text("0000/0000.jpg 0\n")
    with pytest.raises(DatasetError, match=r"list_gallery.txt: line 1 does not read"):
        read_msmt17(tmp_path)
    (tmp_path / "list_query.txt").unlink()
    with pytest.raises(DatasetError, match=r"list_query.txt is missing"):
        read_msmt17(tmp_path)


@pytest.mark.parametrize(("boxes", "read"), [("detected", cuhk03.read_detected), ("labeled", cuhk03.read_labelled)])
def test_cuhk03_as_torchreid_extracts_it(tmp_path, boxes, read):
    needs_scipy()
    miniatures.cuhk03(tmp_path, boxes)
    splits = read(tmp_path)
    assert columns(splits.query) == [(f"images_{boxes}/1_001_1_01.png", 1, 1), (f"images_{boxes}/1_002_2_07.png", 2, 2)]
    assert columns(splits.gallery) == [
        (f"images_{boxes}/1_001_2_06.png", 1, 2),
        (f"images_{boxes}/1_002_1_01.png", 2, 1),
    ]
    assert splits.train.identities.tolist() == [3]


def test_cuhk03_in_markets_layout(tmp_path):
    miniatures.touch(tmp_path, "labeled/query/0003_c1_1.png", "labeled/bounding_box_test/0003_c2_6.png")
    splits = cuhk03.read_labelled(tmp_path)
    assert (splits.query.cameras.tolist(), splits.gallery.cameras.tolist()) == ([1], [2])
    with pytest.raises(DatasetError, match="neither the folder 'detected' nor"):
        cuhk03.read_detected(tmp_path)


def test_mars_official_ranks_all_test_tracklets(tmp_path):
    needs_scipy()
    miniatures.mars(tmp_path)
    splits = read_mars(tmp_path)
    assert splits.query.identities.tolist() == [4, 2, 2]
    assert splits.query.cameras.tolist() == [6, 1, 3]
    assert splits.gallery.identities.tolist() == [-1, 0, 2, 2, 4, 4, 2]
    assert splits.train.identities.tolist() == [1, 3]
    runs = zip(splits.gallery.starts, splits.gallery.stops, strict=True)
    frames = [splits.gallery.frames[start:stop] for start, stop in runs]
    expected = [tuple(f"bbox_test/{name[:4]}/{name}" for name in names) for names, _, _ in miniatures.MARS_TEST]
    assert frames == expected
    assert all(path.is_file() for path in splits.gallery.paths)


def test_mars_as_torchreid_leaves_queries_and_junk_out_of_the_gallery(tmp_path):
    needs_scipy()
    miniatures.mars(tmp_path)
    splits = read_mars_torchreid(tmp_path)
    assert splits.query.identities.tolist() == [4, 2, 2]
    assert splits.gallery.identities.tolist() == [0, 4, 2]
    assert splits.gallery.cameras.tolist() == [2, 1, 1]


def test_wrong_copies_of_mars(tmp_path):
    needs_scipy()
    from scipy.io import savemat

    miniatures.mars(tmp_path)
    info = tmp_path / "info"
    rows = np.array([[1, 2, -1, 1], [3, 4, 0, 2]])
    for name, variable, values, match in (
        ("query_IDX", "query_IDX", np.array([[3, 99]]), "points to tracklet 99 of 7"),
        ("tracks_test_info", "track_test_info", rows, r"1 of 2 tracklets hold frames of another person or .* row 2"),
        ("tracks_test_info", "track_test_info", rows[:1] * [1, 50, 1, 1], r"1 of 1 .* or reach beyond the 12 frames"),
        ("tracks_test_info", "another", rows, r"no variable track_test_info; it has another"),
    ):
        savemat(info / f"{name}.mat", {variable: values})
        with pytest.raises(DatasetError, match=match):
            read_mars(tmp_path)
    (info / "tracks_test_info.mat").write_bytes(b"not MATLAB")
    with pytest.raises(DatasetError, match="cannot be read as a MATLAB file"):
        read_mars(tmp_path)
    (tmp_path / "bbox_test/0000/0000C2T0001F001.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 12 images that test_name.txt names are missing"):
        read_mars(tmp_path)


def test_a_matlab_file_without_scipy_names_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy.io", None)
    miniatures.touch(tmp_path, "cuhk03_new_protocol_config_detected.mat")
    with pytest.raises(DatasetError, match=re.escape(install_line("matlab"))):
        cuhk03.read_detected(tmp_path)
