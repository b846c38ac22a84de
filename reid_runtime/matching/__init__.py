"""What a similarity means: calibrations, verdicts with error rates, thresholds of searches. numpy only.

- `read_calibration`, `write_calibration`: files of `Calibration`, which `reid-runtime calibrate` makes.
- `Calibration.threshold`, `.verdict`, `.fmr`, `.fnmr`: one to one. `Calibration.search_threshold`: in a gallery.
"""

from reid_runtime.matching.calibration import (
    Calibration,
    SearchPoint,
    SearchThreshold,
    Source,
    Stratum,
    Verdict,
    VerdictSettings,
)
from reid_runtime.matching.errors import CalibrationError
from reid_runtime.matching.file import beside, calibration_beside, read_calibration, write_calibration
from reid_runtime.matching.rates import Histograms, OperatingPoint, Rates, RefusedRate

__all__ = [
    "Calibration",
    "CalibrationError",
    "Histograms",
    "OperatingPoint",
    "Rates",
    "RefusedRate",
    "SearchPoint",
    "SearchThreshold",
    "Source",
    "Stratum",
    "Verdict",
    "VerdictSettings",
    "beside",
    "calibration_beside",
    "read_calibration",
    "write_calibration",
]
