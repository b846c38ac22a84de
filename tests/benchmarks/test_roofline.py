"""The machine's peaks: whose products, how many of which shape, in which precision, and what of them is shown."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import roofline
from benchmarks.measurements import Row
from benchmarks.roofline import BYTES, best, measure_limits, peak
from benchmarks.timing import FULL, QUICK

CONVOLVED = (512, 144, 16)
"""One picture of 32x16 with 16 channels."""


def limit(name, engine, items, *seconds):
    return Row(f"{name} by {engine}", {"limit": name}, seconds, items, {}, "limits")


def test_the_peak_is_the_best_sample_of_the_best_engine():
    rows = [limit("float32", "one", 100, 2.0, 1.0), limit("float32", "other", 100, 0.5, 9.0)]
    assert peak(rows, "float32") == 200
    assert peak(rows, "int8") is None


def test_a_limit_is_shown_with_the_shape_that_an_engine_is_best_at():
    rows = [limit("float32", f"{engine}, {shape}", items, 9.0, 1.0) for engine, shape, items in (
        ("one", "small", 100), ("one", "tall", 300), ("one", "large", 200), ("other", "small", 50),
    )]  # fmt: skip
    assert [row.case for row in best(rows)] == ["float32 by one, tall", "float32 by other, small"]


def test_every_engine_is_asked_for_products_of_every_shape(monkeypatch):
    asked = []
    one = {"one": lambda a, b, _: {"float32": lambda: asked.append((a.shape, b.shape))}}
    monkeypatch.setattr(roofline, "_ENGINES", one)
    monkeypatch.setattr(roofline, "SHAPES", ((4, 6, 8), (2, 3, 3), (5, 7, 7)))
    found = measure_limits(1, replace(FULL, rounds=2))
    assert set(asked) == {((4, 6), (6, 8)), ((2, 3), (3, 3)), ((5, 7), (7, 7))}
    rows = [row for row in found.rows if row.setting["limit"] == "float32"]
    # Two for a multiply-add, in sixteen products.
    assert [row.items for row in rows] == [2 * 16 * 4 * 6 * 8, 2 * 16 * 2 * 9, 2 * 16 * 5 * 49]
    assert [row.case for row in rows] == [f"float32 by one, {row.setting['shape']}" for row in rows]
    assert found.notes == [f"limit of {precision}: no engine here computes in it" for precision in ("bfloat16", "int8")]


def test_an_engine_that_is_not_there_is_noted_once_and_the_others_go_on(monkeypatch):
    def missing(a, b, threads):
        raise ImportError("no such engine")

    monkeypatch.setattr(roofline, "_ENGINES", {"none": missing, "numpy": roofline._numpy})
    monkeypatch.setattr(roofline, "SHAPES", ((4, 4, 4), (2, 3, 3)))
    found = measure_limits(1, QUICK)
    assert [note for note in found.notes if "by none" in note] == ["limit by none: no such engine"]
    assert peak(found.rows, "float32") > 0
    assert peak(found.rows, BYTES) > 0


@pytest.mark.parametrize("engine", ["numpy", "torch", "onnxruntime"])
def test_a_sample_is_sixteen_products(engine, monkeypatch):
    pytest.importorskip(engine)
    if engine == "onnxruntime":
        pytest.importorskip("onnx")
    repeated, counted = roofline._repeated, []
    monkeypatch.setattr(roofline, "_repeated", lambda call: repeated(lambda: counted.append(np.shape(call()))))
    for call in roofline._ENGINES[engine](*roofline._matrices(32, 16, 24), 1).values():
        call()
        assert len(counted) == 16
        assert counted[0][-2:] == (32, 24)
        counted.clear()


def test_openvinos_chain_is_of_sixteen_products():
    pytest.importorskip("openvino")
    a, b = roofline._matrices(32, 16, 16)
    (found,) = roofline._openvino(a, b, 1)["float32"]().values()
    expected = a
    for _ in range(16):
        expected = expected @ b
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_openvino_convolves_where_the_depth_is_that_of_a_filter():
    pytest.importorskip("openvino")
    rows, _, columns = CONVOLVED
    (found,) = roofline._openvino(*roofline._matrices(*CONVOLVED), 1)["float32"]().values()
    assert found.shape == (1, columns, 32, 16)
    assert found.size == rows * columns


@pytest.mark.parametrize("shape", [(32, 16, 16), CONVOLVED])
def test_openvinos_integers_count_only_where_it_says_that_it_computes_in_them(shape, monkeypatch):
    pytest.importorskip("openvino")
    told = roofline._told
    for said, expected in (("f32", False), ("u8", True)):
        monkeypatch.setattr(
            roofline, "_told", lambda node, what, said=said: said if what == "runtimePrecision" else told(node, what)
        )
        assert ("int8" in roofline._openvino(*roofline._matrices(*shape), 1)) is expected
