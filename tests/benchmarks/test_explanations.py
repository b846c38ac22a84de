"""What the benchmark of explanations covers, draws and compares, on images whose answer is known."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("matplotlib")

from benchmarks.explanations import covered, largest, main, mated_pairs, rank_correlation, ways_to_cover
from reid_runtime.evaluation.eval_set import eval_set_of
from reid_runtime.scoring.layouts import read_market

from ..explained import write_explained
from ..miniature import write_market


def test_the_largest_places_are_covered_with_the_mean_and_nothing_else():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 21, 3), dtype=np.uint8)
    total = np.zeros((4, 2))
    total[3, 1] = 1
    places = largest(total, 0.125)
    assert places.sum() == places[3, 1] == 1
    hidden = covered(pixels, places)
    changed = (hidden != pixels).any(axis=2)
    assert not changed[:30].any()
    assert not changed[:, :10].any()
    assert np.ptp(hidden[30:, 11:].reshape(-1, 3), axis=0).max() == 0


def test_random_ways_cover_as_much_and_keep_the_values():
    total = np.random.default_rng(0).normal(size=(8, 4))
    for name, values in ways_to_cover(total, total[:4], np.random.default_rng(1)):
        assert largest(values, 0.25).sum() == 8
        if name in ("random", "shifted"):
            np.testing.assert_allclose(np.sort(values, axis=None), np.sort(total, axis=None))
    assert rank_correlation(total, np.exp(total)) == pytest.approx(1)
    assert rank_correlation(total, -total) == pytest.approx(-1)


def test_pairs_are_of_one_person_under_two_cameras_and_one_a_person(tmp_path):
    write_market(tmp_path / "set", identities=8)
    pairs = mated_pairs(eval_set_of(read_market(tmp_path / "set")), 10)
    people = [[path.name[:4] for path in pair] for pair in pairs]
    assert sorted(people) == [[f"{number:04}"] * 2 for number in range(6, 10)]
    assert all(a.name[5:7] != b.name[5:7] for a, b in pairs)


def test_the_command_writes_figures_with_intervals(tmp_path):
    write_market(tmp_path / "set", identities=6)
    model = write_explained(tmp_path / "model.onnx", "average")
    arguments = [str(model), "--data", str(tmp_path / "set"), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "out" / "explain.json").read_text())
    assert (facts["pairs"], facts["person"]) == (3, None)
    most = facts["deletion"]["left"]["most contributing"]["0.1"]
    assert facts["sanity"]["last layer randomised"]["value"] < 1
    assert most["low"] <= most["value"] <= most["high"] <= 1
    assert (tmp_path / "out" / "deletion.png").stat().st_size > 1000
    assert "| most contributing |" in (tmp_path / "out" / "explain.md").read_text()
