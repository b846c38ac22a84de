"""From what a user names to images: order, ids, lists, and what is refused."""

import hashlib
import io
import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_runtime.errors import OptionsError, StorageError
from reid_runtime.install import install_line
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.sources import SourceError, Sources, find_sources

NOTHING = io.BytesIO()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Names in two folders, some equal, some that are no images; it is the working directory."""
    for name in (
        "a/10.jpg", "a/9.JPG", "a/Z.png", "a/deep/er/9.jpg", "a.b/x.webp", "b/9.bmp", "b/9.jpeg",
        "a/notes.txt", "a/.hidden.jpg", "a/.cache/x.jpg", "b/x.gif", "a/é.jpg", "c/9.TIF", "c/10.tiff",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(*named, stdin=NOTHING):
    return list(find_sources([str(name) for name in named], stdin).ids)


A = ["10.jpg", "9.JPG", "Z.png", "deep/er/9.jpg", "é.jpg"]


def test_folder_order(tree):
    for name in ("a", "a/", "./a", tree / "a", "b/../a"):
        assert ids(name) == A
    actual = find_sources(["."], NOTHING)
    expected = sorted([*(f"a/{name}" for name in A), "a.b/x.webp", "b/9.bmp", "b/9.jpeg", "c/9.TIF", "c/10.tiff"])
    assert list(actual.ids) == expected
    assert (actual.duplicates, actual.skipped_links) == (0, 0)
    assert actual.skipped == {".txt": 1, "hidden": 1, ".gif": 1}
    assert [os.path.abspath(path) for path in actual.paths] == [str(tree / name) for name in expected]


def test_equal_names_in_several_folders(tree):
    (tree / "b/10.jpg").touch()
    assert ids("b", "a") == ["b/10.jpg", "b/9.bmp", "b/9.jpeg", *(f"a/{name}" for name in A)]
    assert ids("a/10.jpg", "b/10.jpg") == ["a/10.jpg", "b/10.jpg"]
    assert ids("a/deep/er/9.jpg") == ["a/deep/er/9.jpg"]


def test_ids_are_what_was_given(tree):
    """Whatever else is named with them."""
    absolute = str(tree / "b/9.bmp")
    assert ids("./a/10.jpg") == ["./a/10.jpg"]
    listed = f"a/9.JPG\n{absolute}\n# a comment\n./#odd.jpg\n".encode()
    assert ids("-", "./a/10.jpg", stdin=io.BytesIO(listed)) == ["a/9.JPG", absolute, "./#odd.jpg", "./a/10.jpg"]
    assert ids("a.b/", "b/9.bmp") == ["a.b/x.webp", "b/9.bmp"]


def test_root(tree):
    def rooted(root, *named):
        return list(find_sources(named, NOTHING, root=root).ids)

    assert rooted(".", "a") == [f"a/{name}" for name in A]
    assert rooted("a", "a") == A
    assert rooted(str(tree), str(tree / "b/9.bmp"), "./a/../a/10.jpg") == ["b/9.bmp", "a/10.jpg"]
    assert rooted("/", "a/10.jpg") == [str(tree / "a/10.jpg")[1:]]
    for root in ("a", "b/9", "abs"):
        with pytest.raises(SourceError, match=r"b/9\.bmp is not below .*, the root of the ids"):
            rooted(root, "b/9.bmp")


def test_patterns(tree):
    assert ids("a/*.[jJ]*") == ["a/10.jpg", "a/9.JPG", "a/é.jpg"]
    assert ids("**/9.*") == ["a/9.JPG", "a/deep/er/9.jpg", "b/9.bmp", "b/9.jpeg", "c/9.TIF"]
    (tree / "[1].jpg").touch()
    (tree / "1.jpg").touch()
    assert ids("[1].jpg") == ["[1].jpg"]


def test_lists_that_end_with_nul(tree):
    odd = "a/line\nbreak.jpg"
    content = f"a/10.jpg\0{odd}\0#1.jpg\0".encode()
    assert list(find_sources(["-"], io.BytesIO(content), nul=True).ids) == ["a/10.jpg", odd, "#1.jpg"]
    with pytest.raises(SourceError, match=r"line 1: .*; for names that end with NUL, pass -0"):
        find_sources(["-"], io.BytesIO(content))


def test_duplicates(tree):
    actual = find_sources(["a", str(tree / "a"), "a/10.jpg", "a/../a/9.JPG"], NOTHING)
    assert (list(actual.ids), actual.duplicates) == ([f"a/{name}" for name in A], len(A) + 2)


def test_named_file_may_have_any_suffix(tree):
    assert ids("b/x.gif") == ["b/x.gif"]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lists(tree, ends, mark):
    names = ["a/9.JPG", "", "b/9.bmp", "a/10.jpg", "absent/1.jpg"]
    content = (mark + ends.join(names)).encode()
    (tree / "list.txt").write_bytes(content)
    assert ids("list.txt") == [name for name in names if name]
    assert ids("-", stdin=io.BytesIO(content)) == [name for name in names if name]


def test_lists_of_names_beside_them(tree):
    """What the first path is relative to, all are."""
    (tree / "a/list.txt").write_text("10.jpg\n9.JPG\n")
    assert ids("a/list.txt") == ["a/10.jpg", "a/9.JPG"]
    (tree / "a/list.txt").write_text(f"{tree}/a/9.JPG\na/10.jpg\n10.jpg\n")
    assert ids("a/list.txt") == [f"{tree}/a/9.JPG", "a/10.jpg", "10.jpg"]


def test_lists_not_utf8(tree):
    odd = os.fsdecode(b"a/\xff.jpg")
    (tree / odd).touch()
    (tree / "list.txt").write_bytes(b"a/\xff.jpg\na/10.jpg\n")
    actual = find_sources(["list.txt"], NOTHING)
    assert actual.ids == ("a/\\xff.jpg", "a/10.jpg")
    assert os.path.exists(actual.paths[0])
    (tree / "a/\\xff.jpg").touch()
    with pytest.raises(SourceError, match=r"two files have the id '\\\\xff\.jpg', .* rename one"):
        find_sources(["a"], NOTHING)


@pytest.mark.parametrize("line", ["a", "a\0b.jpg"])
def test_lists_name_images_only(tree, line):
    (tree / "list.txt").write_text(f"a/10.jpg\n{line}\n")
    with pytest.raises(SourceError, match=r"list\.txt, line 2"):
        find_sources(["list.txt"], NOTHING)
    with pytest.raises(SourceError, match="standard input, line 1"):
        find_sources(["-"], io.BytesIO(line.encode()))


def test_list_with_a_long_line(tree):
    """No such image, which is found out when it is opened; and nothing stumbles before."""
    long = "n" * 5000 + ".jpg"
    assert ids("-", stdin=io.BytesIO(f"a/10.jpg\na/{long}\n".encode())) == ["a/10.jpg", f"a/{long}"]


def test_unreadable_list(tree, monkeypatch):
    (tree / "list.txt").touch()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("reid_runtime.jobs.sources.open", refuse, raising=False)
    with pytest.raises(SourceError, match=r"list\.txt: the list cannot be read: Permission denied"):
        find_sources(["list.txt"], NOTHING)


def test_links(tree):
    """Links to images are images, broken or not; links to folders may lead in circles and are counted."""
    (tree / "b/link.jpg").symlink_to(tree / "a/10.jpg")
    (tree / "b/broken.jpg").symlink_to("nowhere")
    (tree / "b/circle").symlink_to(tree / "b")
    actual = find_sources(["b"], NOTHING)
    assert list(actual.ids) == ["9.bmp", "9.jpeg", "broken.jpg", "link.jpg"]
    assert actual.skipped_links == 1
    assert ids("b/circle") == list(actual.ids)


def test_folder_with_an_image_name(tree):
    (tree / "b/folder.jpg").mkdir()
    (tree / "b/folder.jpg/1.jpg").touch()
    assert ids("b") == ["9.bmp", "9.jpeg", "folder.jpg/1.jpg"]


def test_parent_of_a_link(tree):
    """x/../10.jpg is where the system says, not where the text of the path says."""
    (tree / "b/into").symlink_to(tree / "a/deep")
    (path,) = find_sources(["b/into/../10.jpg"], NOTHING).paths
    assert os.path.samefile(path, tree / "a/10.jpg")


def test_nothing_there(tree):
    (tree / "empty").mkdir()
    (tree / "only_a_link").mkdir()
    (tree / "only_a_link/a").symlink_to(tree / "a")
    (tree / "list.txt").touch()
    for named, reason in (
        (["absent"], "absent: no such file"),
        (["a", "absent.jpg"], r"absent\.jpg: no such file"),
        (["n" * 5000], "no such file"),
        (["empty"], "no images in empty: found 0 other files and 0 links"),
        (["only_a_link"], "no images in only_a_link: found 0 other files and 1 link to a folder"),
        (["list.txt", "-"], "no images in list.txt, -"),
    ):
        with pytest.raises(SourceError, match=reason):
            find_sources(named, NOTHING)


def test_unreadable_folder(tree, monkeypatch):
    complete = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return complete(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match="deep: the folder cannot be read: Permission denied"):
        find_sources(["a"], NOTHING)


def test_order_of_deep_paths(tmp_path):
    """Folder by folder, and still the order of all paths sorted together."""
    names = ["a.jpg", "a/b.jpg", "a.b/c.jpg", "a0.jpg", "ab/c.jpg", "a b/c.jpg", "a/" + "d/" * 400 + "x.jpg", "é/1.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert ids(tmp_path) == sorted(names)


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=40), st.integers(1, 9))
def test_shards_partition_the_set(names, count):
    complete = Sources(tuple(names), tuple(names), fingerprints=tuple(f"mark of {name}" for name in names))
    parts = [complete.of(Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in part.ids) == sorted(names)
    for part in parts:
        assert part.paths == part.ids
        assert part.fingerprints == tuple(f"mark of {name}" for name in part.ids)


def test_shards_are_stable_and_about_equal():
    """The hash is written down: SHA-256, so that another machine, version or language agrees."""
    assert [next(n for n in range(1, 8) if Shard(n, 7).holds(name)) for name in ("a/1.jpg", "a/2.jpg", "ä.png")] == [
        1 + int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) % 7 for name in ("a/1.jpg", "a/2.jpg", "ä.png")
    ]
    assert Shard(5, 7).holds("a/1.jpg")
    sizes = [sum(Shard(number, 4).holds(f"{name}.jpg") for name in range(4000)) for number in (1, 2, 3, 4)]
    assert min(sizes) > 900


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/4", "a/b", "1/ 4", "¹/4"])
def test_bad_shards(text):
    with pytest.raises(OptionsError, match="expected a shard i/n"):
        Shard.parse(text)


def test_digest(tree):
    def digest(rows=range(3)):
        return find_sources(["a"], NOTHING).digest(rows)

    before, other_rows = digest(), digest(range(1, 3))
    assert before == digest() != other_rows
    os.utime(tree / "a/9.JPG", ns=(5, 5))
    touched = digest()
    assert touched != before
    (tree / "a/9.JPG").write_bytes(b"x")
    os.utime(tree / "a/9.JPG", ns=(5, 5))
    assert digest() not in (before, touched)
    (tree / "a/9.JPG").rename(tree / "a/91.JPG")
    renamed = digest()
    os.remove(tree / "a/91.JPG")
    assert digest() != renamed


@pytest.fixture
def store():
    """Pictures and others in fsspec's store in memory; gives the store."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra s3")
    store = fsspec.filesystem("memory")
    for name in ("crops/b/2.png", "crops/a/1.JPG", "crops/.hidden/1.jpg", "crops/a/notes.txt", "other/x.gif"):
        store.pipe_file(f"/sources/{name}", name.encode())
    yield store
    store.rm("/sources", recursive=True)


def test_remote_sources(store):
    actual = find_sources(["memory://sources/crops/"], NOTHING)
    assert actual.ids == ("a/1.JPG", "b/2.png")
    assert (actual.skipped_files, actual.duplicates) == (2, 0)
    assert [(image.name, image.content) for image in actual.images([1, 0])] == [
        ("memory:///sources/crops/b/2.png", b"crops/b/2.png"),
        ("memory:///sources/crops/a/1.JPG", b"crops/a/1.JPG"),
    ]
    several = find_sources(
        ["memory://sources/other/x.gif", "memory://sources/crops", "memory://sources/crops/b"], NOTHING
    )
    assert (several.ids, several.duplicates) == (
        ("memory://sources/other/x.gif", "memory://sources/crops/a/1.JPG", "memory://sources/crops/b/2.png"), 1
    )  # fmt: skip
    below = find_sources(["memory://sources/crops/b/2.png"], NOTHING, root="memory://sources/crops/")
    assert below.ids == ("b/2.png",)
    before = actual.digest(range(2))
    assert find_sources(["memory://sources/crops"], NOTHING).digest(range(2)) == before
    store.pipe_file("/sources/crops/b/2.png", b"longer than before")
    assert find_sources(["memory://sources/crops"], NOTHING).digest(range(2)) != before


def test_vanished_remote_image(store, tiny):
    actual = find_sources(["memory://sources/crops"], NOTHING)
    store.rm("/sources/crops/a/1.JPG")
    first, second = tiny.stream(actual.images(range(2)))
    assert (first.source, second.source) == ("memory:///sources/crops/a/1.JPG", "memory:///sources/crops/b/2.png")
    assert str(first.error).startswith("cannot be read: ")
    assert str(second.error) == "not a JPEG, PNG, BMP, WebP or TIFF image"


def test_remote_errors(store, tree, monkeypatch):
    for named, reason in (
        (["memory://sources/absent"], "no such file or folder"),
        (["memory://sources/crops", "a"], "name one kind at a time"),
        (["-"], "standard input, line 1: expected the path of an image"),
    ):
        with pytest.raises(SourceError, match=reason):
            find_sources(named, io.BytesIO(b"memory://sources/crops/b/2.png\n"))
    with pytest.raises(StorageError, match="nonsense://x cannot be reached"):
        find_sources(["nonsense://x"], NOTHING)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StorageError, match=re.escape(install_line("s3"))):
        find_sources(["memory://sources/crops"], NOTHING)
