"""The benchmark of a search: it measures what it says, on every kind of gallery."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.search import TARGETS, main


@pytest.mark.parametrize("kind", ["parts", "npz"])
def test_a_small_gallery(tmp_path, kind):
    if kind == "parts":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    arguments = ["-o", str(tmp_path / "search.json"), "--rows", "3000", "--kind", kind, "--repetitions", "1"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    actual = json.loads((tmp_path / "search.json").read_text())
    assert actual["rows"] == 3000
    assert all(actual[name][0] > 0 for name in ("cold", "one", "batch"))
    assert 3e7 < actual["memory"] < 1e9
    assert all(name in result.output for name in TARGETS)
