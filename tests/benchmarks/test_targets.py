"""What a report's rows say of the project's targets, and that a shortfall is said to be one."""

import pytest

from benchmarks.measurements import Part, Row
from benchmarks.targets import Target, targets
from benchmarks.throughput import DECODE, ENGINE, FOLDER, MANY_WIDTHS
from benchmarks.timing import Interval

from .conftest import row

EAGER = row(Part.PEERS, peer="torch eager", network="resnet50")


def times(value):
    return Interval(value, 0.99 * value, 1.01 * value)


def ours(value, precision, network="resnet50"):
    return row(Part.PEERS, precision=precision, network=network, speed=times(value))


def verdicts(*rows):
    return [(target.goal, round(target.measured.value, 3), target.verdict) for target in targets(rows)]


@pytest.mark.parametrize(
    ("precision", "value", "verdict"),
    [("float32", 2.1, "reached"), ("bfloat16", 3.9, "not reached"), ("int8", 7.05, "too close to tell")],
)
def test_speed_by_precision(precision, value, verdict):
    goal = {"float32": 2.0, "bfloat16": 4.0, "int8": 7.0}[precision]
    assert verdicts(EAGER, ours(value, precision)) == [(goal, value, verdict)]


def test_no_speed_of_other_networks_references_peers_or_gpus():
    assert not verdicts(EAGER, ours(9.0, "float32", network="mobilenetv2"), ours(9.0, ""))
    assert not verdicts(ours(9.0, "float32"))
    assert not verdicts(EAGER, row(Part.PEERS, peer="onnxruntime", network="resnet50", speed=times(9.0)))


def test_share_is_of_the_peak_in_the_same_precision():
    limits = [Row(Part.ROOFLINE, "", peak, (1.0, 2.0), precision=p) for p, peak in (("float32", 100), ("int8", 400))]
    eight = [
        row(Part.EIGHT, network="resnet50", operations=operations, precision=precision)
        for operations, precision in ((170.0, "float32"), (560.0, "int8"))
    ]
    assert verdicts(*limits, *eight) == [(0.8, 0.85, "reached"), (0.75, 0.7, "not reached")]


def test_folder_is_held_to_what_decoding_leaves():
    seconds = {FOLDER: 1.3, ENGINE: 1.0, DECODE: 0.5}
    rows = [row(Part.OFFLINE, [value] * 12, name=name, setting={"threads": 2}) for name, value in seconds.items()]
    (target,) = targets(rows)
    assert (target.measured.value, target.verdict) == (pytest.approx(1.25 / 1.3), "reached")


def test_sizes_and_the_default_models_cold_start():
    mixed = row(Part.MIXED, name=MANY_WIDTHS, speed=times(0.9))
    seconds = [0.7 + 0.01 * number for number in range(7)]
    starts = [row(Part.COLD, seconds, network="osnet-1.0", engine=engine) for engine in ("onnxruntime cpu", "openvino")]
    assert verdicts(mixed, *starts) == [(0.95, 0.9, "not reached"), (0.8, 0.73, "reached")]


def test_most_is_missed_above():
    for low, high, verdict in ((0.85, 0.95, "not reached"), (0.75, 0.85, "too close to tell"), (0.7, 0.8, "reached")):
        assert Target("", row(), 0.8, Interval(0.8, low, high), at_most=True).verdict == verdict
