"""What is behind people: photographs of places, and streets and rooms of our own in the camera's perspective."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.people import rasteriser
from training.people.assets import Assets
from training.people.cameras import Camera
from training.people.patterns import smooth_noise
from training.people.rasteriser import Bytes, Floats, Lens, Light, Plane

TILE = 256
"""Side of the textures of floors and walls."""
Texture = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """A floor, walls behind, and the sky's colour."""

    planes: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float, Floats], ...]
    """A point, the normal, decimetres that a texture is wide, (256, 256, 3) texture in linear light."""
    sky: tuple[float, float, float]


class Scenery:
    """The backgrounds of all cameras."""

    def __init__(self, assets: Assets) -> None:
        self._photographs: dict[str, list[Path]] = {}
        for path in assets.files("backgrounds/*/*.jpg"):
            if not path.stem.endswith("_pano"):
                self._photographs.setdefault(path.stem.rsplit("_", 1)[0], []).append(path)
        self.photograph = lru_cache(64)(_photograph)
        self.surfaces = lru_cache(64)(surfaces)

    def behind(
        self, camera: Camera, rng: np.random.Generator, lens: Lens, light: Light, size: tuple[int, int], feet: Floats
    ) -> tuple[Floats, str]:
        """The background of one view.

        Args:
            camera: what it is seen by.
            rng: the view's generator.
            lens: frames the crop.
            light: of the scene, with what casts shadows.
            size: width and height in pixels.
            feet: (N, 2) where on the ground it is dark because somebody stands there.

        Returns:
            (H, W, 3) linear light, and what it is.
        """
        width, height = size
        shares = rasteriser.ground(width, height, lens, light, feet)
        fixed = np.random.default_rng([*camera.key, 88])
        if fixed.random() < 0.5:
            names = list(self._photographs)
            name = names[fixed.integers(len(names))]
            files = self._photographs[name]
            # A photograph has one place for all; each camera looks at a part of it, each view near there.
            path = files[fixed.integers(len(files))] if rng.random() < 0.7 else files[rng.integers(len(files))]
            image = _window(self.photograph(path), fixed, rng, width, height)
            total = sum(light.sun[k] + light.ambient[6 + k] for k in range(3))
            sun = sum(light.sun[k] for k in range(3)) / max(total, 1e-6)
            share = (1 - sun * (1 - shares[..., 0])) * shares[..., 1]
            return np.ascontiguousarray(image * share[..., None], np.float32), name
        scene = self.surfaces(camera.key, camera.indoor)
        image = np.empty((height, width, 3), np.float32)
        image[:] = scene.sky
        structs = [
            Plane(point, normal, across(normal), scale, TILE, rasteriser.address(texture))
            for point, normal, scale, texture in scene.planes
        ]
        rasteriser.planes(image, lens, light, structs)
        return image * shares[..., 1:], "indoor" if camera.indoor else "street"


def across(normal: tuple[float, float, float]) -> tuple[float, float, float]:
    """A horizontal direction within a plane: x on the floor."""
    x, _, z = normal
    length = float(np.sqrt(x * x + z * z))
    return (1.0, 0.0, 0.0) if length < 0.5 else (z / length, 0.0, -x / length)


def _photograph(path: Path) -> Bytes:
    return np.asarray(Image.open(path).convert("RGB"))


def _window(image: Bytes, fixed: np.random.Generator, rng: np.random.Generator, width: int, height: int) -> Floats:
    """A part of a photograph, scaled to the crop, mirrored and toned by the camera; linear light."""
    mirror, tone = fixed.random() < 0.5, fixed.uniform(0.85, 1.15, 3)
    image = image[:, ::-1] if mirror else image
    tall = min(image.shape[0] * float(rng.uniform(0.35, 0.95)), image.shape[1] * height / width)
    wide = tall * width / height
    left = float(rng.random()) * (image.shape[1] - wide)
    top = float(rng.random()) * (image.shape[0] - tall)
    box = (round(left, 2), round(top, 2), round(left + wide, 2), round(top + tall, 2))
    part = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(rasteriser.linear(np.array(part)) * (tone * float(rng.uniform(0.8, 1.2))), np.float32)


def surfaces(key: tuple[int, int], indoor: bool) -> Surfaces:
    """Floor and walls of a camera by chance."""
    rng = np.random.default_rng([*key, 99])
    floor = _floor(rng, indoor)
    planes = [((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), float(rng.uniform(12, 45)), _texture(floor))]
    count = int(rng.choice([0, 1, 2], p=[0.1, 0.45, 0.45])) if not indoor else int(rng.choice([1, 2]))
    for k in range(count):
        angle = float(rng.uniform(-0.6, 0.6)) if k == 0 else float(rng.choice([-1, 1]) * rng.uniform(0.9, 1.35))
        away = float(rng.uniform(8, 70)) if k == 0 else float(rng.uniform(15, 60))
        normal = (round(float(np.sin(angle)), 6), 0.0, round(float(np.cos(angle)), 6))
        point = (-normal[0] * away, 0.0, -normal[2] * away)
        planes.append((point, normal, float(rng.uniform(25, 60)), _texture(_wall(rng, indoor))))
    tint = rng.uniform(0.5, 1.0)
    sky = (round(0.55 * tint, 4), round(0.62 * tint, 4), round(0.72 * tint, 4))
    return Surfaces(tuple(planes), sky)


def _texture(image: Texture) -> Floats:
    return rasteriser.linear(np.ascontiguousarray(np.clip(np.round(image), 0, 255), np.uint8))


def _muted(rng: np.random.Generator, low: float, high: float, colourful: float = 7) -> Texture:
    return np.asarray(np.clip(rng.uniform(low, high) + rng.normal(0, colourful, 3), 10, 245))


def _rough(rng: np.random.Generator, colour: Texture, strength: float) -> Texture:
    """A colour with stains and grain."""
    stains = smooth_noise(rng, 4, TILE) + 0.6 * smooth_noise(rng, 16, TILE)
    grain = rng.integers(-100, 101, (TILE, TILE)) / 100
    return np.asarray(colour + (stains * strength + grain * strength * 0.4)[..., None])


def _floor(rng: np.random.Generator, indoor: bool) -> Texture:
    """Asphalt, slabs, tiles, boards, carpet or grass."""
    y, x = np.mgrid[:TILE, :TILE]
    if not indoor and rng.random() < 0.15:
        image = _rough(rng, np.array([88, 104, 58]) * rng.uniform(0.7, 1.2), 26)
    else:
        image = _rough(rng, _muted(rng, 75, 185), float(rng.uniform(4, 14)))
    if rng.random() < 0.65:
        period = int(rng.choice([16, 32, 64, 128]))
        long = period * int(rng.choice([1, 2]))
        row = y // period
        shift = (row % 2) * (long // 2) if rng.random() < 0.5 else 0
        tone = rng.normal(0, 7, (TILE // period, TILE // long + 1))
        image += tone[row % len(tone), ((x + shift) // long) % tone.shape[1]][..., None]
        joint = (y % period < 1) | ((x + shift) % long < 1)
        image[joint] += float(rng.choice([-30, 25]))
    if not indoor and rng.random() < 0.25:  # a painted line
        at = int(rng.integers(0, TILE - 14))
        image[:, at : at + int(rng.integers(4, 14))] = rng.uniform(185, 230)
    return image


def _wall(rng: np.random.Generator, indoor: bool) -> Texture:
    """Plaster, bricks, panels or hedge, with windows, doors, shelves or posters; its foot is at the lower edge."""
    y, x = np.mgrid[:TILE, :TILE]
    up = TILE - 1 - y
    image = _rough(rng, _muted(rng, 70, 215, 9), float(rng.uniform(2, 10)))
    kind = rng.choice(["plaster", "bricks", "panels", "hedge"], p=[0.4, 0.25, 0.25, 0.1])
    if kind == "hedge" and not indoor:
        image = _rough(rng, np.array([58, 78, 44]) * rng.uniform(0.7, 1.3), 30)
        image += (smooth_noise(rng, 32, TILE) * 25)[..., None]
    elif kind == "bricks":
        period = int(rng.choice([8, 16]))
        row = y // period
        shift = (row % 2) * period
        tone = rng.normal(0, 12, (TILE // period, TILE // (2 * period)))
        image += tone[row, ((x + shift) // (2 * period)) % tone.shape[1]][..., None]
        image[(y % period < 1) | ((x + shift) % (2 * period) < 1)] += 30
    elif kind == "panels":
        period = int(rng.choice([32, 64]))
        image += rng.normal(0, 9, TILE // period)[x // period][..., None]
        image[x % period < 2] -= 28
    for _ in range(int(rng.integers(0, 6))):
        _opening(rng, image, indoor)
    if rng.random() < 0.5:
        image[up < rng.integers(3, 24)] = _muted(rng, 40, 150)
    return image


def _opening(rng: np.random.Generator, image: Texture, indoor: bool) -> None:
    """A window, a door, a shelf or a poster on a wall."""
    what = rng.choice(["window", "door", "poster", "shelf"] if indoor else ["window", "window", "door", "poster"])
    wide, tall = int(rng.integers(20, 70)), int(rng.integers(24, 80))
    left = int(rng.integers(0, TILE - wide))
    low = 0 if what == "door" else int(rng.integers(10, 120))
    tall = int(rng.integers(90, 125)) if what == "door" else tall
    top = TILE - low - tall
    if top < 2:
        return
    frame = _muted(rng, 40, 225)
    image[top : top + tall, left : left + wide] = frame
    inner = (slice(top + 3, top + tall - (0 if what == "door" else 3)), slice(left + 3, left + wide - 3))
    shape = image[inner].shape
    if what == "window":
        glass = _muted(rng, 35, 150, 10) + np.linspace(25, -15, shape[0])[:, None, None]
        image[inner] = glass + (smooth_noise(rng, 8, TILE)[: shape[0], : shape[1]] * 22)[..., None]
        image[top : top + tall, left + wide // 2] = frame
    elif what == "shelf":
        for row in range(0, shape[0] - 8, 12):
            for column in range(0, shape[1] - 4, 6):
                cell = (slice(top + 3 + row, top + 13 + row), slice(left + 3 + column, left + 8 + column))
                image[cell] = rng.uniform(30, 225, 3)
    else:
        image[inner] = _muted(rng, 40, 210, 35)
        if what == "poster":
            half = shape[0] // 2
            image[top + 3 : top + 3 + half, left + 3 : left + wide - 3] = _muted(rng, 30, 230, 50)
