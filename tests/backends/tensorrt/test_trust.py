"""The folder of engines is its owner's alone: its mode, its files, the folders above, and the notes in it."""

import os

import pytest

from reid_runtime.backends.tensorrt.trust import (
    ENVIRONMENT,
    is_trusted,
    lock_out_others,
    make_private,
    read_private,
    record_trust,
    require_private,
)
from reid_runtime.errors import BackendError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
as_root = pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="needs root to give files away")


@pytest.fixture
def folder(tmp_path):
    """A private folder of engines below another, with one engine in it."""
    folder = tmp_path / "above" / "engines"
    make_private(folder)
    (folder / "x.engine").write_bytes(b"code")
    (folder / "x.engine").chmod(0o644)
    return folder


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o2775, 0o720, 0o702])
def test_others_write_to_the_folder(folder, mode):
    folder.chmod(mode)
    for refused in (lambda: require_private(folder), lambda: read_private(folder / "x.engine")):
        with pytest.raises(BackendError, match=r"engines can be written|engines belongs to another user or can be"):
            refused()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o500])
def test_nobody_else_writes(folder, mode):
    folder.chmod(mode)
    require_private(folder)
    assert read_private(folder / "x.engine") == b"code"


@pytest.mark.parametrize(("mode", "private"), [(0o777, False), (0o775, False), (0o1777, True), (0o755, True)])
def test_folder_above(folder, mode, private):
    folder.parent.chmod(mode)
    link = folder.parent.parent / "link"
    link.symlink_to(folder)
    for path in (folder, link):
        if private:
            require_private(path)
        else:
            with pytest.raises(BackendError, match="above belongs to another user or can be written by others"):
                require_private(path)


@as_root
@pytest.mark.parametrize("path", ["above", "above/engines", "above/engines/x.engine"])
def test_owner(folder, path):
    os.chown(folder.parent.parent / path, 12345, 12345)
    with pytest.raises(BackendError, match="belongs to another user"):
        read_private(folder / "x.engine")


def test_files(folder):
    engine = folder / "x.engine"
    for mode in (0o666, 0o664):
        engine.chmod(mode)
        with pytest.raises(BackendError, match=r"x\.engine belongs to another user or can be written"):
            read_private(engine)
    lock_out_others(engine)
    assert read_private(engine) == b"code"
    (folder / "link").symlink_to(engine)
    os.mkfifo(folder / "pipe")
    with pytest.raises(OSError, match="symbolic"):
        read_private(folder / "link")
    with pytest.raises(BackendError, match="pipe"):
        read_private(folder / "pipe")


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_new_folders_are_private(tmp_path, monkeypatch, umask):
    engines = tmp_path / "caches" / "reid-runtime" / "engines"
    monkeypatch.setenv(ENVIRONMENT, str(engines))
    before = os.umask(umask)
    try:
        record_trust("sidecar")
    finally:
        os.umask(before)
    for path in (engines.parents[1], engines.parent, engines, engines / "built-here"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert is_trusted("sidecar")
    assert not is_trusted("another")


@as_root
@pytest.mark.parametrize("change", ["note", "built-here", ""])
def test_notes_of_others(tmp_path, monkeypatch, change):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "engines"))
    record_trust("sidecar")
    notes = tmp_path / "engines" / "built-here"
    path = next(notes.iterdir()) if change == "note" else tmp_path / "engines" / change
    os.chown(path, 12345, 12345)
    assert not is_trusted("sidecar")
    with pytest.warns(UserWarning, match="loading it needs trust"):
        record_trust("sidecar")
