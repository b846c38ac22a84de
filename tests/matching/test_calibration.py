"""A calibration answers what its numbers say, and a file that is none is refused in a line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.matching import CalibrationError, VerdictSettings, read_calibration, write_calibration
from tests.matching.made import calibration


def test_thresholds_and_rates() -> None:
    made = calibration()
    assert [made.threshold(fmr) for fmr in (0.1, 0.05, 0.001)] == [0.0, 0.25, 0.5]
    with pytest.raises(CalibrationError, match=r"do not support an FMR of 0.01 %: the smallest .* is 0.1 %"):
        made.threshold(0.0001)
    np.testing.assert_allclose([made.fmr(cosine) for cosine in (0.0, 0.125, 0.25, 0.5)], [0.1, 0.055, 0.01, 0.001])
    assert made.fmr(0.9) == 0.001, "an upper bound: the data say nothing of smaller rates"
    np.testing.assert_allclose([made.fnmr(cosine) for cosine in (-0.5, 0.25, 0.5, 1.0)], [0.0015, 0.01, 0.1, 1.0])


@pytest.mark.parametrize(
    ("similarity", "crops", "answer"),
    [(0.5, "1x1", "same"), (0.49, "1x1", "unsure"), (0.25, "1x1", "different"), (0.6, "nxn", "unsure"),
     (0.75, "nxn", "same"), (-1.0, "nxn", "different")],
)  # fmt: skip
def test_verdicts(similarity: float, crops: str, answer: str) -> None:
    assert calibration().verdict(similarity, crops).answer == answer  # type: ignore[arg-type]


def test_a_verdict_says_where_it_was_calibrated_and_follows_its_settings() -> None:
    made = calibration()
    verdict = made.verdict(0.3)
    assert str(verdict) == "unsure: similarity 0.300, FMR 0.82 %, FNMR 2.8 %"
    elsewhere = replace(made, source=replace(made.source, own_site=False))
    assert str(elsewhere.verdict(0.3)).endswith("; calibrated elsewhere")
    assert elsewhere.calibration_id != made.calibration_id
    assert replace(made, settings=VerdictSettings(0.01, 0.01)).verdict(0.3).answer == "same"
    assert replace(made, settings=VerdictSettings(1e-6, 0.01)).verdict(0.6).answer == "same", "the smallest supported"
    with pytest.raises(CalibrationError, match="no comparisons 1xn"):
        made.verdict(0.3, "1xn")
    with pytest.raises(CalibrationError, match="support none"):
        replace(made, operating_points=()).verdict(0.3)
    with pytest.raises(CalibrationError, match="0123456789abcdef, b of ffff"):
        made.require_space("ffff", "b")


def test_search_thresholds_follow_the_size_of_the_gallery() -> None:
    made = calibration()
    between = made.search_threshold(0.01, 32)
    assert 0.5 < between.threshold < 0.6
    assert not between.extrapolated
    assert made.search_threshold(0.01, 2).threshold == 0.5
    beyond = made.search_threshold(0.01, 1000)
    assert beyond.extrapolated
    np.testing.assert_allclose([beyond.threshold, beyond.fnir], [0.7, 0.6])
    np.testing.assert_allclose(made.search_threshold(0.1**1.5, 10).threshold, 0.45)
    assert made.search_threshold(0.5, 100).threshold == 0.5, "no lower than that of the largest rate measured"
    with pytest.raises(CalibrationError, match=r"does not support an FPIR of 0.1 %: the smallest .* is 1 %"):
        made.search_threshold(0.001, 10)


def test_files_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, calibration())
    assert read_calibration(path) == calibration()
    with pytest.raises(StorageError, match="exists"):
        write_calibration(path, calibration())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected the format"),
        ({"more": 1}, "unknown fields"),
        ({"contract_id": 7}, "contract_id: expected a text"),
        ({"histograms": {"edges": [-1, 1], "mated": [1, 2], "non_mated": [1]}}, "one count a bin"),
        ({"histograms": {"edges": [-1, 1], "mated": [1], "non_mated": [1]}}, "none of the edges"),
        ({"search": [{"gallery_people": 0, "fpir": 0.1, "threshold": 0.5, "fnir": 0, "fpir_interval": [0, 1],
                      "fnir_interval": [0, 1], "fpir_prediction": [0, 1]}]}, "at least one person"),
        ({"settings": {"same_fmr": 0, "different_fnmr": 0.1}}, "rates between 0 and 1"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(json.loads(calibration().to_json()) | change))
    with pytest.raises(CalibrationError, match=message):
        read_calibration(path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"format": 1e999}', b" " * (2**24 + 1)]
)
def test_bytes_that_are_no_calibration_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"c\.json"):
        read_calibration(path)
