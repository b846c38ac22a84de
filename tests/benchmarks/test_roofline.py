"""The machine's peaks: whose products, how many of which shape, in which precision."""

import dataclasses

import numpy as np
import pytest

from benchmarks import roofline
from benchmarks.measurements import Part, Row
from benchmarks.roofline import measure_roofline
from benchmarks.tables import best, peak, share_of_peak
from benchmarks.timing import FULL, QUICK

from .conftest import row

CONVOLVED = (512, 144, 16)
"""One image of 32x16 with 16 channels."""


def limit(precision, engine, items, *seconds, name=""):
    return Row(Part.ROOFLINE, name, items, seconds, engine=engine, precision=precision)


def test_peak_is_the_best_sample_of_the_best_engine():
    rows = [limit("float32", "one", 100, 2.0, 1.0), limit("float32", "other", 100, 0.5, 9.0)]
    assert peak(rows, "float32") == 200
    assert peak(rows, "int8") is None


def test_limit_is_shown_with_its_best_shape():
    rows = [
        limit("float32", engine, items, 9.0, 1.0, name=shape)
        for engine, shape, items in (
            ("one", "small", 100), ("one", "tall", 300), ("one", "large", 200), ("other", "small", 50),
        )
    ]  # fmt: skip
    assert [(each.engine, each.name) for each in best(rows)] == [("one", "tall"), ("other", "small")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"operations": 100.0}, 0.5),
        ({"operations": 100.0, "precision": "bfloat16"}, None),
        ({"operations": 100.0, "precision": "int8"}, 0.125),
        ({"operations": 100.0, "precision": ""}, None),
        ({}, None),
        ({"operations": 100.0, "turn": 2}, 0.25),
    ],
)
def test_share_is_of_the_peak_in_the_rows_precision(fields, expected):
    rows = [limit("float32", "one", 100, 1.0), limit("int8", "one", 400, 1.0), limit("", "", 7, 1.0)]
    assert share_of_peak(row(Part.EIGHT, (2.0,) * 4, **fields), rows) == expected


def test_every_engine_is_asked_for_products_of_every_shape(monkeypatch):
    asked = []
    one = {"one": lambda a, b, _: {"float32": lambda: asked.append((a.shape, b.shape))}}
    monkeypatch.setattr(roofline, "_ENGINES", one)
    monkeypatch.setattr(roofline, "SHAPES", ((4, 6, 8), (2, 3, 3), (5, 7, 7)))
    monkeypatch.setattr(roofline, "_MOVED", 1 << 12)
    measured = measure_roofline(1, dataclasses.replace(FULL, rounds=2))
    assert set(asked) == {((4, 6), (6, 8)), ((2, 3), (3, 3)), ((5, 7), (7, 7))}
    *products, memory = measured.rows
    # Two for a multiply-add, in sixteen products.
    assert {each.name: each.items for each in products} == {
        "4×6×8": 2 * 16 * 4 * 6 * 8, "2×3×3": 2 * 16 * 2 * 9, "5×7×7": 2 * 16 * 5 * 49,
    }  # fmt: skip
    assert {(each.engine, each.precision) for each in products} == {("one", "float32")}
    assert (memory.name, memory.items, memory.precision) == (roofline.MEMORY, 2 << 12, "")
    assert measured.notes == [f"limit of {kind}: no engine here computes in it" for kind in ("bfloat16", "int8")]


def test_engine_that_is_not_there_is_noted_once(monkeypatch):
    def missing(a, b, threads):
        raise ImportError("no such engine")

    numpy = {"float32": lambda a, b: a @ b}
    monkeypatch.setattr(
        roofline, "_ENGINES", {"none": missing, "numpy": lambda a, b, _: {"float32": lambda: numpy["float32"](a, b)}}
    )
    monkeypatch.setattr(roofline, "SHAPES", ((4, 4, 4), (2, 3, 3)))
    measured = measure_roofline(1, QUICK)
    assert [note for note in measured.notes if "by none" in note] == ["limit by none: no such engine"]
    assert peak(measured.rows, "float32") > 0
    assert peak(measured.rows, "") > 0


def test_onnxruntimes_sample_is_sixteen_products(monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    shapes = []
    repeat = roofline._repeat
    monkeypatch.setattr(roofline, "_repeat", lambda call: repeat(lambda: shapes.append(np.shape(call()))))
    calls = roofline._onnxruntime(*roofline._matrices(32, 16, 24), 1)
    assert set(calls) == {"float32", "int8"}
    for call in calls.values():
        call()
    assert shapes == [(1, 32, 24)] * 32


def test_openvinos_chain_is_of_sixteen_products():
    pytest.importorskip("openvino")
    a, b = roofline._matrices(32, 16, 16)
    (result,) = roofline._openvino(a, b, 1)["float32"]().values()
    expected = a
    for _ in range(16):
        expected = expected @ b
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)


def test_openvino_convolves_where_the_depth_is_a_filters():
    pytest.importorskip("openvino")
    rows, _, columns = CONVOLVED
    (result,) = roofline._openvino(*roofline._matrices(*CONVOLVED), 1)["float32"]().values()
    assert result.shape == (1, columns, 32, 16)
    assert result.size == rows * columns


@pytest.mark.parametrize("shape", [(32, 16, 16), CONVOLVED])
def test_openvinos_integers_count_only_where_it_computes_in_them(shape, monkeypatch):
    pytest.importorskip("openvino")
    info = roofline._runtime_info
    for kind, expected in (("f32", False), ("u8", True)):
        monkeypatch.setattr(roofline, "_runtime_info", lambda node, kind=kind: (info(node)[0], kind))
        assert ("int8" in roofline._openvino(*roofline._matrices(*shape), 1)) is expected
