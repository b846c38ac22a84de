"""The resize rules, and the one reference implementation of the resize itself: Pillow's bilinear, or bicubic.

Training, export gates, benchmarks and the runtime all call `resize`; any faster implementation is held to
its pixels by a test. Pillow's filter widens when it shrinks (it averages what it drops), which OpenCV's does
not: the two give different vectors, and mixing them is the field's most common silent error.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.errors import ContractError

Pixels = npt.NDArray[np.uint8]
"""An image: (height, width, 3) uint8, RGB."""

Filter = Literal["bilinear", "bicubic"]
"""Bilinear is our own models'; many of others were trained with bicubic."""


class ResizeRule(Protocol):
    """To which height and width an image goes before the model sees it, and by which filter.

    A frozen dataclass of positive integers and the filter, which a contract states as {"rule": its name} and these.
    `str` describes it to people.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]

    @property
    def filter(self) -> Filter:
        """How the pixels in between are made."""

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) after the resize of an image that has this height and width."""


def _by(chosen: Filter) -> str:
    return "" if chosen == "bilinear" else f", {chosen}"


@dataclass(frozen=True)
class LongestSide:
    """The paper's rule: the longest side becomes `size` pixels, the aspect ratio is kept, nothing is padded.

    The other side is int(0.5 + size * other / longest), at least 1 pixel.
    """

    name: ClassVar[str] = "longest-side"
    size: int
    filter: Filter = "bilinear"

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """`size` by the scaled other side, in the order (height, width)."""
        if height >= width:
            return self.size, max(1, int(0.5 + self.size * width / height))
        return max(1, int(0.5 + self.size * height / width)), self.size

    def __str__(self) -> str:
        return f"longest side {self.size}, aspect ratio kept{_by(self.filter)}"


@dataclass(frozen=True)
class Area:
    """Every image gets about `pixels` pixels and keeps its aspect ratio: whatever its shape, it costs the same.

    Both sides are multiples of `step`, the nearest ones, so that many images have one shape and go in one batch: a
    side is off by `step` / 2 at most. The longest side that an image can have is `pixels` / `step`.
    """

    name: ClassVar[str] = "area"
    pixels: int
    step: int
    filter: Filter = "bilinear"

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Both sides times the root of pixels / (height * width), in the order (height, width)."""
        scale = math.sqrt(self.pixels / (height * width))
        return self._side(height * scale), self._side(width * scale)

    def _side(self, length: float) -> int:
        steps = int(0.5 + length / self.step)
        return self.step * min(max(1, steps), max(1, self.pixels // self.step**2))

    def __str__(self) -> str:
        rounded = f", sides multiples of {self.step}" if self.step > 1 else ""
        return f"about {self.pixels} pixels, aspect ratio kept{rounded}{_by(self.filter)}"


@dataclass(frozen=True)
class FixedSize:
    """Every image is stretched to one height and width: for third-party models that were trained so."""

    name: ClassVar[str] = "fixed"
    height: int
    width: int
    filter: Filter = "bilinear"

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The one (height, width), whatever the image has."""
        return self.height, self.width

    def __str__(self) -> str:
        return f"stretched to {self.height}×{self.width}{_by(self.filter)}"


_LONGEST = 4096
"""Pixels of a side at most: a contract may be anyone's, and every image would become as large as it says."""
RULES: Mapping[str, type[ResizeRule]] = {rule.name: rule for rule in (LongestSide, Area, FixedSize)}
"""Every rule that a contract can state, by its name."""


def rule_to_json(rule: ResizeRule) -> dict[str, Any]:
    """The rule as a contract states it."""
    if RULES.get(rule.name) is not type(rule):
        raise ContractError(f"no contract can state the resize rule {rule!r}; known: {', '.join(RULES)}")
    return {"rule": rule.name, **asdict(rule)}


def rule_from_json(values: Any, source: str) -> ResizeRule:
    """The rule that a contract states; raises ContractError, naming `source`, for anything else."""
    match values:
        case {"rule": str(name), "filter": str(chosen), **numbers} if name in RULES and chosen in get_args(Filter):
            if numbers.keys() == {*_numbers(name)} and all(
                _is_size(str(field), value) for field, value in numbers.items()
            ):
                return RULES[name](**{str(field): value for field, value in (numbers | {"filter": chosen}).items()})
    raise ContractError(
        f"{source}: expected {' or '.join(map(rule_form, RULES))}, sides of at most {_LONGEST}, found {values!r}"
    )


def _is_size(name: str, value: Any) -> bool:
    return type(value) is int and 0 < value <= (_LONGEST**2 if name == "pixels" else _LONGEST)


def _numbers(name: str) -> list[str]:
    return [field.name for field in fields(RULES[name]) if field.name != "filter"]


def rule_form(name: str) -> str:
    """How the rule of that name is written in a contract, with N for its numbers."""
    numbers = "".join(f'"{number}": N, ' for number in _numbers(name))
    return f'{{"rule": "{name}", {numbers}"filter": "{" or ".join(get_args(Filter))}"}}'


def resized(image: Pixels, rule: ResizeRule, decoded: Image.Image | None = None) -> Pixels:
    """The image, (H, W, 3) uint8, as a rule has it; `decoded` is the same one, where Pillow has it already."""
    return resize(np.ascontiguousarray(image), rule.shape(*image.shape[:2]), rule.filter, decoded)


def resize(
    image: Pixels, shape: tuple[int, int], by: Filter = "bilinear", decoded: Image.Image | None = None
) -> Pixels:
    """The image, (H, W, 3) uint8, at `shape` (height, width); the same pixels when it has that shape already."""
    if image.shape[:2] == shape:
        return image
    height, width = shape
    method = Image.Resampling.BILINEAR if by == "bilinear" else Image.Resampling.BICUBIC
    # Rows first, then columns, said one by one: each pass rounds to whole grey levels, so their order shows, and
    # in a single call Pillow before 13 always begins with the rows, 13 with whichever costs less.
    narrowed = (decoded or Image.fromarray(image)).resize((width, image.shape[0]), method)
    return np.asarray(narrowed.resize((width, height), method))
