"""The soak: a leak and a step are seen, a spike is not; the real job, sound and leaking; what a failure leaves."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")
pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")

from benchmarks import soak
from benchmarks.measurements import read_report
from benchmarks.soak import Case, Curve, SoakError, StandIn
from reid_runtime.batching import WINDOW

try:
    soak.resident()
except SoakError as reason:
    pytest.skip(str(reason), allow_module_level=True)

MIB = 1 << 20
PICTURES = 100_000
DONE = tuple(range(0, PICTURES, 1000))


def curve(low, pictures=PICTURES):
    done = tuple(place * pictures // len(low) for place in range(len(low)))
    return Curve(Case("planted", pictures), done, tuple(map(int, low)), tuple(int(value) + MIB for value in low), 2.0)


def test_slope_is_that_of_a_leak_whatever_the_warm_up_did():
    noise = np.random.default_rng(0).integers(-MIB, MIB, len(DONE))
    low = [100 * MIB + 500 * done + (900 * MIB if done < 20_000 else 0) for done in DONE]
    leaking = curve(low + noise)
    assert leaking.slope == pytest.approx(500, abs=10)
    assert leaking.grows


def test_a_spike_is_no_growth_and_a_step_is():
    flat = 200 * MIB + np.random.default_rng(0).integers(-MIB, MIB, len(DONE))
    spike, step = flat.copy(), flat.copy()
    spike[95:] += 900 * MIB
    step[50:] += 900 * MIB
    assert [curve(low).grows for low in (flat, spike, step)] == [False, False, True]


def test_growth_of_a_short_case_that_is_no_more_than_noise():
    """1,000 bytes a picture are 7.6 MiB over 8,000 pictures, and 95 over 100,000."""
    assert [curve(np.linspace(0, 1000 * count, 100), count).grows for count in (8_000, 100_000)] == [False, True]


def test_too_few_pictures_tell_nothing():
    with pytest.raises(SoakError, match="too few to see a slope"):
        _ = curve([MIB, MIB], 2).slope


def test_the_real_job_is_flat_and_one_that_leaks_is_not(tmp_path, monkeypatch):
    def soaked(name, pictures, **hard):
        case = Case(name, pictures, **hard)
        (tmp_path / name).mkdir()
        soak.write_pictures(tmp_path / name, case)
        assert len(list((tmp_path / name).iterdir())) == pictures
        return soak.soak(case, tmp_path / name)

    soaked("warm", 4 * WINDOW)  # longer than it takes until all that is held is full
    assert not soaked("sound", 6 * WINDOW, pause=0.01).grows
    run, kept = StandIn.run, []

    def leaking(self, images):
        kept.append(np.ones((len(images), 100_000), np.uint8))
        return run(self, images)

    monkeypatch.setattr(StandIn, "run", leaking)
    found = soaked("leaking", 2 * WINDOW)
    assert found.grows
    assert found.slope > 10_000  # of the 100,000 bytes a picture, what is not covered by memory that was freed before


def test_a_huge_picture_is_one_of_them_and_in_the_middle(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "_HUGE", (800, 750))
    soak.write_pictures(tmp_path, Case("huge", 30, huge=True))
    sizes = {path.stem: soak.Image.open(path).size for path in tmp_path.iterdir()}
    assert len(sizes) == 30
    assert [name for name, size in sizes.items() if size == (800, 750)] == ["0000015"]


def test_each_case_has_a_process_of_its_own():
    found = soak.measure(Case("apart", 60))
    assert found.case.pictures == 60
    assert found.low


@pytest.mark.parametrize("grown", [0, 300 * MIB])
def test_what_was_found_is_written_also_when_it_fails(tmp_path, monkeypatch, grown):
    low = np.linspace(100 * MIB, 100 * MIB + grown, 100)
    monkeypatch.setattr(soak, "measure", lambda case: curve(low, case.pictures))
    run = CliRunner().invoke(soak.main, ["-o", str(tmp_path), "--pictures", "100000", "--model-pictures", "0"])
    assert isinstance(run.exception, SoakError) == bool(grown)
    assert run.stdout.count("grows") == (3 if grown else 0)
    rows = read_report(tmp_path / "soak.json").rows
    assert [row.items for row in rows] == [100_000, 25_000, 25_000]
    assert [row.facts["grows"] for row in rows] == [float(bool(grown))] * 3
    assert len(json.loads((tmp_path / "soak.json").read_text())["curves"][0]["low"]) == 100
    assert soak.Image.open(tmp_path / "soak.png").height > 400
