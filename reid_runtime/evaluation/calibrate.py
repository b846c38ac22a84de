"""A calibration of a table of embeddings: of labelled rows, or of tracks, with what to expect of such a site."""

from dataclasses import dataclass

import numpy as np

from reid_runtime.evaluation.calibration_samples import samples_of_labels, samples_of_tracks
from reid_runtime.images.quality import DEFAULT_POLICY, NEAR_DUPLICATE
from reid_runtime.jobs import Embeddings
from reid_runtime.matching.calibrate import Origin, calibrate
from reid_runtime.matching.calibration import Calibration
from reid_runtime.matching.samples import Samples
from reid_runtime.model_file.contract import Contract
from reid_runtime.scoring.ranking import Fractions

_GAPS = (1, 4, 16, 64, 256)
"""How far apart in time a box and those it is looked for among are, as multiples of the least gap."""
_FEWEST = 30
"""Searches on which an expectation may rest."""
_PAIRS = 200_000
"""Pairs of boxes of two cameras whose cosines are drawn."""
_SEED = 0


@dataclass(frozen=True)
class RankByGap:
    """A box of a track looked for among the boxes of one later frame, its own track's one of them."""

    gap: float
    """At least, in seconds or frames."""
    rank_1: float
    chance: float
    """What a guess would give."""
    searches: int


@dataclass(frozen=True)
class CameraShift:
    """How similar boxes of other tracks are, within cameras and across two."""

    cameras: tuple[str, str]
    within: float
    """The median cosine of boxes of two tracks under one of them that were seen together."""
    across: float
    """The median cosine of a box of one and a box of the other, nearly all of two people."""


@dataclass(frozen=True)
class Expectations:
    """What the tracks of a site tell of it, without labels."""

    ranks: tuple[RankByGap, ...]
    shifts: tuple[CameraShift, ...]
    flagged: float
    """The share of the boxes that were left out for their reason codes."""
    low: float
    """The share of boxes lower than LOW pixels, where recognition is poor."""


LOW = 64
"""Pixels of a crop's height below which more than half of the matches are lost (`images.quality`)."""


def calibrate_rows(
    rows: Embeddings, dataset: str, *, own_site: bool = True, tracks: bool = False, gap: float | None = None
) -> Calibration:
    """Measure what similarities mean on the rows of a table.

    Args:
        rows: With `identity`, and `camera` where it is known; or with `track`, `time` or `frame`, and `camera`.
        dataset: What to call them.
        own_site: Whether they are of the place where the calibration will be used.
        tracks: Whether the tracks are used, and no labels.
        gap: With tracks, how far apart two boxes of one have to be; None for a second, or 25 frames.

    Returns:
        The calibration.

    Raises:
        StorageError: For rows without these columns.
        CalibrationError: Where the rows make no mated, or no non-mated comparison.
    """
    samples, left_out = samples_of_tracks(rows, gap) if tracks else samples_of_labels(rows)
    again = samples.near_duplicates(DEFAULT_POLICY.near_duplicate)
    if again.any():
        samples = samples.take(np.flatnonzero(~again))
        left_out |= {NEAR_DUPLICATE: int(np.count_nonzero(again))}
    origin = Origin(rows.contract_id, rows.artefact_id, precision_of(rows), dataset, own_site, left_out)
    return calibrate(samples, origin)


def precision_of(rows: Embeddings) -> str:
    """In what the vectors of a table were computed: `bfloat16` where a backend rounded to it, else the model's own."""
    if "bfloat16" in (rows.backend or ""):
        return "bfloat16"
    return Contract.from_json(rows.contract, "the rows").precision.kind


def expectations(rows: Embeddings, gap: float | None = None) -> Expectations:
    """What a site's own tracks tell of it.

    Args:
        rows: As for `calibrate_rows` with tracks.
        gap: Likewise.

    Returns:
        Rank-1 by gap, the shift of similarities between cameras, and the share of crops that are too small.

    Raises:
        StorageError: For rows without these columns.
    """
    samples, left_out = samples_of_tracks(rows, gap)
    samples = samples.bounded()
    flagged = sum(count for reason, count in left_out.items() if reason.startswith("flagged"))
    names = np.unique(rows.camera) if rows.camera is not None and samples.has_cameras else np.array([""])
    heights = samples.heights[samples.heights > 0]
    return Expectations(
        tuple(filter(None, (_rank_1(samples, times * samples.gap) for times in _GAPS))),
        tuple(_shifts(samples, names.tolist())),
        flagged / max(1, flagged + len(samples.vectors)),
        float((heights < LOW).mean()) if heights.size else 0.0,
    )


def _rank_1(samples: Samples, gap: float) -> RankByGap | None:
    """None where too few boxes have their track in a frame so much later."""
    right, chance = [], []
    moments = np.unique(np.stack([samples.cameras, samples.times], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    by_moment = np.split(np.argsort(moments, kind="stable"), np.flatnonzero(np.diff(np.sort(moments))) + 1)
    for track in range(samples.count):
        own = np.flatnonzero(samples.people == track)
        own = own[np.argsort(samples.times[own], kind="stable")]
        for box in own:
            later = own[samples.times[own] >= samples.times[box] + gap]
            if not later.size:
                break
            frame = by_moment[moments[later[0]]]
            if len(frame) > 1:
                best = frame[np.argmax(samples.vectors[frame] @ samples.vectors[box])]
                right.append(samples.people[best] == track)
                chance.append(1 / len(frame))
    if len(right) < _FEWEST:
        return None
    return RankByGap(gap, float(np.mean(right)), float(np.mean(chance)), len(right))


def _shifts(samples: Samples, names: list[str]) -> list[CameraShift]:
    cameras = np.unique(samples.cameras).tolist()
    within = {camera: _drawn(samples, camera, camera) for camera in cameras}
    shifts = []
    for one in cameras:
        for other in cameras:
            if one < other:
                across, alone = _drawn(samples, one, other), np.concatenate([within[one], within[other]])
                if across.size and alone.size:
                    pair = names[one], names[other]
                    shifts.append(CameraShift(pair, float(np.median(alone)), float(np.median(across))))
    return shifts


def _drawn(samples: Samples, one: int, other: int) -> Fractions:
    """Cosines of drawn pairs of boxes of two cameras; under one, of tracks that were seen together."""
    generator = np.random.default_rng(_SEED)
    first, second = np.flatnonzero(samples.cameras == one), np.flatnonzero(samples.cameras == other)
    left, right = generator.choice(first, _PAIRS), generator.choice(second, _PAIRS)
    if one == other and samples.together is not None:
        seen = samples.together[samples.people[left], samples.people[right]]
        left, right = left[seen], right[seen]
    cosines: Fractions = np.einsum("nd,nd->n", samples.vectors[left], samples.vectors[right]).astype(np.float64)
    return cosines
