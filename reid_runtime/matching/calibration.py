"""Calibration: what similarities of one embedding space mean, measured on people of one place."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from reid_runtime.matching.errors import CalibrationError
from reid_runtime.matching.rates import Rates, RefusedRate, Span, percent

FORMAT: Literal["reid-runtime-calibration-1"] = "reid-runtime-calibration-1"

Cameras = Literal["across", "within", "any"]
"""Two cameras, one camera, or cameras that nobody stated."""
Crops = Literal["1x1", "1xn", "nxn"]
"""One crop or the mean vector of several, on each side of a comparison."""
Answer = Literal["same", "different", "unsure"]

ANY_HEIGHT = "any"


@dataclass(frozen=True)
class Source:
    """On what a calibration was measured."""

    kind: Literal["labels", "tracks"]
    dataset: str
    """The name of the folder or file."""
    own_site: bool
    """Whether the images are of the place where the calibration is used; else verdicts say "calibrated elsewhere"."""
    people: int
    """With tracks, the number of tracks: a person who comes back is counted again."""
    cameras: int
    """0 where none is stated."""
    mated: int
    """Comparisons of one crop with one crop, as `operating_points` rest on them."""
    non_mated: int
    across_cameras: bool
    """Whether the two crops of these comparisons are of two cameras."""
    crops: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many crops were left out, by reason."""
    biases: tuple[str, ...] = ()
    """In what the source differs from what it stands for, a sentence each."""


@dataclass(frozen=True)
class Stratum(Rates):
    """One kind of comparison."""

    camera: Cameras
    height: str
    """Pixels of the lower of two crops, such as `64-127`; `any`."""
    crops: Crops
    people: int
    mated: int
    non_mated: int


@dataclass(frozen=True)
class SearchPoint:
    """One threshold of a search among so many people.

    FPIR is the share of queries whose person is not in the gallery that get an answer all the same; FNIR is the share
    of those whose person is there, with no crop of theirs at or above the threshold.
    """

    gallery_people: int
    fpir: float
    threshold: float
    fnir: float
    fpir_interval: Span
    """By resampling people, of the queries and of the gallery."""
    fnir_interval: Span
    fpir_prediction: Span
    """Between which values the FPIR of this threshold lies, in 95 of 100 cases, for as many other people."""


@dataclass(frozen=True)
class VerdictSettings:
    """From when on two images are called the same person's, or not."""

    same_fmr: float = 0.001
    """`same` from the threshold of this FMR on, or of the smallest one that the data support."""
    different_fnmr: float = 0.01
    """`different` where the FNMR is at most this, or the smallest one that the data support."""

    def __post_init__(self) -> None:
        if not (0 < self.same_fmr < 1 and 0 < self.different_fnmr < 1):
            raise CalibrationError(f"expected rates between 0 and 1, found {self.same_fmr} and {self.different_fnmr}")


@dataclass(frozen=True)
class Verdict:
    """What a similarity says of two images, or of two sets of them."""

    answer: Answer
    similarity: float
    fmr: float
    """How many of 1 non-mated comparisons are as similar."""
    fmr_is_bound: bool
    """Whether the FMR is at most this: the smallest rate that the calibration supports."""
    fnmr: float
    """How many of 1 mated comparisons are less similar; at most, where it rests on no more than thirty of them."""
    same_threshold: float
    different_threshold: float
    calibrated_elsewhere: bool
    crops: Crops
    contract_id: str
    calibration_id: str
    reasons: tuple[str, ...] = ()
    """Codes of what makes one of the images worthless: then the answer is `unsure`, and both rates are 1."""

    def __str__(self) -> str:
        rates = f"FMR {'at most ' * self.fmr_is_bound}{percent(self.fmr)}, FNMR {percent(self.fnmr)}"
        if self.reasons:
            rates = f"which says nothing of people: {', '.join(self.reasons)}"
        elsewhere = "; calibrated elsewhere" if self.calibrated_elsewhere else ""
        return f"{self.answer}: similarity {self.similarity:.3f}, {rates}{elsewhere}"


@dataclass(frozen=True)
class SearchThreshold:
    """From which similarity on a search gives an answer."""

    threshold: float
    fnir: float
    extrapolated: bool
    """Whether the gallery has more people than any that was measured."""


@dataclass(frozen=True)
class Calibration(Rates):
    """What similarities of one embedding space mean: the operating points and histograms of one crop with one crop,
    across cameras where there are several, and of other kinds of comparisons in `strata`.
    """

    format: Literal["reid-runtime-calibration-1"]
    contract_id: str
    artefact_id: str
    precision: str
    """In what the vectors were computed: float32, bfloat16, int8 ..."""
    source: Source
    refused: tuple[RefusedRate, ...]
    strata: tuple[Stratum, ...]
    search: tuple[SearchPoint, ...]
    settings: VerdictSettings = VerdictSettings()

    @cached_property
    def calibration_id(self) -> str:
        """The digest of all of it: `sha256:...`."""
        return f"sha256:{hashlib.sha256(self.to_json().encode()).hexdigest()}"

    def to_json(self) -> str:
        """The JSON text, as files hold it: a line a key."""
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(dataclasses.asdict(self).items()))
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def require_space(self, contract_id: str, name: str) -> None:
        """Raises CalibrationError unless vectors of this contract id, which `name` tells, are of its space."""
        if contract_id != self.contract_id:
            raise CalibrationError(
                f"the calibration is of contract id {self.contract_id}, {name} of {contract_id}: thresholds of one "
                "embedding space mean nothing in another; calibrate with this model (reid-runtime calibrate)"
            )

    def stratum(self, crops: Crops = "1x1", camera: Cameras | None = None, height: str = ANY_HEIGHT) -> Rates:
        """The rates of one kind of comparison.

        Args:
            crops: One crop, or a mean of several, on each side.
            camera: None for the operating points' own: across cameras where there are several.
            height: As `Stratum.height` has it.

        Returns:
            The rates; those of one crop with one crop are the calibration itself.

        Raises:
            CalibrationError: Where the calibration has none of this kind.
        """
        own: Cameras = "across" if self.source.across_cameras else "within" if self.source.cameras else "any"
        camera = camera or own
        if (crops, camera, height) == ("1x1", own, ANY_HEIGHT):
            return self
        for stratum in self.strata:
            if (stratum.crops, stratum.camera, stratum.height) == (crops, camera, height):
                return stratum
        raise CalibrationError(
            f"the calibration has no comparisons {crops} of cameras {camera!r} and height {height!r}; it has "
            + ", ".join(f"{each.crops} {each.camera} {each.height}" for each in self.strata)
            + "; calibrate on several crops of each person"
        )

    def verdict(
        self, similarity: float, crops: Crops = "1x1", camera: Cameras | None = None, reasons: tuple[str, ...] = ()
    ) -> Verdict:
        """Whether two images, or two sets of images, are of one person.

        Args:
            similarity: The cosine of their vectors, or of the means of several.
            crops: How many crops each side had.
            camera: None for the calibration's own kind.
            reasons: Codes of what makes an image worthless (`images.quality.WORTHLESS`), as `blank`.

        Returns:
            The answer with its error rates.

        Raises:
            CalibrationError: Where the calibration supports no rate for this kind of comparison.
        """
        if not -1.01 <= similarity <= 1.01:
            raise CalibrationError(f"expected a cosine, from -1 to 1, found {similarity}")
        rates = self.stratum(crops, camera)
        same = rates.threshold(max(self.settings.same_fmr, rates.least_fmr or 0.0))
        different = rates.similarity_at_fnmr(self.settings.different_fnmr)
        answer: Answer = "same" if similarity >= same else "different" if similarity <= different else "unsure"
        fmr, fnmr = rates.fmr(similarity), rates.fnmr(similarity)
        if reasons:
            answer, fmr, fnmr = "unsure", 1.0, 1.0
        is_bound = fmr <= (rates.least_fmr or 0.0)
        return Verdict(
            answer, similarity, fmr, is_bound, fnmr, same, different, not self.source.own_site, crops, self.contract_id,
            self.calibration_id, reasons,
        )  # fmt: skip

    def search_threshold(self, fpir: float, gallery_people: int) -> SearchThreshold:
        """The threshold of a search in a gallery of so many people.

        Between sizes and rates that were measured, it is interpolated over their logarithms; beyond the largest
        gallery it goes on as from its half to it. A smaller gallery than the smallest has that one's threshold.

        Args:
            fpir: A fraction: of queries for people who are not in the gallery, how many may get an answer.
            gallery_people: People or tracks in the gallery, not crops.

        Returns:
            The threshold, and whether the gallery is beyond what was measured.

        Raises:
            CalibrationError: Where the data do not support such a rate.
        """
        if gallery_people < 1:
            raise CalibrationError(f"expected at least one person in the gallery, found {gallery_people}")
        sizes = sorted({point.gallery_people for point in self.search})
        curves = {size: self._curve(size, fpir) for size in sizes}
        known = [size for size in sizes if curves[size] is not None]
        if not known:
            least = min((point.fpir for point in self.search), default=None)
            supported = "it supports none" if least is None else f"the smallest that it supports is {percent(least)}"
            raise CalibrationError(f"this calibration does not support an FPIR of {percent(fpir)}: {supported}")
        values = np.array([curves[size] for size in known], dtype=np.float64)
        threshold, fnir = (
            float(np.interp(np.log(gallery_people), np.log(known), values[:, column])) for column in (0, 1)
        )
        beyond = gallery_people > known[-1]
        if beyond and len(known) > 1:
            half = int(np.argmin(np.abs(np.log(np.array(known[:-1]) * 2 / known[-1]))))
            steps = np.log(gallery_people / known[-1]) / np.log(known[-1] / known[half])
            rise = steps * (values[-1] - values[half])
            threshold, fnir = threshold + float(max(0, rise[0])), min(1.0, fnir + float(max(0, rise[1])))
        return SearchThreshold(min(threshold, 1.0), fnir, beyond)

    def _curve(self, size: int, fpir: float) -> tuple[float, float] | None:
        """(threshold, FNIR) of a gallery size at any FPIR between those measured; None outside."""
        points = sorted(
            (point.fpir, point.threshold, point.fnir) for point in self.search if point.gallery_people == size
        )
        rates = np.array([point[0] for point in points])
        if not rates[0] * (1 - 1e-9) <= fpir:
            return None
        return (
            float(np.interp(np.log(fpir), np.log(rates), [point[1] for point in points])),
            float(np.interp(np.log(fpir), np.log(rates), [point[2] for point in points])),
        )
