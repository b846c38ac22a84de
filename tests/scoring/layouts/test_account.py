"""What is printed of a reading before anything is computed, and files that stand under two labels."""

import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts.account import account_of, check_files, count_passed_over
from reid_runtime.scoring.layouts.registry import read_layout

from .miniatures import market, touch


def test_lines_count_and_show_what_was_read(tmp_path):
    touch(tmp_path, "anna/door/1.jpg", "anna/yard/1.png", "bert/door/1.jpg", "junk/door/1.jpg", "distractor/yard/1.jpg")
    touch(tmp_path, "anna/door/1.heic", "anna/door/2.HEIC", "carl/yard/1.gif", "readme", "anna/.DS_Store")
    (tmp_path / "dora").symlink_to(tmp_path / "anna")
    gallery = read_layout(tmp_path)[1].gallery
    account = account_of([gallery], len(gallery), count_passed_over(tmp_path, gallery.ids), ("a note",))
    assert account.lines("ours") == [
        "ours: 2 people, 2 cameras, 5 images, 1 of distractors",
        "  anna/door/1.jpg: identity anna, camera door",
        "  junk/door/1.jpg: identity junk, camera door",
        "passed over: 6 files (2 .heic, 1 .gif, 1 hidden, 1 links to folders, 1 without a suffix)",
        "a note",
    ]


def test_more_cameras_than_people_is_said(tmp_path):
    touch(tmp_path, *(f"{person}/{camera}/1.jpg" for person in "ab" for camera in "123"))
    gallery = read_layout(tmp_path)[1].gallery
    assert "more cameras than people (3 and 2)" in account_of([gallery], 6, {}).notes[0]


def test_what_published_layouts_and_lists_leave_out_is_counted(tmp_path):
    market(tmp_path / "market")
    touch(tmp_path / "market", "query/more/0001_c1.jpg", "query/0001_c1s1_1.gif", "outside.jpg")
    splits = read_layout(tmp_path / "market")[1]
    ids = [name for crops in (splits.query, splits.gallery, splits.train) for name in crops.ids]
    counts = {"images that were not named": 1, "hidden": 1, ".gif": 1, ".db": 1}
    assert count_passed_over(tmp_path / "market", ids) == counts
    touch(tmp_path / "own", "a/1.jpg", "a/2.jpg", "b/deep/3.jpg", "other/4.jpg")
    (tmp_path / "own/x.csv").write_text("")
    for name in ("a/1.jpg", "./a/1.jpg", str(tmp_path / "own/a/1.jpg")):
        assert count_passed_over(tmp_path / "own/x.csv", [name]) == {"images that were not named": 1}
    (tmp_path / "own/x.csv").rename(tmp_path / "own/crops.csv")
    assert count_passed_over(tmp_path / "own", ["a/1.jpg"]) == {"images that were not named": 3}


def test_one_file_with_two_labels(tmp_path):
    for name, content in (("a/1/x.jpg", "A"), ("a/2/y.jpg", "B"), ("b/1/z.jpg", "C"), ("b/2/empty.jpg", "")):
        touch(tmp_path, name)
        (tmp_path / name).write_text(content)
    (tmp_path / "junk/1").mkdir(parents=True)
    (tmp_path / "junk/1/x.jpg").write_text("A")
    touch(tmp_path, "a/1/empty.jpg")
    (tmp_path / "a/1/again.jpg").write_text("A")

    def check():
        return check_files([read_layout(tmp_path)[1].gallery])

    assert check() == ("left out as junk (identity -1, junk or unsure): 1 image",)
    (tmp_path / "b/2/w.jpg").hardlink_to(tmp_path / "b/1/z.jpg")
    assert "1 image is one file under two cameras, the first 'b/1/z.jpg' and 'b/2/w.jpg'" in check()[-1]
    (tmp_path / "x.csv").write_text("id,identity,camera\nb/1/z.jpg,a,1\n./b/1/z.jpg,b,1\n")
    with pytest.raises(DatasetError, match=r"one file of two people, the first 'b/1/z.jpg'"):
        check_files([read_layout(tmp_path / "x.csv")[1].gallery])
    (tmp_path / "b/2/v.jpg").symlink_to(tmp_path / "a/2/y.jpg")
    with pytest.raises(DatasetError, match=r"1 image is one file of two people, the first 'a/2/y.jpg' \(identity a\)"):
        check()
