"""How two sets of vectors for the same inputs are compared: the measures of every gate."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


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
