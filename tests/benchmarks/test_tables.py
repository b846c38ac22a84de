"""What the cells of a report's tables say: shares of a peak, rates, parity, and which series are stable."""

import pytest

from benchmarks.measurements import Parity, Part, Report, Row
from benchmarks.tables import page, tables
from benchmarks.timing import Interval

from .conftest import row

LIMITS = [
    Row(Part.ROOFLINE, "2×2", 50, (1.0, 2.0), engine="one", precision="float32"),
    Row(Part.ROOFLINE, "2×2", 80, (1.0, 2.0), engine="another", precision="float32"),
    Row(Part.ROOFLINE, "4×4", 100, (1.0, 2.0), engine="another", precision="float32"),
    Row(Part.ROOFLINE, "2×2", 200, (1.0,), engine="one", precision="bfloat16"),
    Row(Part.ROOFLINE, "2×2", 400, (1.0,), engine="one", precision="int8"),
    Row(Part.ROOFLINE, "memory", 5, (1.0,)),
]


def cells(rows, part, column):
    """The cells of a part's column."""
    (table,) = [each for each in tables(rows) if each.title.lower() == part.lower()]
    return [line[table.head.index(column)] for line in table.lines]


@pytest.mark.parametrize(
    ("made", "share"),
    [
        (row(Part.EIGHT, operations=80.0), "40.0 %"),
        (row(Part.OFFLINE, operations=80.0, precision="bfloat16"), "20.0 %"),
        (row(Part.PEERS, operations=80.0, precision="int8"), "10.0 %"),
        (row(Part.EIGHT, operations=80.0, precision=""), "–"),
        (row(Part.EIGHT), "–"),
    ],
)
def test_share_of_the_peak(made, share):
    assert cells([made, *LIMITS], made.part, "of the peak") == [share]


def test_limits_say_below_how_many_operations_a_byte_memory_is_the_bound():
    assert cells(LIMITS, Part.ROOFLINE, "operations a byte") == ["–", "40", "20", "10", "80"]
    assert cells(LIMITS, Part.ROOFLINE, "case") == ["memory", "2×2", "4×4", "2×2", "2×2"]


def test_percentile_that_no_sample_lies_beyond_is_left_out():
    seconds = [0.01 + 0.00001 * number for number in range(100)]
    for count, expected in ((100, ["10.49", "10.89", "10.98"]), (99, ["10.49", "10.89", "–"])):
        rows = [row(seconds=seconds[:count])]
        assert [cells(rows, Part.SINGLE_STREAM, f"p{share} ms")[0] for share in (50, 90, 99)] == expected
    assert "p99 ms" not in tables([row(seconds=seconds[:99])])[0].markdown()


def test_stage_is_what_it_takes_of_an_image_whatever_a_sample_works_on():
    rows = [
        row(Part.STAGES, (0.006,) * 6, name="decode", items=4), row(Part.STAGES, (0.256,) * 6, name="write", items=512),
        row(Part.STAGES, (1.0,) * 6, name="decode", items=1, model="other"),
    ]  # fmt: skip
    assert cells(rows, Part.STAGES, "share") == ["75.0 %", "25.0 %", "100.0 %"]
    assert cells(rows, Part.STAGES, "items/s") == ["666.7", "2,000.0", "1.0"]


@pytest.mark.parametrize(
    ("parity", "expected"),
    [
        (Parity(), ["–", "–", "–"]),
        (Parity(0.999871, map_finite_sum=0.7, map_trapezoid=0.69), ["0.999871", "70.0", "69.0"]),
        (Parity(1.0, is_reference=True, map_finite_sum=0.7), ["reference", "70.0", "–"]),
        (
            Parity(0.5, map_finite_sum=0.7, map_finite_sum_change=Interval(-0.002, -0.004, 0.001)),
            ["0.500000", "-0.20 (-0.40 to +0.10)", "–"],
        ),
        (Parity(map_trapezoid_change=Interval(-1e-6, -2e-6, 1e-6)), ["–", "–", "+0.00 (+0.00 to +0.00)"]),
    ],
)
def test_parity(parity, expected):
    rows = [row(parity=parity)]
    columns = ("cosine", "mAP finite-sum", "mAP trapezoid")
    assert [cells(rows, Part.SINGLE_STREAM, column)[0] for column in columns] == expected


def test_page_has_parity_beside_every_speed_and_peers_that_win():
    parity = Parity(0.999871, map_finite_sum_change=Interval(-0.002, -0.004, 0.001))
    parts = [part for part in Part if part not in (Part.ROOFLINE, Part.SCALING, Part.PEERS)]
    rows = [row(part, name="a|b", parity=parity) for part in parts]
    rows += [row(Part.SCALING, name="batch", items=n, parity=parity) for n in (1, 4)]
    rows += [
        row(Part.PEERS, parity=parity, speed=Interval(0.8, 0.7, 0.9)),
        row(Part.PEERS, (1.0,) * 6, peer="torch eager", model="", speed=Interval(1, 1, 1)),
    ]
    about = {"time": "2026-01-02T03:04:05", "gpus": [], "packages": {"numpy": "2"}, "git": None, "threads": 2}
    text = page("Benchmarks", Report("report", about, tuple(rows), ("peer x: it is\nabsent",)))
    assert text.startswith("# Benchmarks, 2026-01-02\n\n- time: 2026-01-02T03:04:05\n- packages: numpy 2\n- threads: 2")
    assert text.count("0.999871") == text.count("-0.20 (-0.40 to +0.10)") == len(parts) + 2
    assert text.endswith("## Not measured\n\n- peer x: it is absent\n")
    assert "a\\|b" in text
    peers = text[text.index("## What people use") :]
    assert peers.index("torch eager") < peers.index("reid-runtime")
    assert "0.80 (0.70 to 0.90)" in peers
    assert "| 1 " in peers
