"""The gate at many sizes and batches: an artefact gives the vectors of its reference, or it is no artefact."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from reid_runtime.agreement import Agreement, Bounds, compare
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.resize import Pixels, resize
from reid_runtime.vectors import UNIT_TOLERANCE, Vectors

Embed = Callable[[Pixels], Vectors]
"""(N, H, W, 3) uint8 RGB to (N, D) float32 of unit length."""
Probe = tuple[str, Pixels]
"""A name for messages, and a batch (N, H, W, 3) uint8 RGB."""

SIZES = ((33, 33), (64, 32), (97, 41), (256, 128), (128, 256), (416, 208), (301, 167), (1, 96), (640, 512))
"""Heights and widths of the check: portrait, landscape, square, odd, one pixel, and far from any training size."""
BATCHES = (1, 2, 7)


class ParityError(ReidRuntimeError):
    """An artefact that does not give the reference's vectors, with the size and the measure that failed."""


def probes(
    sizes: Iterable[tuple[int, int]] = SIZES, batches: Sequence[int] = BATCHES, seed: int = 0
) -> Iterator[Probe]:
    """(name, batch) for every size and batch size: smooth colour fields under noise, every image another."""
    random = np.random.default_rng(seed)
    for height, width in sizes:
        for count in batches:
            coarse = random.uniform(0, 255, (count, 5, 5, 3))
            rows = np.linspace(0, 4, height).round().astype(int)
            columns = np.linspace(0, 4, width).round().astype(int)
            noisy = coarse[:, rows][:, :, columns] + random.normal(0, 25, (count, height, width, 3))
            yield f"{count} of {height}x{width}", noisy.clip(0, 255).astype(np.uint8)


def crop_probes(crops: Sequence[Pixels]) -> Iterator[Probe]:
    """(name, batch) for every size and batch size, made of crops: for artefacts that are made for what people look
    like, and round noise in other ways. At least one crop; few of them are used again and again.
    """
    order = np.random.default_rng(0).permutation(len(crops))  # neighbours in a folder are often of one person
    first = 0
    for size in SIZES:
        for count in BATCHES:
            chosen = [crops[order[(first + row) % len(crops)]] for row in range(count)]
            first += count
            yield f"{count} of {size[0]}x{size[1]}", np.stack([resize(crop, size) for crop in chosen])


def require_parity(
    reference: Embed, candidate: Embed, bounds: Bounds, over: Iterable[Probe] | None = None
) -> Agreement:
    """The worst agreement over all probes; raises ParityError at the first probe that is out of bounds.

    It also raises where the reference itself cannot be judged by: where it fails, gives no unit vectors, or tells
    the probes apart by so little that an artefact which ignored its input would pass.
    """
    worst = Agreement(rows=0, worst_cosine=1.0, largest_difference=0.0, rank_agreement=1.0)
    seen_vectors = []
    for name, batch in probes() if over is None else over:
        expected = _vectors("the reference", reference, name, batch)
        actual = _vectors("the artefact", candidate, name, batch)
        if expected.ndim != 2 or len(expected) != len(batch):
            raise ParityError(f"the reference gives {expected.shape} for {name}, expected ({len(batch)}, D)")
        if actual.shape != expected.shape:
            raise ParityError(f"the artefact gives {actual.shape} for {name}, the reference {expected.shape}")
        require_unit(expected, f"the reference's for {name}")
        seen = compare(expected, actual)
        require_within(bounds, seen, name)
        require_unit(actual, f"the artefact's for {name}")
        seen_vectors.append(expected)
        worst = Agreement(
            rows=worst.rows + seen.rows,
            worst_cosine=min(worst.worst_cosine, seen.worst_cosine),
            largest_difference=max(worst.largest_difference, seen.largest_difference),
            rank_agreement=min(worst.rank_agreement, seen.rank_agreement),
        )
    require_distinct(np.concatenate(seen_vectors), bounds)
    return worst


def require_within(bounds: Bounds, seen: Agreement, name: str) -> None:
    """Raises ParityError, naming what was compared, where the agreement is out of bounds."""
    if not bounds.hold(seen):
        raise ParityError(
            f"the artefact differs from the reference on {name}: cosine {seen.worst_cosine:.7f}, expected at "
            f"least {bounds.min_cosine}; largest difference {seen.largest_difference:.2e}, expected at most "
            f"{bounds.max_difference:.0e}"
        )


def require_unit(vectors: Vectors, whose: str) -> None:
    """Raises ParityError where a vector is not of unit length; a NaN is not."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))
    if wrong.size:
        raise ParityError(f"expected vectors of unit length, {whose} have {lengths[wrong[0]]:.4f} in row {wrong[0]}")


def require_distinct(vectors: Vectors, bounds: Bounds) -> None:
    """Raises ParityError where one and the same vector would be within bounds of all the reference's, two or more."""
    if len(vectors) < 2:
        return
    apart = float(np.abs(vectors - vectors[0]).max())
    nearest = float((vectors @ vectors[0]).min())
    # If some vector has at least the cosine b to two others, these two have at least 2 b^2 - 1 to each other.
    if apart <= 2 * bounds.max_difference and nearest >= 2 * bounds.min_cosine**2 - 1:
        raise ParityError(
            f"the reference tells its {len(vectors)} inputs apart by too little to judge by: least cosine "
            f"{nearest:.7f}, largest difference {apart:.2e}; one vector for all of them would pass. Does the model "
            "look at its input, is it trained?"
        )


def _vectors(whose: str, embed: Embed, name: str, batch: Pixels) -> Vectors:
    try:
        return embed(batch)
    except ReidRuntimeError as error:
        raise ParityError(f"{whose} fails on {name}: {error}") from error
