"""Vectors that a score may be computed from: finite, and of unit length."""

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.vectors import STORED_TOLERANCE, Vectors


def unit_vectors(vectors: npt.NDArray[np.floating], count: int, name: str) -> Vectors:
    """The (count, D) vectors as float32; raises ScoringError unless each is finite and of unit length."""
    if vectors.ndim != 2 or vectors.shape[0] != count or vectors.shape[1] == 0:
        raise ScoringError(f"{name} vectors have the shape {vectors.shape}; expected ({count}, D), one row a label")
    rows, lengths = _finite(vectors, name)
    wrong = np.flatnonzero(np.abs(lengths - 1) > STORED_TOLERANCE)
    if wrong.size:
        raise ScoringError(
            f"{wrong.size} of {count} {name} vectors are not of unit length, the first is row {wrong[0]} with "
            f"length {lengths[wrong[0]]:.4g}; normalise them, and leave out rows without an image"
        )
    return rows


def normalise(vectors: npt.NDArray[np.floating], name: str) -> Vectors:
    """The (N, D) vectors divided by their lengths, float32; raises ScoringError for NaN, infinity or a zero row."""
    rows, lengths = _finite(vectors, name)
    zero = np.flatnonzero(lengths == 0)
    if zero.size:
        raise ScoringError(f"{zero.size} of {len(rows)} {name} vectors are zero, the first is row {zero[0]}")
    scaled: Vectors = rows / lengths[:, None]
    return scaled


def _finite(vectors: npt.NDArray[np.floating], name: str) -> tuple[Vectors, npt.NDArray[np.float32]]:
    """The rows as float32 and their (N,) lengths, all finite."""
    if not np.issubdtype(vectors.dtype, np.floating):
        raise ScoringError(f"{name} vectors are {vectors.dtype}; expected float32")
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    # A NaN or an infinity anywhere in a row shows in its length: no (N, D) mask is needed.
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    wrong = np.flatnonzero(~np.isfinite(lengths))
    if wrong.size:
        raise ScoringError(
            f"{wrong.size} of {len(rows)} {name} vectors hold NaN or infinity, the first is row {wrong[0]}; "
            "embed these again"
        )
    return rows, lengths
