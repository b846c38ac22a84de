"""Folders and names of people's own: read as they were meant, or refused with the way to say what is meant."""

import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts.folders import compile_names
from reid_runtime.scoring.layouts.plain import read_plain
from reid_runtime.scoring.layouts.registry import read_layout

from .miniatures import touch


def labels(root, names=None):
    """{id: (identity, camera)} of the gallery, as the user wrote them."""
    gallery = read_layout(root, names)[1].gallery
    people = map(gallery.names.identity, gallery.identities.tolist())
    cameras = map(gallery.names.camera, gallery.cameras.tolist())
    return dict(zip(gallery.ids, zip(people, cameras, strict=True), strict=True))


def grid(form, people="123", cameras="12"):
    """A name for each person under each camera."""
    return [form.format(p=p, c=c) for p in people for c in cameras]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{p}/{c}/a.jpg", "{p} {c}"),
        ("cam{c}/{p}/a.jpg", "{p} cam{c}"),
        ("Camera-{c}/anna{p}/a.jpg", "anna{p} Camera-{c}"),
        ("view {c}/00{p}/a.jpg", "00{p} view {c}"),
        ("{c}/person_{p}/a.jpg", "person_{p} {c}"),
        ("cam_{c}/person_{p}/a.jpg", "person_{p} cam_{c}"),
        ("person_{p}/cam_{c}/a.jpg", "person_{p} cam_{c}"),
        ("{c}/000{p}/000{p}_c{c}s1_1.jpg", "000{p} {c}"),
        ("000{p}/{p}{c}/000{p}_C{c}_F1.jpg", "000{p} {c}"),
        ("000{p}/T{p}{c}/000{p}C{c}T0001F001.jpg", "000{p} {c}"),
        ("{p}/a{c}.jpg", "{p} "),
        ("000{p}/000{p}_c{c}s1_1.jpg", "000{p} {c}"),
        ("000{p}_c{c}s1_1.jpg", "000{p} {c}"),
        ("whole_body_images/00{p}/00{p}_{c}.tif", "00{p} "),
        ("gallery/{p}/{c}.jpg", "{p} "),
    ],
)
def test_labels_of_folders_and_names(tmp_path, form, expected):
    names = grid(form)
    touch(tmp_path, *names)
    if "/" in form and form.split("/")[0] in ("whole_body_images", "gallery"):
        touch(tmp_path, *(name.replace("whole", "occluded").replace("gallery", "query") for name in names))
    meant = [tuple(expected.format(p=p, c=c).split(" ", 1)) for p in "123" for c in "12"]
    if expected.endswith("view {c}"):
        meant = [(f"00{p}", f"view {c}") for p in "123" for c in "12"]
    assert labels(tmp_path) == dict(zip(names, meant, strict=True))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (grid("{c}/000{p}/a.jpg"), "people under 3 cameras such as '0001' look like cameras and people"),
        (grid("{c}/{p}/a.jpg", "abcdefgh", ("left", "right")), "8 cameras such as 'a' look like cameras and people"),
        (grid("{p}/{p}{c}/a.jpg"), "look like tracklets of one person"),
        (grid("{p}/tracklet_{c}/a.jpg"), "look like tracklets of one person"),
        (grid("cam{c}/{p}.jpg"), "'cam1' names a camera, where a person is expected"),
        (grid("val/{p}/{c}.jpg"), "'val' lies where a person is expected"),
        (grid("test/{p}/{c}/a.jpg"), "do not lie at identity/camera/image"),
        (grid("{p}_{c}.jpg"), r"pass --names '\{identity\}_\{camera\}'"),
        (["a/1.jpg", "a/2/3.jpg"], "1 of 2 images do not lie at identity/camera/image or identity/image"),
    ],
)
def test_ambiguous_folders_are_refused(tmp_path, names, reason):
    touch(tmp_path, *names)
    with pytest.raises(DatasetError, match=reason) as refused:
        read_plain(tmp_path)
    assert len(str(refused.value).removeprefix(str(tmp_path))) <= 200


@pytest.mark.parametrize(
    ("form", "pattern", "expected"),
    [
        ("{p}_{c}.jpg", "{identity}_{camera}", "{p} {c}"),
        ("anna-{p}_front.{c}.jpg", "{identity}_{camera}", "anna-{p} front"),
        ("x/{c}/p_{p}/a.jpg", "x/{camera}/{identity}/", "p_{p} {c}"),
        ("{c}/000{p}/a.jpg", "{camera}/{identity}/", "000{p} {c}"),
        ("{p}/t{c}/a.jpg", "{identity}/", "{p} "),
        ("a/b/frame9_id{p}_cam{c}_x.jpg", "*_id{identity}_cam{camera}", "{p} {c}"),
    ],
)
def test_patterns(tmp_path, form, pattern, expected):
    touch(tmp_path, *grid(form))
    meant = [tuple(expected.format(p=p, c=c).split(" ")) for p in "123" for c in "12"]
    assert labels(tmp_path, pattern) == dict(zip(grid(form), meant, strict=True))


def test_a_pattern_that_is_none_or_does_not_fit(tmp_path):
    for pattern in ("{camera}", "{identity}_{identity}", "{person}_{identity}"):
        with pytest.raises(DatasetError, match=r"expected \{identity\} once"):
            compile_names(pattern)
    touch(tmp_path, "1_2.jpg", "odd.jpg")
    with pytest.raises(
        DatasetError, match=r"1 of 2 images do not read '\{identity\}_\{camera\}', the first is 'odd.jpg'"
    ):
        read_plain(tmp_path, "{identity}_{camera}")


@pytest.mark.parametrize(
    ("names", "zero"),
    [
        (grid("{p}/{c}/a.jpg", "0123"), "0"),
        (grid("{p}/{c}/a.jpg", ("-1", "0", "1")), "distractor"),
        (grid("{p}/{c}/a.jpg", ("distractor", "0", "1")), "0"),
        (["query/0/1/a.jpg", "gallery/0/2/a.jpg", "gallery/1/2/a.jpg"], "0"),
        (["query/1/1/a.jpg", "gallery/0/2/a.jpg", "gallery/1/2/a.jpg"], "distractor"),
        (["query/0000_c1_a.jpg", "bounding_box_test/0000_c2_a.jpg", "bounding_box_test/-1_c2_a.jpg"], "0000"),
        (["query/0001_c1_a.jpg", "bounding_box_test/0000_c2_a.jpg", "bounding_box_test/0001_c2_a.jpg"], "distractor"),
    ],
)
def test_identity_zero_is_a_person_where_it_is_looked_for(tmp_path, names, zero):
    touch(tmp_path, *names)
    read = labels(tmp_path)
    assert {label for name, (label, _) in read.items() if "/0/" in f"/{name}" or "/0000" in name} == {zero}
    people = read_layout(tmp_path)[1].query.identities
    assert (people > 0).any()


def test_a_person_below_minus_one_is_refused(tmp_path):
    touch(tmp_path, "-2/1/a.jpg", "1/1/a.jpg")
    with pytest.raises(DatasetError, match="'-2' is no person's number"):
        read_plain(tmp_path)


def test_csv_files_of_other_programs(tmp_path):
    touch(tmp_path, "p/1.jpg", "p/2.jpg")
    path = tmp_path / "other.csv"
    for text in (
        "id,identity,camera\np\\1.jpg,anna,1\np\\2.jpg,anna,2\n",
        "ID; Identity ;Camera\np/1.jpg;anna;1\np/2.jpg;anna;2\n",
    ):
        path.write_text(text)
        assert labels(path) == {"p/1.jpg": ("anna", "1"), "p/2.jpg": ("anna", "2")}
    path.write_text("id,identity\np/1.jpg,anna\np/2.jpg,anna\n")
    assert labels(path) == {"p/1.jpg": ("anna", ""), "p/2.jpg": ("anna", "")}
    for text, reason in (
        ("path,person\n1.jpg,2\n", r"other.csv has no column id, identity; expected id .* found 'path, person'"),
        (
            "id,identity,camera\np/1.jpg,a,1\np/1.jpg,b,2\n",
            "1 image is listed more than once, the first is 'p/1.jpg'",
        ),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=reason) as refused:
            read_layout(path)
        assert len(str(refused.value).removeprefix(str(path))) <= 200
