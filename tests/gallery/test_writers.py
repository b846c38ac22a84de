"""Killed writers, a full disk, two writers and many readers: the file is whole, and nothing acknowledged is lost."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reid_runtime.errors import StorageError
from reid_runtime.gallery import Gallery

from .tables import images, new_gallery, people

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


def start(path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gallery.writer", path, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def acknowledged(lines, name):
    """Who must be there, and who must not, by what a writer has printed."""
    numbers = [int(line) for line in lines if line.strip().lstrip("-").isdecimal()]
    gone = {f"{name}-{-number}" for number in numbers if number < 0}
    return {f"{name}-{number}" for number in numbers if number >= 0} - gone, gone


def assert_whole(path, there, gone):
    with Gallery.open(path) as gallery:
        assert not gallery.check().problems
        people_now = gallery.people()
        assert {person.crops for person in people_now} <= {4}
        names = {person.name for person in people_now}
        # One that was being forgotten may be gone without a word.
        assert {name for name in there if not name.endswith(("4", "9"))} <= names
        assert not gone & names


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path, kills):
    path, dice = tmp_path / "g.gallery", random.Random(kills)
    new_gallery(path).close()
    there, gone, finished = set(), set(), 0
    for kill in range(kills):
        process = start(path, f"w{kill}", 0, 100_000)
        assert process.stdout.readline() == "ready\n"
        time.sleep(dice.uniform(0.05, 0.8))
        process.kill()
        added, forgotten = acknowledged(process.communicate()[0].splitlines(), f"w{kill}")
        there |= added
        gone |= forgotten
        finished += bool(added)
        assert_whole(path, there, gone)
    assert finished >= kills // 3
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not [name for name in gone if f"{name}/".encode() in content]


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_there(tmp_path):
    path = tmp_path / "g.gallery"
    new_gallery(path).close()
    process = start(path, "w", 0, 1000, 400_000)
    lines, errors = process.communicate(timeout=60)
    there, gone = acknowledged(lines.splitlines(), "w")
    assert process.returncode == 1
    assert "StorageError" in errors
    assert len(there) > 3
    assert_whole(path, there, gone)


def test_a_full_disk_is_said_and_room_makes_good(tmp_path):
    rows = people([f"person-{number}" for number in range(30)])
    with new_gallery(tmp_path / "g.gallery") as gallery:
        gallery.add(rows.take(rows.width[:3] * 0))
        pages = gallery._database.value("PRAGMA page_count")
        gallery._database.rows(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(StorageError, match="the disk is full; nothing of this call was kept"):
            gallery.add(rows, images(rows))
        assert len(gallery) == 1
        gallery._database.rows("PRAGMA max_page_count = 1000000")
        gallery.add(rows, images(rows))
        assert len(gallery) == 90
        assert not gallery.check().problems


@pytest.mark.slow
def test_two_writers_and_many_readers(tmp_path):
    path = tmp_path / "g.gallery"
    new_gallery(path).close()
    writers = [start(path, name, 0, 30) for name in ("a", "b")]
    readers = [Gallery.open(path, read_only=True) for _ in range(4)]
    seen = [0] * 4
    while any(writer.poll() is None for writer in writers):
        for number, reader in enumerate(readers):
            rows = reader.embeddings()
            assert len(rows) % 4 == 0  # a transaction, or nothing of it
            seen[number] = max(seen[number], len(rows))
        time.sleep(0.02)
    for reader in readers:
        reader.close()
    for name, writer in zip(("a", "b"), writers, strict=True):
        lines, errors = writer.communicate()
        assert writer.returncode == 0 or "ErasurePendingError" in errors, errors
        assert_whole(path, *acknowledged(lines.splitlines(), name))
    assert min(seen) > 4
