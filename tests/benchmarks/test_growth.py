"""Growth: every case is a process of its own, on its cores, with all of its work."""

import json

import pytest

from benchmarks import growth


@pytest.mark.slow
def test_a_thousand_crops_and_a_frame(tmp_path):
    growth.main(["--most", "1000", "--boxes", "10", "-o", str(tmp_path / "g.json")], standalone_mode=False)
    crops, boxes = json.loads((tmp_path / "g.json").read_text())["rows"]
    assert (crops["work"], crops["items"], crops["processes"]) == ("crops", 1000, 1)
    assert (boxes["work"], boxes["items"]) == ("boxes of a frame", 10)
    assert crops["seconds"] > boxes["seconds"] > 0
    assert crops["mib"] > 50


def test_ways_to_share_ten_thousand_crops(monkeypatch):
    made = []
    monkeypatch.setattr(growth, "cores", lambda: 2)
    monkeypatch.setattr(
        growth, "_in_processes", lambda work, on, *cases: made.append((work, on, [c[0] for c in cases]))
    )
    monkeypatch.setattr(growth, "_DISTINCT", 4)
    growth.measure("tiny", "openvino", 10_000, 100)
    assert made == [
        ("crops", 2, ["files"]), ("crops", 2, ["files"]), ("crops", 1, ["files"]), ("crops", 2, ["files", "files"]),
        ("boxes of a frame", 2, ["frame"]), ("boxes of a frame", 2, ["frame"]),
    ]  # fmt: skip
