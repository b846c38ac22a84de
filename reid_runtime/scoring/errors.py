"""The one error of the scorer."""

from reid_runtime.errors import ReidRuntimeError


class ScoringError(ReidRuntimeError):
    """Vectors, labels or scores from which no sound number can be computed."""
