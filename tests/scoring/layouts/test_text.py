"""Text files in and out of UTF-8."""

import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts.mars import read_mars
from reid_runtime.scoring.layouts.msmt17 import read_msmt17
from reid_runtime.scoring.layouts.plain import read_plain
from reid_runtime.scoring.layouts.prw import read_prw
from reid_runtime.scoring.layouts.text import read_text

from . import miniatures


def test_the_mark_of_windows_editors_is_no_text(tmp_path):
    (tmp_path / "x.txt").write_bytes("\ufeffAndré\r\n".encode())
    assert read_text(tmp_path / "x.txt") == "André\r\n"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_names_the_line(tmp_path, encoding):
    (tmp_path / "x.csv").write_bytes("id\nAndré\n".encode(encoding))
    line = {"cp1252": 2, "utf-16": 1}[encoding]
    with pytest.raises(DatasetError, match=rf"x\.csv: line {line} is not UTF-8 \(byte 0x..\); expected text in UTF-8"):
        read_text(tmp_path / "x.csv")


def test_unreadable_files(tmp_path):
    with pytest.raises(DatasetError, match=r"x\.csv is missing"):
        read_text(tmp_path / "x.csv")
    with pytest.raises(DatasetError, match="cannot be read: "):
        read_text(tmp_path)


def plain(root):
    miniatures.touch(root, "crops.csv")


@pytest.mark.parametrize(
    ("build", "read", "name"),
    [
        (plain, read_plain, "crops.csv"),
        (miniatures.msmt17, read_msmt17, "list_query.txt"),
        (miniatures.mars, read_mars, "info/test_name.txt"),
        (miniatures.prw, read_prw, "query_info.txt"),
    ],
)
def test_every_list_is_read_so(tmp_path, build, read, name):
    if build in (miniatures.mars, miniatures.prw):
        pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    build(tmp_path / "set")
    (tmp_path / "set" / name).write_bytes("André".encode("cp1252"))
    with pytest.raises(DatasetError, match=rf"{name}: line 1 is not UTF-8"):
        read(tmp_path / "set")
