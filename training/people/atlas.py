"""The light and dark of the assets' textures, without their colours: folds, seams, strands, the features of a face."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.people import rasteriser
from training.people.garment import DETAIL, Garment
from training.people.rasteriser import Bytes

ONE = 128
"""The factor 1 in a map of light and dark."""


def cloth_detail(garment: Garment, half: int, texture: Bytes) -> tuple[Bytes, Bytes]:
    """What of a garment's texture is kept when it is dyed.

    Args:
        garment: whose atlas the texture is.
        half: 0 top, 1 bottom: each has its own middle.
        texture: (h, w, 4) RGBA.

    Returns:
        (256, 256, 4) factors and opacity; (256, 256) 1 where stripes, collars and the like have a colour of their own.
    """
    if half not in garment.details:
        small = np.array(Image.fromarray(texture).resize((DETAIL, DETAIL), Image.Resampling.BOX))
        rows = garment.triangles(half)
        used = rasteriser.charted(garment.uv, np.ascontiguousarray(garment.uv_faces[rows]), DETAIL, DETAIL)
        used &= small[..., 3] > 100
        detail, trim = _detail(small, used)
        if garment.kind == "suit" and half == 0:
            trim[:] = 0  # an emblem is among it, which nobody's shirt should show
        garment.details[half] = detail, trim
    return garment.details[half]


def _detail(texture: Bytes, used: npt.NDArray[np.bool_]) -> tuple[Bytes, Bytes]:
    grey = texture[..., :3].astype(np.int64).sum(axis=2) / 3
    trim = np.zeros(grey.shape, np.uint8)
    if not used.any():
        return _factors(np.ones_like(grey), texture[..., 3]), trim
    tint = texture[..., :3] / (grey[..., None] + 20)
    odd = np.abs(tint - np.median(tint[used], axis=0)).sum(axis=2) > 0.55
    share = float(odd[used].mean())
    middle = max(float(np.median(grey[used])), 16.0)
    factor = grey / middle
    if 0.004 < share < 0.4:
        trim[odd & used] = 1
        own = max(float(np.median(grey[used & odd])), 16.0)
        factor = np.where(odd, grey / own, factor)
    return _factors(np.clip(factor, 0.5, 1.4), texture[..., 3]), trim


def _factors(factor: npt.NDArray[np.float64], opacity: Bytes) -> Bytes:
    value = np.clip(np.round(factor * ONE), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.dstack([value, value, value, opacity]))


def hair_detail(texture: Bytes) -> Bytes:
    """(256, 256, 4) strands and holes of a texture of hair."""
    # Opacity is taken by its nearest sample: means of it would close the holes between strands.
    small = np.array(Image.fromarray(texture).resize((DETAIL, DETAIL), Image.Resampling.BOX))
    small[..., 3] = np.array(Image.fromarray(texture[..., 3]).resize((DETAIL, DETAIL), Image.Resampling.NEAREST))
    grey = small[..., :3].astype(np.int64).sum(axis=2) / 3
    used = small[..., 3] > 100
    middle = max(float(np.median(grey[used])), 12.0) if used.any() else 128.0
    return _factors(np.clip(grey / middle, 0.4, 1.8), small[..., 3])


def skin_detail(texture: Bytes) -> Bytes:
    """(512, 512, 4) how a skin differs from its own middle: eyes, lips, brows. The colour itself is not kept."""
    colour = texture[..., :3].astype(np.float64)
    middle = np.median(colour.reshape(-1, 3), axis=0)
    factor = np.clip(colour / np.maximum(middle, 20), 0.12, 1.5)
    value = np.clip(np.round(factor * ONE), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.dstack([value, np.full(value.shape[:2], 255, np.uint8)]))


def textures(folder: Path) -> list[Path]:
    """The diffuse textures of a garment's folder."""
    return [
        path
        for path in sorted(folder.glob("*.*"))
        if path.suffix in (".png", ".jpg") and not any(word in path.name for word in ("displacement", "normal"))
    ]
