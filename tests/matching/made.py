"""A calibration with round numbers, for tests."""

from dataclasses import replace

from reid_runtime.matching import (
    Calibration,
    Histograms,
    OperatingPoint,
    SearchPoint,
    Source,
    Stratum,
)

HISTOGRAMS = Histograms((-1.0, 0.0, 0.25, 0.5, 0.75, 1.0), (0, 200, 1800, 8000, 10000), (900000, 90000, 9000, 900, 100))
"""FMR 10 % from 0, 1 % from 0.25, 0.1 % from 0.5; FNMR 1 % at 0.25, 10 % at 0.5."""
POINTS = tuple(
    OperatingPoint(fmr, threshold, fnmr, (fmr / 2, fmr * 2), (fnmr / 2, 0.2), (fmr / 3, fmr * 3))
    for fmr, threshold, fnmr in ((0.1, 0.0, 0.0), (0.01, 0.25, 0.01), (0.001, 0.5, 0.1))
)


def calibration() -> Calibration:
    """One crop with one crop across cameras, and means of several, whose thresholds are higher."""
    higher = Histograms((-1.0, 0.25, 0.5, 0.75, 0.875, 1.0), HISTOGRAMS.mated, HISTOGRAMS.non_mated)
    points = tuple(
        replace(point, threshold=threshold) for point, threshold in zip(POINTS, (0.25, 0.5, 0.75), strict=True)
    )
    search = tuple(
        SearchPoint(people, fpir, threshold, fnir, (fpir / 2, fpir * 2), (0.0, 0.5), (fpir / 3, fpir * 3))
        for people, fpir, threshold, fnir in (
            (10, 0.1, 0.4, 0.1), (10, 0.01, 0.5, 0.2), (100, 0.1, 0.5, 0.2), (100, 0.01, 0.6, 0.4),
        )
    )  # fmt: skip
    source = Source("labels", "made", True, 100, 2, 20_000, 1_000_000, True, 2000)
    return Calibration(
        operating_points=POINTS,
        histograms=HISTOGRAMS,
        format="reid-runtime-calibration-1",
        contract_id="0123456789abcdef",
        artefact_id="sha256:00",
        precision="float32",
        source=source,
        refused=(),
        strata=(Stratum(points, higher, "across", "any", "nxn", 100, 20_000, 1_000_000),),
        search=search,
    )
