"""The one error of matching."""

from reid_runtime.errors import ReidRuntimeError


class CalibrationError(ReidRuntimeError):
    """A calibration that cannot be read, does not fit the vectors, or supports no such error rate."""
