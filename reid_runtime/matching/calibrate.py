"""Measure a calibration on samples: all kinds of comparisons, and all sizes of galleries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from reid_runtime.io.text import counted
from reid_runtime.matching.calibration import ANY_HEIGHT, FORMAT, Calibration, Cameras, Crops, Source, Stratum
from reid_runtime.matching.comparisons import Comparisons
from reid_runtime.matching.errors import CalibrationError
from reid_runtime.matching.points import Measured, measure
from reid_runtime.matching.samples import MOST_CROPS_EACH, MOST_PEOPLE, Samples, Side, halves
from reid_runtime.matching.searching import maxima, search_points
from reid_runtime.scoring.vectors import unit_vectors

HEIGHTS = (0, 32, 64, 96, 128, 192, 2**31)
"""Pixels at which crops are told apart by height."""

BIASES_OF_LABELS = (
    "the comparisons of people with many crops count more than those of people with few",
    "labels that are wrong count as errors of the model",
)
BIASES_OF_TRACKS = (
    "both crops are of one camera: across two the same person is less similar, and more is missed than the FNMR tells",
    "two crops are no further apart in time than their track is long: after longer gaps more is missed",
    "only people who were in one frame are told apart: among all who ever come some are more alike, and the FMR higher",
    "a person who comes back is counted as another, and a track that changes its person as one: both are the tracker's",
)


@dataclass(frozen=True)
class Origin:
    """Where samples come from, for the record."""

    contract_id: str
    artefact_id: str
    precision: str
    dataset: str
    own_site: bool
    left_out: Mapping[str, int]


def calibrate(samples: Samples, origin: Origin) -> Calibration:
    """Measure what similarities mean.

    Args:
        samples: The crops, of at least two people.
        origin: Which model made the vectors, and what of.

    Returns:
        The calibration; rates that the samples do not support are in `refused`.

    Raises:
        CalibrationError: Where no two crops are of one person, or none of two.
        ScoringError: For vectors that are not of unit length.
    """
    unit_vectors(samples.vectors, len(samples.vectors), "calibration")
    bounded = samples.bounded()
    cameras = int(np.unique(bounded.cameras).size) if bounded.has_cameras else 0
    own = own_cameras(bounded)
    main = measure(own_comparisons(bounded))
    if not (main.mated and main.non_mated):
        kind = {"across": " under two cameras", "within": " under one camera", "any": ""}[own]
        raise CalibrationError(
            f"{counted(len(bounded.vectors), 'crop')} of {counted(bounded.count, 'person')} make {main.mated} mated "
            f"and {main.non_mated} non-mated comparisons{kind}; expected some of both: crops of the same people, and "
            "of others"
        )
    source = _source(samples, bounded, origin, main, cameras, own == "across")
    return Calibration(
        operating_points=main.points,
        histograms=main.histograms,
        format=FORMAT,
        contract_id=origin.contract_id,
        artefact_id=origin.artefact_id,
        precision=origin.precision,
        source=source,
        refused=main.refused,
        strata=(main.stratum(own, ANY_HEIGHT, "1x1"), *_strata(bounded, own)),
        search=search_points(maxima(bounded)),
    )


def own_cameras(samples: Samples) -> Cameras:
    """What a calibration's own comparisons are: across cameras where labels tell of several."""
    if not samples.has_cameras:
        return "any"
    return "across" if np.unique(samples.cameras).size > 1 and samples.together is None else "within"


def own_comparisons(samples: Samples) -> Comparisons:
    """One crop with one crop, of `own_cameras`: what a calibration's operating points rest on."""
    return _single(samples, own_cameras(samples))


def _source(samples: Samples, bounded: Samples, origin: Origin, main: Measured, cameras: int, across: bool) -> Source:
    kind: Literal["labels", "tracks"] = "labels" if samples.together is None else "tracks"
    biases = BIASES_OF_LABELS if kind == "labels" else BIASES_OF_TRACKS
    beyond = len(samples.vectors) - len(bounded.vectors)
    left_out = dict(origin.left_out)
    if beyond:
        left_out[f"beyond {MOST_PEOPLE} people, or {MOST_CROPS_EACH} crops of one under one camera"] = beyond
    return Source(
        kind, origin.dataset, origin.own_site, main.people, cameras, main.mated, main.non_mated, across,
        len(bounded.vectors), left_out, biases,
    )  # fmt: skip


def _strata(samples: Samples, own: Cameras) -> Iterator[Stratum]:
    """All further kinds of comparisons of which there are some."""
    kinds: list[Cameras] = ["across", "within"] if own == "across" else [own]
    for camera in kinds:
        if camera != own:
            yield from _if_any(_single(samples, camera), camera, ANY_HEIGHT, "1x1")
        yield from _if_any(_against_means(samples, camera), camera, ANY_HEIGHT, "1xn")
        yield from _if_any(_means(samples, camera), camera, ANY_HEIGHT, "nxn")
    present = [
        (least, stop)
        for least, stop in pairwise(HEIGHTS)
        if ((samples.heights >= max(least, 1)) & (samples.heights < stop)).any()
    ]
    for least, stop in present if len(present) > 1 else ():
        name = f"{least} and more" if stop == HEIGHTS[-1] else f"{least}-{stop - 1}"
        yield from _if_any(_single(samples, own, (max(least, 1), stop)), own, name, "1x1")


def _if_any(comparisons: Comparisons, camera: Cameras, height: str, crops: Crops) -> Iterator[Stratum]:
    if len(comparisons.first.people) and len(comparisons.second.people):
        measured = measure(comparisons)
        if measured.mated and measured.non_mated:
            yield measured.stratum(camera, height, crops)


def _single(samples: Samples, camera: Cameras, height: tuple[int, int] | None = None) -> Comparisons:
    """One crop with one crop, each pair once."""
    side = Side.of(samples, samples.cameras)
    groups = _groups(samples)
    if camera == "across":
        tiles = [(one, other, False) for one in groups for other in groups if one < other]
    else:
        tiles = [(group, group, True) for group in groups]
    return Comparisons(side, side, tiles, samples.count, samples.gap, samples.together, height)


def _against_means(samples: Samples, camera: Cameras) -> Comparisons:
    """One crop with the mean of several: of another camera, or of the other half of those under its own."""
    groups = _groups(samples)
    if camera == "across":
        side = Side.of(samples, samples.cameras)
        tiles = [(one, other, False) for one in groups for other in groups if one != other]
    else:
        side = _side_of_halves(samples)
        tiles = [(2 * group + half, 2 * group + 1 - half, False) for group in groups for half in (0, 1)]
    return Comparisons(side, side.means(), tiles, samples.count, 0.0, samples.together)


def _means(samples: Samples, camera: Cameras) -> Comparisons:
    """Means of several crops: of two cameras, or of two halves of those under one."""
    groups = _groups(samples)
    if camera == "across":
        side = Side.of(samples, samples.cameras).means()
        tiles = [(one, other, False) for one in groups for other in groups if one < other]
    else:
        side = _side_of_halves(samples).means()
        tiles = [(2 * group, 2 * group + 1, False) for group in groups]
    return Comparisons(side, side, tiles, samples.count, 0.0, samples.together)


def _groups(samples: Samples) -> list[int]:
    groups: list[int] = np.unique(samples.cameras).tolist()
    return groups


def _side_of_halves(samples: Samples) -> Side:
    half = halves(samples)
    return Side.of(samples, np.where(half < 0, -1, 2 * samples.cameras + half))
