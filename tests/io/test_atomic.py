"""Atomic writes: what a file keeps when it is replaced, and what a killed run leaves behind."""

import os
import signal
import subprocess
import sys

import pytest

from reid_runtime.errors import StorageError
from reid_runtime.io.atomic import atomic_write, ensure_writable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these permissions nor these locks")

WRITER = """if True:
    import sys, time
    from pathlib import Path
    from reid_runtime.io.atomic import atomic_write
    with atomic_write(Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        print(flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o444])
def test_permissions_are_kept(tmp_path, permissions):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(permissions)
    with atomic_write(path) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        temporary.write_text("new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", permissions)


def test_new_file_has_the_usual_permissions(tmp_path):
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("new")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    for content in ("first", "second"):
        ensure_writable(tmp_path / "link", force=True)
        with atomic_write(tmp_path / "link") as temporary:
            assert temporary.parent == tmp_path / "there"
            temporary.write_text(content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there/file").read_text() == content
    (tmp_path / "astray").symlink_to("absent/file")
    with pytest.raises(StorageError, match="absent is not a folder"):
        ensure_writable(tmp_path / "astray", force=True)


def test_killed_writer_leaves_nothing_for_good(tmp_path):
    """What a living writer has open stays; what a dead one has left is removed by the next write of that name."""
    writers = []
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "a"], stdout=subprocess.PIPE)
        writer.stdout.readline()
        writers.append(writer)
    other = tmp_path / ".b.01234567.part"
    other.touch()
    with atomic_write(tmp_path / "a") as temporary:
        temporary.touch()
    assert len(os.listdir(tmp_path)) == 4
    writers[0].kill()
    writers[0].wait()
    ensure_writable(tmp_path / "a", force=True)
    with atomic_write(tmp_path / "a") as temporary:
        temporary.touch()
    assert len(os.listdir(tmp_path)) == 3
    writers[1].send_signal(signal.SIGINT)
    writers[1].wait()
    assert sorted(os.listdir(tmp_path)) == [".b.01234567.part", "a"]
    for writer in writers:
        writer.stdout.close()
