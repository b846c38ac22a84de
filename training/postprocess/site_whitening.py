"""Whitening for one site, of tracks alone: no labels, no training, and only where it helps.

Boxes of one track are one person: how they differ is what the site's light and poses do to a vector. Boxes of one
frame are two people: how those differ is what tells people apart here. Each direction of the vectors is divided by the
within-track deviation, as in `whitening`, and counts the less, the less people of one frame differ in it beyond that. A
few dozen people say little of hundreds of directions: both covariances are shrunk, and by
how much is tried on people who were left out.

Half of the people make a matrix and the others judge it, again and again: the share of right pairs that is missed where
one pair of strangers in a hundred is taken for one person, by the site's own tracks. What does not lower it in nine of
ten halves is not written.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.evaluation.calibration_samples import samples_of_tracks
from reid_runtime.jobs import Embeddings
from reid_runtime.jobs.cluster import cluster
from reid_runtime.jobs.search.run import own_calibration
from reid_runtime.matching.samples import Samples
from reid_runtime.model_file.contract import Contract, TrainedOn
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors
from training.postprocess.whitening import whitener, with_matrix, within_person
from training.run.checkpoint import Checkpoint, Progress

Matrix = npt.NDArray[np.float64]

SHRINKAGES = (0.1, 0.3, 1.0, 3.0, 10.0)
_FMR, _HALVES, _NEEDED = 0.01, 10, 9
_PAIRS = 200_000
_THRESHOLD = 0.5
"""For groups of people who are left out together, where the model has no calibration."""
NAME = "site_whitening"


class SiteError(ReidRuntimeError):
    """Tracks that say too little, or from which nothing is gained."""


@dataclass(frozen=True)
class SiteWhitening:
    """What was found."""

    matrix: Matrix
    """(D, D): vectors are multiplied by it, and become of unit length again."""
    shrinkage: float
    before: tuple[float, ...]
    """The share of right pairs that is missed, in each half of people that the matrix does not know."""
    after: tuple[float, ...]

    @property
    def helps(self) -> bool:
        """Whether it lowers what is missed in nine of ten halves."""
        better = sum(after < before for before, after in zip(self.before, self.after, strict=True))
        return better * _HALVES >= _NEEDED * len(self.before)

    def __str__(self) -> str:
        means = [100 * float(np.mean(each)) for each in (self.before, self.after)]
        better = sum(after < before for before, after in zip(self.before, self.after, strict=True))
        return (
            f"FNMR at FMR {100 * _FMR:g} %, on people who did not take part: {means[0]:.1f} % before, {means[1]:.1f} % "
            f"after, lower in {better} of {len(self.before)} halves; shrinkage {self.shrinkage:g}"
        )


def site_whitening(rows: Embeddings, people: Integers) -> SiteWhitening:
    """Find the best matrix for a site.

    Args:
        rows: With the columns `track`, `time` or `frame`, and `camera` where there are several.
        people: (N,) for each row the group of tracks that is left out together, as `cluster` finds them.

    Returns:
        The matrix of all tracks, and what its like did for people who did not take part.

    Raises:
        SiteError: For fewer than eight people, or halves without pairs of strangers.
        StorageError: For rows without these columns.
    """
    numbered = replace(rows, id=np.array([str(row) for row in range(len(rows))]))
    samples, _ = samples_of_tracks(numbered)
    # Which group a track is in, by the rows that are left; vectors tell rows apart no more than their order does.
    owners = people[_rows_of(numbered, samples)]
    groups = np.unique(owners)
    if len(groups) < 8:
        raise SiteError(f"expected tracks of at least eight people, found {len(groups)}: nobody could be left out")
    generator, halves = np.random.default_rng(0), []
    for _ in range(_HALVES):
        inside = np.isin(owners, generator.permutation(groups)[: len(groups) // 2])
        halves.append((samples.take(np.flatnonzero(inside)), samples.take(np.flatnonzero(~inside))))
    before = tuple(missed(judges.vectors, judges) for _, judges in halves)
    tried: list[tuple[float, tuple[float, ...]]] = []
    for shrinkage in SHRINKAGES:
        tried.append((shrinkage, tuple(_after(fitted, judges, shrinkage) for fitted, judges in halves)))
    shrinkage, after = min(tried, key=lambda each: float(np.mean(each[1])))
    return SiteWhitening(matrix_of(samples, shrinkage), shrinkage, before, after)


def matrix_of(samples: Samples, shrinkage: float) -> Matrix:
    """(D, D) the matrix of some tracks: whitening within tracks, in the directions in which people of a frame differ
    more than that."""
    whitening = whitener(within_person(samples.vectors, samples.people), shrinkage)
    ones, others = _strangers(samples)
    if not len(ones):
        raise SiteError("no two tracks have boxes in one frame: nothing says how people differ here")
    differences = (samples.vectors[ones] - samples.vectors[others]).astype(np.float64) @ whitening
    values, directions = np.linalg.eigh(differences.T @ differences / (2 * len(differences)))
    # Shrunk towards their mean, as the covariance within tracks is.
    values = (values + shrinkage * values.mean()) / (1 + shrinkage)
    weights = np.sqrt(values / (values + values.mean()))
    matrix: Matrix = (directions * weights) @ directions.T @ whitening
    return matrix


def missed(vectors: Vectors, samples: Samples) -> float:
    """The share of pairs of one track, apart in time, below the cosine that one in a hundred pairs of strangers has."""
    ones, others = _strangers(samples)
    if not len(ones):
        raise SiteError("half of the people have no boxes in one frame: film for longer")
    threshold = np.quantile(np.einsum("nd,nd->n", vectors[ones], vectors[others]), 1 - _FMR)
    ones, others = _mated(samples)
    return float((np.einsum("nd,nd->n", vectors[ones], vectors[others]) <= threshold).mean())


def applied(vectors: Vectors, matrix: Matrix) -> Vectors:
    """Vectors after the matrix, of unit length."""
    return normalise((vectors @ matrix.T).astype(np.float32), "whitened")


def _after(fitted: Samples, judges: Samples, shrinkage: float) -> float:
    return missed(applied(judges.vectors, matrix_of(fitted, shrinkage)), judges)


def _rows_of(rows: Embeddings, samples: Samples) -> Integers:
    """(S,) the row of each sample: samples are rows in their order, some left out."""
    row, rows_of_samples = 0, []
    for vector in samples.vectors:
        while not np.array_equal(rows.embedding[row], vector):
            row += 1
        rows_of_samples.append(row)
        row += 1
    return np.array(rows_of_samples, np.int64)


def _strangers(samples: Samples) -> Sequence[Integers]:
    """Pairs of boxes of two tracks that are seen together, drawn."""
    assert samples.together is not None
    generator = np.random.default_rng(1)
    ones, others = (generator.integers(0, len(samples.people), _PAIRS) for _ in range(2))
    kept = samples.together[samples.people[ones], samples.people[others]]
    return ones[kept], others[kept]


def _mated(samples: Samples) -> Sequence[Integers]:
    """Pairs of boxes of one track, at least the gap apart, drawn; tracks count alike."""
    generator = np.random.default_rng(2)
    pairs = []
    for track in range(samples.count):
        own = np.flatnonzero(samples.people == track)
        ones, others = (own[generator.integers(0, len(own), 4 * len(own))] for _ in range(2))
        kept = np.abs(samples.times[ones] - samples.times[others]) >= samples.gap
        pairs.append(np.stack([ones[kept], others[kept]])[:, :200])
    every = np.concatenate(pairs, axis=1)
    if not every.size:
        raise SiteError("no track lasts long enough for two boxes of it to be compared")
    return every[0], every[1]


def site_whitened(checkpoint: Checkpoint, rows: Embeddings, terms: str) -> tuple[Checkpoint, SiteWhitening]:
    """The checkpoint after the whitening of a site, and what that does.

    Args:
        checkpoint: The model.
        rows: Of the site's tracks, by this model.
        terms: The terms of use of the site's images.

    Raises:
        SiteError: For vectors of another model, tracks that say too little, and where nothing is gained.
        StorageError: For rows without the columns of tracks.
    """
    weights = Contract.from_json(rows.contract, "the embeddings").weights
    if weights != checkpoint.weights_digest:
        raise SiteError(
            f"the vectors are of weights {weights[:19]}, the checkpoint has {checkpoint.weights_digest[:19]}: "
            "export it (python -m export.to_onnx), and embed the site's boxes with that"
        )
    result = site_whitening(rows, people_of(rows))
    if not result.helps:
        raise SiteError(f"nothing is gained, so nothing is written: {result}")
    tracks = samples_of_tracks(rows)[0].count
    digest = f"sha256:{hashlib.sha256(np.ascontiguousarray(rows.embedding).tobytes()).hexdigest()}"
    seen = TrainedOn("tracks of the site", terms, tracks, len(rows))
    whitened = with_matrix(checkpoint, result.matrix)
    return replace(whitened, trained_on=checkpoint.having_seen(seen), progress=Progress(NAME, 0, digest)), result


def people_of(rows: Embeddings) -> Integers:
    """(N,) who is left out together: the column identity, or groups as `cluster` finds them."""
    names = rows.identity
    if names is None or not (names != "").any():
        calibration = own_calibration(None, rows.contract_id)
        clusters = cluster(rows, calibration, threshold=None if calibration is not None else _THRESHOLD)
        return clusters.grouping.groups
    return np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)
