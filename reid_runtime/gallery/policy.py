"""What a gallery takes: reason codes that keep a crop out, and the codes of every other refusal."""

import json
from dataclasses import dataclass

from reid_runtime.images.quality import WORTHLESS

NO_VECTOR, NO_PERSON, NAME_TAKEN = "no_vector", "no_person", "name_taken"
"""An image that cannot be used; one of nobody, as junk; one whose id another crop of the gallery has."""


@dataclass(frozen=True)
class AdmissionPolicy:
    """Which crops a gallery refuses; kept in its file, so that every writer holds to it."""

    refused: tuple[str, ...] = WORTHLESS
    """Reason codes of crops that are hardly worth a vector."""
    least_quality: float = 0.0
    """The least `quality`, where the crop has one."""

    def codes(self, reasons: str, quality: float | None) -> tuple[str, ...]:
        """Why a crop of these reasons (codes with commas) and this quality is refused; empty where it is taken."""
        codes = tuple(code for code in reasons.split(",") if code in self.refused)
        return (*codes, "low_quality") if quality is not None and quality < self.least_quality else codes

    def to_json(self) -> str:
        """As the gallery's file keeps it."""
        return json.dumps({"refused": self.refused, "least_quality": self.least_quality})

    @classmethod
    def from_json(cls, text: str) -> "AdmissionPolicy":
        """What `to_json` gave."""
        values = json.loads(text)
        return cls(tuple(values["refused"]), float(values["least_quality"]))
