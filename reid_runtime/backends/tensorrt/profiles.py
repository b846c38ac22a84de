"""Optimisation profiles: the ranges of shapes that an engine is built for, cut by the pixel area of real crops.

TensorRT picks the kernels that are fastest at a profile's optimum, among those that are valid in its whole range
(https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-dynamic-shapes.html): one wide profile is
slow nearly everywhere. Under the longest-side rule one side is fixed, so that a profile is a range of the other side
in one orientation, and pixel area goes with it; under the area rule it is an octave of heights. Together the profiles
hold every shape that the rule can give.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from reid_runtime.errors import BackendError
from reid_runtime.images.resize import Area, FixedSize, LongestSide, ResizeRule

Shape = tuple[int, int, int]
"""(batch, height, width)"""

_USUAL = 1 / 4, 5 / 8
"""Between these parts of the longest side lies the other side of a person's box; taken where no images say."""


@dataclass(frozen=True)
class Profile:
    """A range of (batch, height, width), both ends included, and the shape in it that is to be fast."""

    minimum: Shape
    optimum: Shape
    maximum: Shape

    def __post_init__(self) -> None:
        axes = tuple(zip(self.minimum, self.optimum, self.maximum, strict=True))
        if len(axes) != 3 or not all(1 <= low <= best <= high for low, best, high in axes):
            raise BackendError(f"expected 1 <= minimum <= optimum <= maximum on three axes, found {self}")

    def holds(self, shape: Shape) -> bool:
        """Whether a batch of this shape may run under it."""
        return all(low <= n <= high for low, n, high in zip(self.minimum, shape, self.maximum, strict=True))


@dataclass(frozen=True)
class Batches:
    """How many images go into one call: 1 to `maximum`, most often `optimum`."""

    optimum: int = 8
    maximum: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.optimum <= self.maximum:
            raise BackendError(f"expected 1 <= optimum <= maximum images in a batch, found {self}")


def profiles_for(
    rule: ResizeRule, batches: Batches, shapes: Mapping[tuple[int, int], int] | None = None
) -> tuple[Profile, ...]:
    """Profiles that hold whatever `rule` gives: four or five for the longest side, one for a fixed size, and one an
    octave of heights for an area.

    shapes: how many images have which (height, width) after the resize. They decide where one profile ends and the
    next begins, so that each serves as many images, and each optimum, the middle one of its images. Without them
    the usual shapes of people stand in.
    """
    if isinstance(rule, FixedSize):
        size = rule.height, rule.width
        return (Profile((1, *size), (batches.optimum, *size), (batches.maximum, *size)),)
    if isinstance(rule, Area):
        return _octaves(rule, batches, shapes or {})
    if not isinstance(rule, LongestSide):
        raise BackendError(f"no TensorRT profiles are defined for the resize rule {rule}: use device 'cuda'")
    longest = rule.size
    upright: Counter[int] = Counter()
    lying: Counter[int] = Counter()
    for (height, width), count in (shapes or {}).items():
        if height == longest and 1 <= width <= longest:
            upright[width] += count
        elif width == longest and 1 <= height < longest:
            lying[height] += count
        else:
            raise BackendError(f"{height}x{width} is no shape that {rule} gives")
    ranges = _ranges(upright, lying, longest)
    upright_profiles = (
        Profile((1, longest, low), (batches.optimum, longest, best), (batches.maximum, longest, high))
        for low, best, high in ranges[0]
    )
    lying_profiles = (
        Profile((1, low, longest), (batches.optimum, best, longest), (batches.maximum, high, longest))
        for low, best, high in ranges[1]
    )
    return (*upright_profiles, *lying_profiles)


def _octaves(rule: Area, batches: Batches, shapes: Mapping[tuple[int, int], int]) -> tuple[Profile, ...]:
    """Heights of one octave have widths of one octave: the largest batch has about twice the usual pixels, or three
    times where a side is a few steps.

    An octave's optimum is the shape that most of its pictures have, or else the one in its middle.
    """
    step, longest = rule.step, rule.step * max(1, rule.pixels // rule.step**2)

    def to_integer(length: float, up: bool) -> int:
        return step * min(max(1, math.ceil(length / step) if up else int(length / step)), longest // step)

    profiles = []
    top = longest
    while top >= step:
        # Down from the longest: the first range ends where the square root of the pixels is an octave's end too.
        octave = math.floor(math.log2(top / math.sqrt(rule.pixels)) - 1e-9)
        low = min(top, max(step, step * (int(math.sqrt(rule.pixels) * 2**octave / step) + 1)))
        narrow = to_integer(rule.pixels / (top + step / 2) - step / 2, up=False)
        wide = to_integer(rule.pixels / max(step / 2, low - step / 2) + step / 2, up=True)
        inside = {shape: count for shape, count in shapes.items() if low <= shape[0] <= top}
        if inside:
            best = max(inside, key=lambda shape: (inside[shape], shape))
        else:
            middle = math.sqrt(low * top)
            best = rule.shape(max(1, round(middle * middle)), rule.pixels)
        height = min(max(best[0], low), top)
        width = min(max(best[1], narrow), wide)
        if inside and (height, width) != best:
            raise BackendError(f"{best[0]}x{best[1]} is no shape that {rule} gives")
        profiles.append(Profile((1, low, narrow), (batches.optimum, height, width), (batches.maximum, top, wide)))
        top = low - step
    return tuple(profiles)


_Range = tuple[int, int, int]
"""First, optimum and last length of the shorter side."""


def _ranges(upright: Counter[int], lying: Counter[int], longest: int) -> tuple[list[_Range], list[_Range]]:
    """Three ranges for the orientation that has more images, two for the other where it has a fifth of them."""
    total = upright.total() + lying.total()
    if total == 0:
        usual = Counter(range(max(1, int(_USUAL[0] * longest)), int(_USUAL[1] * longest) + 1))
        return _cut(usual, longest, 3), _cut(usual, longest, 1)
    fewer = 2 if 5 * min(upright.total(), lying.total()) >= total else 1
    pieces = (3, fewer) if upright.total() >= lying.total() else (fewer, 3)
    return _cut(upright, longest, pieces[0]), _cut(lying, longest, pieces[1])


def _cut(sides: Counter[int], longest: int, pieces: int) -> list[_Range]:
    """1 to `longest` in ranges of equally many images; a length that fills more than one has a range of its own."""
    ends = {_quantile(sides, piece / pieces) for piece in range(1, pieces)} if sides else set()
    if len(ends) < pieces - 1:
        ends |= {end - 1 for end in ends}
    ranges = []
    low = 1
    for high in sorted(end for end in ends | {longest} if end >= 1):
        inside = Counter({side: count for side, count in sides.items() if low <= side <= high})
        ranges.append((low, _quantile(inside, 0.5) if inside else (low + high) // 2, high))
        low = high + 1
    return ranges


def _quantile(sides: Counter[int], part: float) -> int:
    """The smallest side that at least this part of the images does not exceed."""
    lengths = sorted(sides)
    seen = accumulate(sides[length] for length in lengths)
    return next(length for length, count in zip(lengths, seen, strict=True) if count >= part * sides.total())
