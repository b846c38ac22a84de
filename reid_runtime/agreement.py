"""How two sets of vectors for the same inputs are compared, and the one table of what each precision must keep to."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.model_file.precision import Kind, Precision
from reid_runtime.vectors import Vectors

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agreement:
    """What separates candidate vectors from reference vectors, row by row."""

    rows: int
    worst_cosine: float
    """The smallest cosine between a row and its reference; NaN where any value is not finite."""
    largest_difference: float
    """The largest absolute difference of one component."""
    rank_agreement: float
    """Share of rows whose nearest other row is the same in both sets; 1 for fewer than three rows."""


@dataclass(frozen=True)
class Bounds:
    """What every single vector must keep to."""

    min_cosine: float
    """The least to its reference."""
    max_difference: float
    """The largest of one component."""

    def hold(self, seen: Agreement) -> bool:
        """Whether the agreement is within; NaN is not."""
        return seen.worst_cosine >= self.min_cosine and seen.largest_difference <= self.max_difference


@dataclass(frozen=True)
class Tolerances:
    """How far vectors of one precision may lie from others of the same model, by what they are compared with."""

    selftest: float
    """Least cosine to the file's self-test record, on the engine that the record was made on."""
    selftest_elsewhere: float
    """The same on any other engine."""
    engine: Bounds
    """A TensorRT engine beside ONNX Runtime on the same file: other kernels sum in another order, and values fall on
    the other side of a rounding."""
    crops: Bounds
    """An export beside its reference, torch or the float32 file: every single crop."""
    probes: Bounds
    """The same at every size and batch size, whatever a model is meant for."""
    rank_agreement: float
    """The least share of crops whose nearest other crop stays the same."""
    map_change: float
    """The least change in mAP, a fraction, by either definition."""
    coarse: bool = False
    """Whether it rounds so coarsely that coloured noise says nothing, and the probes are made of crops."""


LOW_PRECISION_MIN_COSINE = 0.99
"""The least cosine where values are rounded to 8 bits in other places than in the reference.

That is an INT8 model on any other engine than the record's, since each decides by itself what it runs in integers, and
every model in bfloat16. A MobileNetV2 quantised by minimum and maximum has 0.992 between ONNX Runtime and OpenVINO.
"""
_LOW = LOW_PRECISION_MIN_COSINE
_EIGHT_BITS = Bounds(_LOW, 0.15)
# Squeezed to 33x33 or 1x96 pixels crops are no longer what INT8 ranges are made for: a sound model was at 0.97 there,
# while rows that were mixed up or an axis that was frozen fall to the 0.8 and less that two people have.
_EIGHT_BITS_ANY_SIZE = Bounds(0.93, 0.3)
_FLOAT32, _FLOAT16 = Bounds(0.99999, 2e-5), Bounds(0.9999, 0.01)

TOLERANCES: Mapping[Kind, Tolerances] = {
    "float32": Tolerances(0.99999, 0.99999, Bounds(0.9999, 1e-3), _FLOAT32, _FLOAT32, 0.95, -0.0005),
    "float16": Tolerances(0.9999, 0.9999, _FLOAT16, _FLOAT16, _FLOAT16, 0.9, -0.001),
    "bfloat16": Tolerances(_LOW, _LOW, _EIGHT_BITS, _EIGHT_BITS, _EIGHT_BITS_ANY_SIZE, 0.8, -0.005, coarse=True),
    "int8": Tolerances(0.9999, _LOW, _EIGHT_BITS, _EIGHT_BITS, _EIGHT_BITS_ANY_SIZE, 0.8, -0.005, coarse=True),
}
"""What exports, `verify`, the self-test of a TensorRT engine and the benchmarks ask of each precision."""

_RECORDED_ON = "cpu"
"""The device on which self-test records are made: ONNX Runtime's CPU."""


def computed_in(precision: Precision, device: str) -> Kind:
    """The kind of numbers that a device computes a file of this precision in."""
    return "bfloat16" if device == "openvino-bf16" else precision.kind


def min_cosine(precision: Precision, device: str) -> float:
    """The least cosine between a vector that a file gives on a device and the one in its self-test record."""
    tolerances = TOLERANCES[computed_in(precision, device)]
    # Of 7-bit weights every CPU makes the same products under the engine that recorded them; of the 8-bit ones that
    # TensorRT wants, a CPU without VNNI makes others.
    recorded = device == _RECORDED_ON and precision.engine != "tensorrt"
    return tolerances.selftest if recorded else tolerances.selftest_elsewhere


def compare(reference: Vectors, candidate: Vectors) -> Agreement:
    """Compare two (N, D) arrays of unit vectors, N >= 1; raises ValueError for other or unequal shapes."""
    if reference.shape != candidate.shape or reference.ndim != 2 or len(reference) == 0:
        raise ValueError(f"expected two arrays of one shape (N, D), found {reference.shape} and {candidate.shape}")
    first, second = reference.astype(np.float64), candidate.astype(np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (first * second).sum(axis=1) / norms
    return Agreement(
        rows=len(reference),
        worst_cosine=float(cosines.min()),
        largest_difference=float(np.abs(first - second).max()),
        rank_agreement=float((_nearest(first) == _nearest(second)).mean()) if len(reference) > 2 else 1.0,
    )


def _nearest(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    nearest: npt.NDArray[np.int64] = similarities.argmax(axis=1)
    return nearest


def log_drift(backend: str, exact: Vectors, other: Vectors) -> Agreement:
    """What separates the vectors of a backend that rounds from exact ones of the same crops; logged as a warning."""
    drift = compare(exact, other)
    _LOG.warning(
        "%s: its vectors are not float32's: on %d crops the least cosine between the two is %.4f, the largest "
        "difference of a component %.3f",
        *(backend, drift.rows, drift.worst_cosine, drift.largest_difference),
    )
    return drift
