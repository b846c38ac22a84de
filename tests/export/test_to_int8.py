"""The INT8 step as a user runs it: the file, its contract, its report, and the choice of layers."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from export.calibration import CalibrationError, collect_ranges, draw
from export.quantise import CPU, TENSORRT, GraphIndex, quantise, ranged_tensors
from export.sensitivity import choose
from reid_runtime.agreement import TOLERANCES

from .small import SMALL, loaded, replace_constant, small_model

LEAST = TOLERANCES["int8"].crops.min_cosine


@pytest.fixture(scope="module", params=["cpu", "tensorrt"])
def made(request, parent, training, tmp_path_factory):
    """(scheme's name, the file, the command's own words)."""
    import subprocess
    import sys
    from pathlib import Path

    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    arguments = ["--for", request.param, "--calibrate", training, "-o", path, "--seed", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "export.to_int8", parent, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return request.param, path, done.stdout


def test_contract_has_scheme_and_drift(made, parent):
    engine, path, said = made
    original, int8 = loaded(parent).contract, loaded(path).contract
    assert (int8.precision.kind, int8.precision.engine) == ("int8", engine)
    assert int8.precision.scheme.endswith("percentile 99 of 64 crops of train, seed 3")
    assert (int8.parent, int8.contract_id) == (loaded(parent).artefact_id, original.contract_id)
    assert 0.99 <= int8.drift["worst_cosine"] <= int8.drift["mean_cosine"] < 1
    assert f"worst cosine {int8.drift['worst_cosine']:.7f}" in said
    is_float = "projection" in said.rsplit("in float: ", 1)[1]
    last = ("projection.weight", "bias") if is_float else ("raw/weight", "raw/bias")
    assert (int8.inner, int8.last_layer) == ("f+", last)


def test_the_file_verifies(made, command):
    run = command("verify", made[1], "--device", "cpu")
    assert run.code == 0, run.out


def test_the_report_has_the_scan_and_what_was_drawn(made, training):
    engine, path, said = made
    report = json.loads(path.with_suffix(".sensitivity.json").read_text())
    layers = GraphIndex(small_model()).layers(CPU if engine == "cpu" else TENSORRT)
    assert [one["layer"] for one in report["alone"]] == [layer.name for layer in layers]
    sample = draw(training, 512, 3)
    assert report["calibration"]["names_digest"] == sample.digest
    assert tuple(report["calibration"]["names"]) == sample.names
    assert (report["calibration"]["crops"], report["calibration"]["held_back"]) == (56, 8)
    assert 0 < report["calibration"]["clipped"] <= 32
    assert report["together"][-1]["worst_cosine"] >= LEAST
    page = path.with_suffix(".sensitivity.md").read_text()
    for layer in layers:
        runs_in = "float32" if layer.name in report["float_layers"] else "int8"
        (row,) = [line for line in page.split("## Each")[1].splitlines() if line.startswith(f"| {layer.name} |")]
        assert row.endswith(f"| {runs_in} |")
    assert f"{len(layers) - len(report['float_layers'])} of {len(layers)} layers in integers" in said


def test_the_layers_that_are_called_float_are_float(made):
    _, path, _ = made
    floats = json.loads(path.with_suffix(".sensitivity.json").read_text())["float_layers"]
    graph = onnx.load(str(path)).graph
    plain = {tensor.name for tensor in graph.initializer}
    for name in ("first", "second", "deep", "wide"):
        assert (f"{name}.weight" in plain) == (name in floats)


def test_a_tensor_that_cannot_be_rounded_stays_float_on_both_sides(training):
    """Its channels have sizes from 1 to 1/300, and one scale."""
    model, sizes = small_model(), np.logspace(0, 2.5, 12)
    replace_constant(model, "deep.weight", lambda values: values / sizes.reshape(12, 1, 1, 1))
    replace_constant(model, "wide.weight", lambda values: values * sizes.reshape(1, 12, 1, 1))
    images, held = draw(training, 512, 0).resized(SMALL.resize)
    seen = collect_ranges(model, ranged_tensors(model, CPU), images)
    choice = choose(model, CPU, seen, 95, held, LEAST)
    assert {"deep", "wide"} <= set(choice.floats)
    assert choice.together[-1].worst_cosine >= LEAST > choice.together[0].worst_cosine
    assert {layer.name for layer in choice.layers}.isdisjoint(choice.floats)
    assert choice.layers


@pytest.mark.parametrize(
    ("images", "all_lose", "odd", "is_float"),
    [(8, 0.003, 3, (-1,)), (60, 0.03, 55, (0, -1))],
    ids=["and not for the mean", "also one that lost less than those that were watched first"],
)
def test_layers_go_to_float_for_the_worst_image(images, all_lose, odd, is_float, monkeypatch):
    """The first layer costs all images but one, which the last costs more than it may lose."""
    layers = GraphIndex(small_model()).layers(CPU)

    def vectors(graph, images):
        chosen = {layer.key for layer in getattr(graph, "chosen", ())}
        lost = [
            0.02 * (layers[-1].key in chosen) if image == odd else all_lose * (layers[0].key in chosen)
            for image in images
        ]
        cosines = 1 - np.array(lost)
        return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)

    monkeypatch.setattr("export.sensitivity.vectors_of", vectors)
    monkeypatch.setattr("export.sensitivity.quantise", lambda *given: SimpleNamespace(chosen=given[-1]))
    choice = choose(small_model(), CPU, None, 95, list(range(images)), 0.99)
    assert choice.floats == tuple(layers[row].name for row in is_float)


def test_where_nothing_can_be_rounded_it_says_so(training):
    model = small_model()
    images, held = draw(training, 40, 0).resized(SMALL.resize)
    seen = collect_ranges(model, ranged_tensors(model, CPU), images)
    with pytest.raises(CalibrationError, match=r"no layer can be quantised within a worst cosine of 0\.9999999"):
        choose(model, CPU, seen, 95, held, 0.9999999)


def test_the_same_draw_gives_the_same_graph(training):
    model = small_model()
    images, _ = draw(training, 40, 5).resized(SMALL.resize)
    layers = GraphIndex(model).layers(CPU)
    one, two = (
        quantise(model, CPU, collect_ranges(model, ranged_tensors(model, CPU), images), 95, layers) for _ in range(2)
    )
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)
