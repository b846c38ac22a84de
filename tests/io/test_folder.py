"""A folder of this machine: locked for one process, and never written to once another one has its name."""

import shutil
import sys
from pathlib import Path

import pytest

from reid_runtime.errors import StorageError
from reid_runtime.io.folder import open_folder
from reid_runtime.io.locks import exclusive_lock


def test_exclusive_lock(tmp_path):
    with exclusive_lock(tmp_path):
        for name, reason in ((".", "another run is going on in"), ("absent", "absent cannot be opened: No such file")):
            with pytest.raises(StorageError, match=reason), exclusive_lock(tmp_path / name):
                pass
    with exclusive_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_file_system_without_locks(tmp_path, monkeypatch):
    def none(*_, **__):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("filelock.lock_descriptor", none)
    with exclusive_lock(tmp_path):
        pass


@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="a folder in which a file is open cannot be removed")
def test_replaced_folder_is_not_written_to(tmp_path, is_replaced):
    with open_folder(f"{tmp_path}/out/").locked() as folder:
        folder.write("a", b"1")
        shutil.rmtree(tmp_path / "out")
        if is_replaced:
            (tmp_path / "out").mkdir()
            with open_folder(f"{tmp_path}/out/").locked() as second:
                second.write("a", b"2")
        with pytest.raises(StorageError, match="removed or replaced while the job ran in it"):
            folder.write("b", b"3")
        assert [path.name for path in tmp_path.glob("out/*")] == (["a"] if is_replaced else [])


def test_empty_new_folder_is_removed(tmp_path):
    for name in ("empty", "full"):
        with open_folder(f"{tmp_path}/{name}/").locked() as folder:
            if name == "full":
                folder.write("a", b"1")
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [Path("full"), Path("full/a")]
