"""The engines' own profiles, summed: what is counted is what runs, and its parts are no more than the whole."""

import pytest
from click.testing import CliRunner

pytest.importorskip("onnx")
pytest.importorskip("openvino")

from benchmarks import operators

PROFILED = ["cpu", "openvino", "openvino --one-size"]


@pytest.mark.parametrize("device", PROFILED)
def test_operators_are_counted_and_timed(device):
    run = CliRunner().invoke(operators.main, ["tiny", "--device", *device.split(), "--batch", "2", "--runs", "3"])
    assert run.exit_code == 0, run.output
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in run.output.splitlines() if "|" in line]
    rows = {(operator, kernel): (int(count), float(ms)) for operator, kernel, count, ms, _ in lines[2:]}
    convolutions = sum(count for (operator, _), (count, _) in rows.items() if "Conv" in operator and count > 1)
    assert convolutions == pytest.approx(162, abs=8), "the graph has 162"
    total = float(run.output.splitlines()[-1].split()[0])
    assert 0.3 * total < sum(ms for _, ms in rows.values()) < 3 * total, "timed apart, on a machine that may be busy"


def test_one_size_is_for_openvino():
    run = CliRunner().invoke(operators.main, ["tiny", "--one-size"])
    assert "expected --device openvino" in str(run.exception)
