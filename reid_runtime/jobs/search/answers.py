"""What a search answers: a decision with its error rates, or ranked candidates where there is no calibration."""

from dataclasses import dataclass
from typing import Any, Literal

from reid_runtime.matching.calibration import Answer as VerdictAnswer
from reid_runtime.matching.decision import Decision


@dataclass(frozen=True)
class SearchSettings:
    """How a gallery is searched."""

    k: int = 10
    """People, tracks or images that are listed for each query, at most."""
    fpir: float = 0.01
    """Of queries for people who are not in the gallery, the share that may get an answer all the same."""
    exclude_same_camera: bool = False
    """Whether rows of the query's own camera are not found."""
    rerank: bool = False
    """Whether the candidates are ordered by k-reciprocal re-ranking among the nearest rows."""


@dataclass(frozen=True)
class Match:
    """One person, track or image of the gallery, by the row that is nearest to the query."""

    id: str
    identity: str | None
    """None where nobody says who it is."""
    camera: str
    track: str
    similarity: float
    """Cosine, to six decimals."""
    fmr: float | None
    """How many of 1 non-mated comparisons are as similar; None without a calibration."""
    fmr_is_bound: bool
    """Whether the FMR is at most this: the smallest rate that the calibration supports."""
    fnmr: float | None
    verdict: VerdictAnswer | None
    """Of this comparison alone; the decision of a search takes account of the gallery's size."""
    rank: int
    row: int
    """The gallery's row, from 0."""

    def report(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("id", "identity", "similarity", "fmr", "fmr_is_bound", "fnmr", "verdict", "rank", "camera", "track")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Answer:
    """What a search says of one query."""

    query: str
    decision: Decision | None
    """None without a calibration: then there are candidates, and nothing that decides."""
    matches: tuple[Match, ...]
    """Those at or above the threshold; with "ambiguous" the two that cannot be told apart first; without a calibration
    all candidates.
    """
    below: tuple[Match, ...]
    """Further candidates, below the threshold."""
    threshold: float | None
    fpir: float
    extrapolated: bool
    """Whether the threshold is beyond what the calibration measured."""
    calibrated_elsewhere: bool | None
    gallery_size: int
    gallery_of: Literal["people", "tracks", "images"]
    crops: int
    """Images that the query's vector is the mean of."""
    reasons: tuple[str, ...]
    """Why the query has no worth, by reason code: then the answer is "nobody"."""
    notes: tuple[str, ...]
    """What else to know of this answer, a sentence each."""
    contract_id: str
    digests: dict[str, str | None]
    """Of the model, the calibration, the gallery, the model that embedded it, and the query: `sha256:...`."""

    def report(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "query": self.query,
            "decision": self.decision,
            "matches": [match.report() for match in self.matches],
            "below": [match.report() for match in self.below],
            "threshold": self.threshold,
            "fpir": self.fpir,
            "extrapolated": self.extrapolated,
            "calibrated_elsewhere": self.calibrated_elsewhere,
            "gallery_size": self.gallery_size,
            "gallery_of": self.gallery_of,
            "crops": self.crops,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "contract_id": self.contract_id,
            "digests": self.digests,
        }
