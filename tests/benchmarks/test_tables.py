"""What the cells of a report's tables say: shares of a peak, rates, precisions, and which series are steady."""

import pytest

from benchmarks.latency import MULTI, SERVER, SINGLE
from benchmarks.measurements import Report, Row
from benchmarks.peers.measuring import OURS
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.roofline import BYTES
from benchmarks.roofline import PART as LIMITS
from benchmarks.scaling import PART as GROWTH
from benchmarks.stages import PART as STAGES
from benchmarks.tables import readable, tables
from benchmarks.throughput import EIGHT, ENGINE, MIXED, OFFLINE, SAME

LIMIT_ROWS = [
    Row("float32 by one", {"limit": "float32"}, (1.0, 2.0), 50, {}, LIMITS),
    Row("float32 by another, 2×2", {"limit": "float32"}, (1.0, 2.0), 80, {}, LIMITS),
    Row("float32 by another, 4×4", {"limit": "float32"}, (1.0, 2.0), 100, {}, LIMITS),
    Row("bfloat16 by one", {"limit": "bfloat16"}, (1.0,), 200, {}, LIMITS),
    Row("int8 by one", {"limit": "int8"}, (1.0,), 400, {}, LIMITS),
    Row(BYTES, {"limit": BYTES}, (1.0,), 5, {}, LIMITS),
]
STEADY = (2.0,) * 6


def cells(rows, part, column):
    """The cells of a part's column, by the artefact or case of their line."""
    (table,) = [each for each in tables(Report("report", {}, tuple(rows))) if each.part == part]
    return [line[table.head.index(column)] for line in table.lines]


def engine(part, case, device, **facts):
    return Row(
        case, {"model": "m", "device": device, "against": ENGINE}, STEADY, 4, {"operations": 80.0, **facts}, part
    )


@pytest.mark.parametrize(
    ("row", "share"),
    [
        (Row("m, onnxruntime cpu", {}, STEADY, 8, {"operations": 80.0}, EIGHT), "40.0 % of float32"),
        (engine(OFFLINE, ENGINE, "openvino cpu, bfloat16"), "20.0 % of bfloat16"),
        (engine(MIXED, SAME, "openvino cpu, float32", integers=1.0), "10.0 % of int8"),
        (Row("m", {"against": "m"}, STEADY, 8, {"operations": 80.0, "integers": 1.0}, PEERS), "10.0 % of int8"),
    ],
)
def test_a_share_is_of_the_best_engines_peak_in_the_precision_that_the_whole_name_says(row, share):
    assert cells([row, *LIMIT_ROWS], row.part, "of the peak") == [share]


@pytest.mark.parametrize(("part", "setting"), [(SINGLE, {}), (MULTI, {"boxes": 8})])
def test_where_a_sample_is_one_query_the_share_is_of_the_median_turn(part, setting):
    # Turns of 1, 4 and 5 seconds, and what would make the median 3 if it were a whole one.
    seconds = (0.5, 0.5, 3.0, 1.0, 2.0, 3.0, 3.0)
    row = Row("m, onnxruntime cpu", {"turn": 2, **setting}, seconds, 1, {"operations": 80.0}, part)
    assert cells([row, *LIMIT_ROWS], part, "of the peak") == ["20.0 % of float32"]


def test_without_operations_or_on_a_gpu_there_is_no_share():
    gpu = Row("m, onnxruntime cuda", {}, STEADY, 8, {"operations": 80.0}, EIGHT)
    rows = [Row("m, onnxruntime cpu", {}, STEADY, 8, {"operations": 80.0}, EIGHT), gpu]
    rows.append(Row("n, onnxruntime cpu", {}, STEADY, 8, {}, EIGHT))
    assert cells([*rows, *LIMIT_ROWS], EIGHT, "of the peak") == ["40.0 % of float32", "–", "–"]


def test_limits_say_below_how_many_operations_a_byte_memory_is_the_bound():
    assert cells(LIMIT_ROWS, LIMITS, "operations a byte") == ["10", "20", "40", "80", "–"]
    assert cells(LIMIT_ROWS, LIMITS, "limit")[1] == "float32 by another, 4×4"


def test_a_rate_is_that_of_the_whole_stream_where_the_row_has_one():
    rows = [Row("m", {}, STEADY, 1, facts, SINGLE) for facts in ({"rate": 0.4}, {})]
    assert cells(rows, SINGLE, "images/s") == ["0.4", "0.5"]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"rate": 50.0}, "at least 50.0"), ({"rate": 50.0, "rate_failed": 52.0}, "50.0 to 52.0"),
        ({"rate": 0.0, "rate_failed": 3.0}, "none, 3.0 failed"),
    ],
)  # fmt: skip
def test_a_servers_rate_lies_between_one_that_held_and_one_that_did_not(facts, said):
    row = Row("m", {"bound_ms": 100.0}, STEADY, 1, {"seeds": 3.0, **facts}, SERVER)
    assert cells([row], SERVER, "highest rate/s") == [said]
    (table,) = tables(Report("report", {}, (row,)))
    assert "at each rate in 3 streams" in table.says


def test_an_int8_file_is_not_said_to_run_in_the_precision_of_the_rest():
    int8, plain = "m-int8, openvino cpu, float32", "m, openvino cpu, float32"
    setting = {"model": "m-int8", "device": "openvino cpu, float32"}
    rows = [
        Row(int8, {}, STEADY, 1, {"integers": 1.0}, SINGLE), Row(plain, {}, STEADY, 1, {"integers": 0.0}, SINGLE),
        Row("decode", setting, STEADY, 4, {}, STAGES), Row("decode", setting | {"model": "m"}, STEADY, 4, {}, STAGES),
        Row("1", {"axis": "batch", "model": int8}, STEADY, 1, {}, GROWTH),
        Row(f"{OURS}{int8}", {"against": int8}, STEADY, 1, {"integers": 1.0}, PEERS),
    ]  # fmt: skip
    told = [(row.case, *row.setting.values()) for row in readable(rows)]
    whole = "m-int8, openvino cpu, int8, the rest in float32"
    assert told == [
        (whole,), (plain,), ("decode", "m-int8", "openvino cpu, int8, the rest in float32"),
        ("decode", "m", "openvino cpu, float32"), ("1", "batch", whole), (f"{OURS}{whole}", whole),
    ]  # fmt: skip


def test_a_stage_is_what_it_takes_of_an_image_whatever_a_sample_of_it_works_on():
    setting = {"model": "m", "device": "cpu"}
    rows = [Row("decode", setting, (0.006,) * 6, 4, {}, STAGES), Row("write", setting, (0.256,) * 6, 512, {}, STAGES)]
    assert cells(rows, STAGES, "ms an image") == ["1.500", "0.500"]
    assert cells(rows, STAGES, "share, %") == ["75.0", "25.0"]
    (table,) = tables(Report("report", {}, tuple(rows)))
    assert table.says.endswith("writing that of a file of 512 rows.")


def test_growth_says_the_engines_part_and_how_many_series_were_steady():
    wild = (1.0, 1.0, 5.0, 5.0, 9.0, 9.0)
    rows = [
        Row(str(n), {"axis": axis, "model": "m"}, seconds, n, {"engine_share": share}, GROWTH)
        for axis, several in (("batch", (STEADY,) * 3), ("gallery", (STEADY, STEADY, wild)))
        for n, share, seconds in zip((1, 40, 2000), (0.6, 0.7, 0.9), several, strict=True)
    ]
    assert cells(rows, GROWTH, "the engine's part") == ["60 % at 1, 90 % at 2,000"] * 2
    assert cells(rows, GROWTH, "series") == ["steady", "2 of 3 steady"]


def test_a_change_that_rounds_to_nothing_has_one_sign():
    facts = {f"map_finite_sum_change{end}": value for end, value in (("", -1e-6), ("_low", -2e-6), ("_high", 1e-6))}
    assert cells([Row("m", {}, STEADY, 1, facts, SINGLE)], SINGLE, "mAP finite-sum") == ["+0.00 (+0.00 to +0.00)"]
