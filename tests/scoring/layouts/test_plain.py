"""A user's own folders and CSV files."""

import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts.plain import read_plain

from .miniatures import touch


def test_folders_of_identity_and_camera(tmp_path):
    touch(tmp_path, "anna/door/1.jpg", "anna/yard/1.png", "bert/door/1.jpg", "junk/door/1.jpg", "distractor/yard/1.jpg")
    splits = read_plain(tmp_path)
    assert splits.query is splits.gallery
    assert splits.train is None
    assert splits.gallery.ids[:2] == ("anna/door/1.jpg", "anna/yard/1.png")
    assert splits.gallery.identities.tolist() == [1, 1, 2, 0, -1]
    assert splits.gallery.cameras.tolist() == [1, 2, 1, 2, 1]


def test_whole_numbers_keep_their_meaning(tmp_path):
    touch(tmp_path, "-1/3/a.jpg", "0000/3/a.jpg", "0009/1/a.jpg", "17/4/a.jpg")
    splits = read_plain(tmp_path)
    assert splits.gallery.identities.tolist() == [-1, 0, 9, 17]
    assert splits.gallery.cameras.tolist() == [3, 3, 1, 4]


def test_folders_of_splits(tmp_path):
    touch(tmp_path, "query/7/1/a.jpg", "gallery/7/2/a.jpg", "gallery/8/2/a.jpg", "train/1/1/a.jpg")
    splits = read_plain(tmp_path)
    assert splits.query.ids == ("query/7/1/a.jpg",)
    assert splits.gallery.identities.tolist() == [7, 8]
    assert len(splits.train) == 1


def csv_of(tmp_path, text):
    touch(tmp_path, "a.jpg", "b/b.jpg", "c.jpg")
    path = tmp_path / "crops.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv(tmp_path):
    path = csv_of(tmp_path, "id,identity,camera,split\na.jpg,5,1,query\nb/b.jpg,5,2,gallery\nc.jpg,-1,2,gallery\n")
    for root in (path, tmp_path):
        splits = read_plain(root)
        assert splits.query.ids == ("a.jpg",)
        assert splits.gallery.identities.tolist() == [5, -1]
        assert splits.gallery.paths[0].is_file()


def test_a_csv_of_a_spreadsheet_without_splits(tmp_path):
    path = csv_of(tmp_path, "\ufeffcamera,id,identity,note\r\nx,a.jpg,anna,\r\ny,b/b.jpg,anna,\r\n")
    splits = read_plain(path)
    assert splits.query is splits.gallery
    assert splits.gallery.cameras.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id,camera\na.jpg,1\n", "no column identity"),
        ("id,identity,camera\n", "no rows"),
        ("id,identity,camera\na.jpg,,1\n", "line 2 has the id 'a.jpg', identity ''"),
        ("id,identity,camera,split\na.jpg,1,1,probe\n", "split 'probe'"),
        ("id,identity,camera,split\na.jpg,1,1,query\nc.jpg,1,2,\n", "1 of 2 rows have no split"),
        ("id,identity,camera,split\na.jpg,1,1,query\n", "none of gallery"),
        ("id,identity,camera\na.jpg,1,1\nz.jpg,1,2\n", "1 of 2 images that crops.csv names are missing.*'z.jpg'"),
    ],
)
def test_a_wrong_csv_names_the_line(tmp_path, text, match):
    with pytest.raises(DatasetError, match=match):
        read_plain(csv_of(tmp_path, text))


def test_images_at_another_depth(tmp_path):
    touch(tmp_path, "anna/1.jpg", "anna/door/1.jpg")
    with pytest.raises(DatasetError, match=r"1 of 2 images do not lie at identity/camera/image.*'anna/1.jpg'"):
        read_plain(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no images at"):
        read_plain(tmp_path / "empty")


@pytest.mark.parametrize("odd", ["1_1", "+11", "１１"])
def test_only_digits_and_a_minus_are_a_whole_number(tmp_path, odd):
    touch(tmp_path, f"{odd}/1/a.jpg", "11/1/b.jpg", "11/2/b.jpg")
    gallery = read_plain(tmp_path).gallery
    people = dict(zip(gallery.ids, gallery.identities.tolist(), strict=True))
    assert people["11/1/b.jpg"] == people["11/2/b.jpg"] != people[f"{odd}/1/a.jpg"]


@pytest.mark.parametrize("names", [("01/1", "1/1"), ("-0/1", "0/1"), ("7/1", "7/001")])
def test_two_ways_to_write_one_number_are_refused(tmp_path, names):
    touch(tmp_path, *(f"{name}/a.jpg" for name in names))
    with pytest.raises(DatasetError, match=r"'.+' and '.+' are one number, and may mean one or two"):
        read_plain(tmp_path)


def test_a_number_too_long_is_refused(tmp_path):
    touch(tmp_path, f"{10**20}/1/a.jpg", "1/1/a.jpg")
    with pytest.raises(DatasetError, match=f"'{10**20}' is a number of more than 18 characters"):
        read_plain(tmp_path)
