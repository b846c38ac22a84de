"""Cloth: patterns of our own and patches of real fabrics, as images that repeat."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.people import colours
from training.people.assets import Assets
from training.people.colours import Colour
from training.people.rasteriser import Bytes

SIDE = 128
PATCHES = {
    "top": ("t-shirt", "longsleeve", "shirt", "dress"),
    "bottom": ("pants", "skirt", "shorts"),
    "coat": ("outwear",),
}
MOTIFS = frozenset({"t-shirt", "longsleeve", "outwear", "pants"})
"""Classes whose patches may show lettering, badges or the gap between two legs: even ones alone are taken."""


def plain(colour: Colour) -> Bytes:
    """Nothing but a colour."""
    return np.full((4, 4, 3), np.round(colour), np.uint8)


def woven(rng: np.random.Generator, shares: npt.NDArray[np.float64]) -> Bytes:
    """A pattern of our own, (128, 128, 3): stripes, checks, dots, melange, camouflage, blocks."""
    first, second, third = (colours.cloth(rng, shares, 0.12) for _ in range(3))
    kind = rng.choice(
        ["melange", "stripes", "checks", "dots", "spots", "pinstripes"], p=[0.3, 0.25, 0.2, 0.1, 0.1, 0.05]
    )
    base = np.broadcast_to(np.array(first), (SIDE, SIDE, 3)).copy()
    y, x = np.mgrid[:SIDE, :SIDE]
    if kind == "melange":
        noise = rng.integers(-30, 31, (SIDE, SIDE)) * float(rng.uniform(0.2, 1))
        base += noise[..., None]
    elif kind == "stripes":
        period = int(rng.choice([16, 32, 64]))
        width = int(rng.integers(2, period - 1))
        base[(y % period) < width] = second
        if rng.random() < 0.3:
            base[((y + period // 2) % period) < max(2, width // 3)] = third
    elif kind == "pinstripes":
        base[(x % 8) < 1] = second
    elif kind == "checks":
        period = int(rng.choice([16, 32, 64]))
        width = int(rng.integers(period // 4, period * 3 // 4))
        for stripe in ((y % period) < width, (x % period) < width):
            base[stripe] = (base[stripe] + np.array(second)) / 2
        thin = ((y % period) == 0) | ((x % period) == 0)
        base[thin] = third
    elif kind == "dots":
        period = int(rng.choice([8, 16, 32]))
        shift = (y // period % 2) * (period // 2)
        away = ((x + shift) % period - period / 2) ** 2 + (y % period - period / 2) ** 2
        base[away < (period * float(rng.uniform(0.15, 0.4))) ** 2] = second
    else:
        blobs = smooth_noise(rng, int(rng.choice([8, 16])))
        base[blobs > 0.1] = second
        base[blobs < -0.25] = third
    return np.clip(np.round(base), 0, 255).astype(np.uint8)


def printed(rng: np.random.Generator, shares: npt.NDArray[np.float64]) -> Bytes:
    """A shirt that is laid out around the body, (256, 256, 3): a print on the chest, a band, or two halves."""
    ground, ink, more = (colours.cloth(rng, shares, 0.1) for _ in range(3))
    image = np.broadcast_to(np.array(ground), (256, 256, 3)).copy()
    y, x = np.mgrid[:256, :256]
    kind = rng.choice(["print", "band", "yoke", "back"])
    if kind in ("print", "back"):
        centre = 128 if kind == "print" else 0
        away = np.abs((x - centre + 128) % 256 - 128)
        inside = (away < rng.integers(10, 26)) & (np.abs(y - rng.integers(56, 76)) < rng.integers(5, 22))
        ragged = smooth_noise(rng, 32, 256) + 0.25
        image[inside & (ragged > 0)] = ink
        image[inside & (ragged > 0.5)] = more
    elif kind == "band":
        top = rng.integers(50, 95)
        image[top : top + rng.integers(5, 26)] = ink
        if rng.random() < 0.5:
            image[top - 5 : top] = more
    else:
        image[: rng.integers(52, 72)] = ink
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def smooth_noise(rng: np.random.Generator, cells: int, side: int = SIDE) -> npt.NDArray[np.float64]:
    """(side, side) noise of -1 to 1 that repeats, with `cells` bumps across."""
    coarse = rng.integers(-1000, 1001, (cells, cells)) / 1000
    at = np.arange(side) * cells / side
    low = at.astype(np.int64)
    share = at - low
    share = share * share * (3 - 2 * share)
    high = (low + 1) % cells
    rows = coarse[low] * (1 - share[:, None]) + coarse[high] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, high] * share


class Fabrics:
    """Patches of real cloth by class."""

    def __init__(self, assets: Assets) -> None:
        self._files: dict[str, list[Path]] = {}
        for path in assets.files("fabrics/*.jpg"):
            self._files.setdefault(path.name.rsplit("_", 1)[0], []).append(path)

    def patch(self, rng: np.random.Generator, use: str) -> Bytes:
        """A patch for a 'top', 'bottom' or 'coat', mirrored so that it repeats: (256, 256, 3)."""
        while True:
            kind = str(rng.choice(PATCHES[use]))
            path = self._files[kind][rng.integers(len(self._files[kind]))]
            image = np.asarray(Image.open(path).convert("RGB"))
            if is_cloth(image, even=kind in MOTIFS):
                break
        if rng.random() < 0.5:  # other colours of the same weave
            order = rng.permutation(3)
            image = image[..., order]
        image = np.concatenate([image, image[:, ::-1]], axis=1)
        return np.ascontiguousarray(np.concatenate([image, image[::-1]], axis=0))


def is_cloth(image: Bytes, even: bool) -> bool:
    """Whether a patch is cloth all over: no lettering, no badge, no gap beside it.

    Args:
        image: (128, 128, 3).
        even: True: nothing that stands out is allowed but stripes across; False: a pattern is, if all four
            quarters show the same of it.

    Returns:
        True where it is.
    """
    small = image.reshape(32, 4, 32, 4, 3).astype(np.int64).sum(axis=(1, 3)) // 16
    away = np.abs(small - np.median(small.reshape(-1, 3), axis=0)).max(axis=2)
    if float((away > 34).mean()) < 0.006:
        return True
    if even:
        grey = small.sum(axis=2).astype(np.float64)
        rows = grey.mean(axis=1, keepdims=True)
        left = float(((grey - rows) ** 2).sum())
        return left < 0.12 * float(((grey - grey.mean()) ** 2).sum())
    bins = (small // 64 @ np.array([16, 4, 1])).reshape(2, 16, 2, 16).transpose(0, 2, 1, 3).reshape(4, 256)
    shares = np.stack([np.bincount(quarter, minlength=64) / 256 for quarter in bins])
    return float(np.abs(shares - shares.mean(axis=0)).sum(axis=1).max()) < 0.55
