"""The gate's measures, on vectors whose differences are known."""

import numpy as np
import pytest

from reid_runtime.agreement import TOLERANCES, compare, computed_in, min_cosine
from reid_runtime.model_file.precision import KINDS, Precision


def unit(rows, dimension=6, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_equal_vectors_agree():
    actual = compare(unit(9), unit(9))
    assert (actual.rows, actual.largest_difference, actual.rank_agreement) == (9, 0.0, 1.0)
    assert actual.worst_cosine == pytest.approx(1, abs=1e-12)


def test_worst_row_decides():
    reference, candidate = unit(9), unit(9)
    candidate[4] = -candidate[4]
    actual = compare(reference, candidate)
    assert actual.worst_cosine == pytest.approx(-1)
    assert actual.largest_difference == pytest.approx(2 * float(np.abs(reference[4]).max()))


def test_cosine_does_not_see_length_but_the_difference_does():
    actual = compare(unit(3), unit(3) * np.float32(1.5))
    assert actual.worst_cosine == pytest.approx(1)
    assert actual.largest_difference == pytest.approx(0.5 * float(np.abs(unit(3)).max()), rel=1e-6)


def test_rank_agreement_counts_nearest_neighbours():
    angles = np.radians([0, 10, 90, 100])
    moved = np.radians([0, 10, 90, 15])
    reference, candidate = (np.stack([np.cos(a), np.sin(a)], axis=1).astype(np.float32) for a in (angles, moved))
    # Nearest rows: 1, 0, 3, 2 against 1, 3, 3, 1.
    assert compare(reference, candidate).rank_agreement == 0.5


def test_values_that_are_not_finite_pass_no_gate():
    for bad in (np.nan, np.inf):
        candidate = unit(5)
        candidate[2, 1] = bad
        actual = compare(unit(5), candidate)
        assert not actual.worst_cosine >= -1
        assert not actual.largest_difference <= 1e9


@pytest.mark.parametrize("candidate", [unit(4), unit(5, dimension=7), unit(5)[0]])
def test_shapes_must_be_equal(candidate):
    with pytest.raises(ValueError, match="one shape"):
        compare(unit(5), candidate)
    with pytest.raises(ValueError, match="one shape"):
        compare(unit(5)[:0], unit(5)[:0])


INT8 = {engine: Precision("int8", engine) for engine in (None, "cpu", "tensorrt")}


@pytest.mark.parametrize(
    ("precision", "device", "kind", "least"),
    [
        (Precision("float32"), "cpu", "float32", 0.99999),
        (Precision("float32"), "openvino", "float32", 0.99999),
        (Precision("float32"), "openvino-bf16", "bfloat16", 0.99),
        (Precision("float16"), "tensorrt", "float16", 0.9999),
        (INT8[None], "cpu", "int8", 0.9999),
        (INT8["cpu"], "cpu", "int8", 0.9999),
        (INT8["cpu"], "openvino", "int8", 0.99),
        (INT8["tensorrt"], "cpu", "int8", 0.99),
        (INT8["tensorrt"], "tensorrt", "int8", 0.99),
        (INT8["cpu"], "openvino-bf16", "bfloat16", 0.99),
    ],
)
def test_the_bound_follows_from_what_is_computed_in(precision, device, kind, least):
    assert computed_in(precision, device) == kind
    assert min_cosine(precision, device) == least


def test_every_kind_of_numbers_has_tolerances():
    assert TOLERANCES.keys() == set(KINDS)
