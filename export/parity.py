"""The gate: an artefact gives the vectors that torch gives, at many sizes and batches, or it is no artefact."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.agreement import Agreement, compare
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.resize import Pixels

Embed = Callable[[Pixels], npt.NDArray[np.float32]]
"""(N, H, W, 3) uint8 RGB to (N, D) float32 of unit length."""

SIZES = ((33, 33), (64, 32), (97, 41), (256, 128), (128, 256), (416, 208), (301, 167), (1, 96), (640, 512))
"""Heights and widths of the check: portrait, landscape, square, odd, one pixel, and far from any training size."""
BATCHES = (1, 2, 7)


class ParityError(ReidRuntimeError):
    """An artefact that does not give the reference's vectors, with the size and the measure that failed."""


@dataclass(frozen=True)
class Bounds:
    """What a gate allows."""

    cosine: float
    difference: float


FLOAT32 = Bounds(cosine=0.99999, difference=2e-5)


def probes(seed: int = 0) -> Iterator[tuple[str, Pixels]]:
    """(name, batch) for every size and batch size: smooth colour fields under noise, every image another."""
    random = np.random.default_rng(seed)
    for height, width in SIZES:
        for count in BATCHES:
            coarse = random.uniform(0, 255, (count, 5, 5, 3))
            rows = np.linspace(0, 4, height).round().astype(int)
            columns = np.linspace(0, 4, width).round().astype(int)
            noisy = coarse[:, rows][:, :, columns] + random.normal(0, 25, (count, height, width, 3))
            yield f"{count} of {height}x{width}", noisy.clip(0, 255).astype(np.uint8)


def require_parity(reference: Embed, candidate: Embed, bounds: Bounds) -> Agreement:
    """The worst agreement over all probes; raises ParityError at the first probe that is out of bounds."""
    worst = Agreement(rows=0, worst_cosine=1.0, largest_difference=0.0, rank_agreement=1.0)
    for name, batch in probes():
        expected = reference(batch)
        try:
            found = candidate(batch)
        except ReidRuntimeError as error:
            raise ParityError(f"the artefact fails on {name}, which the reference embeds: {error}") from error
        if found.shape != expected.shape:
            raise ParityError(f"the artefact gives {found.shape} for {name}, the reference {expected.shape}")
        seen = compare(expected, found)
        # Written so that a NaN fails.
        if not (seen.worst_cosine >= bounds.cosine and seen.largest_difference <= bounds.difference):
            raise ParityError(
                f"the artefact differs from the reference on {name}: cosine {seen.worst_cosine:.7f}, expected at "
                f"least {bounds.cosine}; largest difference {seen.largest_difference:.2e}, expected at most "
                f"{bounds.difference:.0e}"
            )
        worst = Agreement(
            rows=worst.rows + seen.rows,
            worst_cosine=min(worst.worst_cosine, seen.worst_cosine),
            largest_difference=max(worst.largest_difference, seen.largest_difference),
            rank_agreement=min(worst.rank_agreement, seen.rank_agreement),
        )
    return worst
