"""The resize rules, and the one reference implementation of the resize itself: Pillow's bilinear.

Training, export gates, benchmarks and the runtime all call `resize`; any faster implementation is held to
its pixels by a test. Pillow's filter widens when it shrinks (it averages what it drops), which OpenCV's does
not: the two give different vectors, and mixing them is the field's most common silent error.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.errors import ContractError

Pixels = npt.NDArray[np.uint8]
"""An image: (height, width, 3) uint8, RGB."""

FILTER = "bilinear"


class ResizeRule(Protocol):
    """To which height and width an image goes before the model sees it: a frozen dataclass of positive integers.

    A contract states it as {"rule": its name, "filter": "bilinear"} and its fields. `str` describes it to people.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) after the resize of an image that has this height and width."""


@dataclass(frozen=True)
class LongestSide:
    """The paper's rule: the longest side becomes `size` pixels, the aspect ratio is kept, nothing is padded.

    The other side is int(0.5 + size * other / longest), at least 1 pixel.
    """

    name: ClassVar[str] = "longest-side"
    size: int

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """`size` by the scaled other side, in the order (height, width)."""
        if height >= width:
            return self.size, max(1, int(0.5 + self.size * width / height))
        return max(1, int(0.5 + self.size * height / width)), self.size

    def __str__(self) -> str:
        return f"longest side {self.size}, aspect ratio kept"


@dataclass(frozen=True)
class Area:
    """Every image gets about `pixels` pixels and keeps its aspect ratio: whatever its shape, it costs the same.

    Both sides are multiples of `step`, the nearest ones, so that many images have one shape and go in one batch: a
    side is off by `step` / 2 at most. The longest side that an image can have is `pixels` / `step`.
    """

    name: ClassVar[str] = "area"
    pixels: int
    step: int

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Both sides times the root of pixels / (height * width), in the order (height, width)."""
        scale = math.sqrt(self.pixels / (height * width))
        return self._side(height * scale), self._side(width * scale)

    def _side(self, length: float) -> int:
        steps = int(0.5 + length / self.step)
        return self.step * min(max(1, steps), max(1, self.pixels // self.step**2))

    def __str__(self) -> str:
        rounded = f", sides multiples of {self.step}" if self.step > 1 else ""
        return f"about {self.pixels} pixels, aspect ratio kept{rounded}"


@dataclass(frozen=True)
class FixedSize:
    """Every image is stretched to one height and width: for third-party models that were trained so."""

    name: ClassVar[str] = "fixed"
    height: int
    width: int

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The one (height, width), whatever the image has."""
        return self.height, self.width

    def __str__(self) -> str:
        return f"stretched to {self.height}×{self.width}"


RULES: Mapping[str, type[ResizeRule]] = {rule.name: rule for rule in (LongestSide, Area, FixedSize)}
"""Every rule that a contract can state, by its name."""


def rule_to_json(rule: ResizeRule) -> dict[str, Any]:
    """The rule as a contract states it."""
    if RULES.get(rule.name) is not type(rule):
        raise ContractError(f"no contract can state the resize rule {rule!r}; known: {', '.join(RULES)}")
    return {"rule": rule.name, **asdict(rule), "filter": FILTER}


def rule_from_json(values: Any, source: str) -> ResizeRule:
    """The rule that a contract states; raises ContractError, naming `source`, for anything else."""
    match values:
        case {"rule": str(name), "filter": "bilinear", **numbers} if name in RULES:
            names = {field.name for field in fields(RULES[name])}
            if numbers.keys() == names and all(type(number) is int and number > 0 for number in numbers.values()):
                return RULES[name](**{str(field): number for field, number in numbers.items()})
    raise ContractError(f"{source}: expected {' or '.join(map(rule_form, RULES))}, found {values!r}")


def rule_form(name: str) -> str:
    """How the rule of that name is written in a contract, with N for its numbers."""
    numbers = "".join(f'"{field.name}": N, ' for field in fields(RULES[name]))
    return f'{{"rule": "{name}", {numbers}"filter": "{FILTER}"}}'


def resize(image: Pixels, shape: tuple[int, int]) -> Pixels:
    """The image, (H, W, 3) uint8, at `shape` (height, width); the same pixels when it has that shape already."""
    if image.shape[:2] == shape:
        return image
    height, width = shape
    # Rows first, then columns, said one by one: each pass rounds to whole grey levels, so their order shows, and
    # in a single call Pillow before 13 always begins with the rows, 13 with whichever costs less.
    narrowed = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(narrowed.resize((width, height), Image.Resampling.BILINEAR))
