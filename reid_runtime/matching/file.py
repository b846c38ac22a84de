"""Files of calibrations: JSON, read within bounds and by its annotations, written complete or not at all."""

import json
from pathlib import Path

from reid_runtime.errors import StorageError
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.decode import DecodeError, decode, each_key_once
from reid_runtime.matching.calibration import FORMAT, Calibration, SearchPoint
from reid_runtime.matching.errors import CalibrationError
from reid_runtime.matching.rates import OperatingPoint, Rates

SUFFIX = ".calibration.json"
"""Of the calibration beside a model: its file's name without the suffix, and this."""
_LARGEST = 16 * 2**20
"""Bytes of a file that is read at all; ours have about two hundred thousand."""


def read_calibration(path: Path) -> Calibration:
    """Read a file of `write_calibration`.

    Args:
        path: The file.

    Returns:
        The calibration.

    Raises:
        CalibrationError: For anything else: absent, of another version, altered, or with numbers that are no rates.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise CalibrationError(f"{path} has more than {_LARGEST:,} bytes; expected a calibration")
    return parse_calibration(content, str(path))


def parse_calibration(content: bytes, name: str) -> Calibration:
    """The calibration in a file's bytes; raises CalibrationError, which calls them `name`."""
    try:
        values = json.loads(content, object_pairs_hook=each_key_once)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            stated = values.get("format") if isinstance(values, dict) else type(values).__name__
            raise CalibrationError(f"{name}: expected the format {FORMAT!r}, found {stated!r}")
        calibration: Calibration = decode(Calibration, values, f"{name}: calibration")
        for rates in (calibration, *calibration.strata):
            _check_rates(rates)
        for point in calibration.search:
            _check_point(point)
    except CalibrationError as error:
        raise CalibrationError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
    except (DecodeError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{name}: expected a calibration: {error}") from error
    return calibration


def write_calibration(path: Path, calibration: Calibration, force: bool = False) -> None:
    """Write a calibration, which appears under its name only when it is complete.

    Args:
        path: The file.
        calibration: What to write.
        force: Whether to overwrite a file that is there.

    Raises:
        StorageError: Where the file is there already, or cannot be written; then nothing has changed.
    """
    ensure_writable(path, force)
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(calibration.to_json(), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def beside(model: Path) -> Path:
    """Where the calibration of a model file lies, if it has one."""
    return model.with_name(model.stem + SUFFIX)


def calibration_beside(model: Path, contract_id: str) -> Calibration | None:
    """The calibration beside a model file of this contract id; None where there is no file of that name.

    Raises CalibrationError for a file that is damaged, or of another contract id.
    """
    path = beside(model)
    if not path.is_file():
        return None
    calibration = read_calibration(path)
    calibration.require_space(contract_id, str(model))
    return calibration


def _check_rates(rates: Rates) -> None:
    for point in rates.operating_points:
        _check_point(point)
        if point.threshold not in rates.histograms.edges:
            raise CalibrationError(f"the threshold {point.threshold} is none of the edges of its histograms")


def _check_point(point: OperatingPoint | SearchPoint) -> None:
    """Raises CalibrationError for what is no rate, no cosine or no size of a gallery."""
    if isinstance(point, OperatingPoint):
        rates = (point.fmr, point.fnmr, *point.fmr_interval, *point.fnmr_interval, *point.fmr_prediction)
    else:
        rates = (point.fpir, point.fnir, *point.fpir_interval, *point.fnir_interval, *point.fpir_prediction)
        if point.gallery_people < 1:
            raise CalibrationError(f"expected at least one person in a gallery, found {point.gallery_people}")
    if not all(0 <= rate <= 1 for rate in rates) or 0 in rates[:1] or not -1 <= point.threshold <= 1.01:
        raise CalibrationError(f"expected rates from 0 to 1 and a cosine as threshold, found {point}")
