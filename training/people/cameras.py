"""Cameras: where each hangs, what it sees of a person, and what its sensor and encoder do."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.people import rasteriser
from training.people.formats import rotation
from training.people.rasteriser import Floats, Lens, Light

SITE = 50
"""People of so many successive seeds are seen by the same cameras."""


@dataclass(frozen=True)
class Camera:
    """What all views of one camera have in common."""

    key: tuple[int, int]
    """Site and number: scenery follows from it."""
    height: float
    """Decimetres above the ground."""
    distance: float
    """To the people, decimetres, in the middle."""
    tint: tuple[float, float, float]
    exposure: float
    contrast: float
    lift: float
    saturation: float
    pixels: float
    """How high a person's box is, in the middle."""
    blur: float
    noise: float
    quality: int
    """Of its JPEG."""
    indoor: bool


def camera(seed: int, number: int) -> Camera:
    """The camera of this number, from 0, at the site of a person's seed."""
    site = seed // SITE
    rng = np.random.default_rng([site, number, 77])
    height = float(rng.choice([rng.uniform(13, 20), rng.uniform(22, 42), rng.uniform(42, 75)], p=[0.35, 0.5, 0.15]))
    warm = float(rng.normal(0, 0.055))
    green = float(rng.normal(0, 0.03))
    return Camera(
        key=(site, number),
        height=height,
        distance=float(rng.uniform(45, 170)),
        tint=(1 + warm, 1 + green, 1 - warm),
        exposure=float(rng.normal(0, 0.22)),
        contrast=float(rng.uniform(0.85, 1.18)),
        lift=float(rng.uniform(-0.02, 0.05)),
        saturation=float(rng.uniform(0.6, 1.02)),
        pixels=float(rng.choice([240.0, 190.0, 128.0, 84.0], p=[0.4, 0.3, 0.2, 0.1])),
        blur=float(rng.choice([0.0, 0.5, 0.9], p=[0.5, 0.35, 0.15])),
        noise=float(rng.choice([0.6, 2.0, 5.0], p=[0.5, 0.35, 0.15])),
        quality=int(rng.integers(55, 96)),
        indoor=bool(rng.random() < 0.4),
    )


def aimed(camera: Camera, rng: np.random.Generator) -> Lens:
    """A lens at its place, aimed at somebody who stands at the origin; one pixel is one unit of the image plane."""
    distance = camera.distance * float(rng.uniform(0.6, 1.5))
    aim = float(rng.uniform(6, 11))
    pitch = float(np.arctan2(camera.height - aim, distance))
    roll = float(rng.normal(0, 0.015))
    # At the origin people look along +z, towards the camera; its own right is then the person's left.
    across = rotation("z", roll)
    forward = np.array([0, -np.sin(pitch), -np.cos(pitch)])
    right, up = np.array([1.0, 0, 0]), np.array([0, np.cos(pitch), -np.sin(pitch)])
    turned = across[:2, :2] @ np.stack([right, up])
    turn = np.concatenate([turned, forward[None]]).round(7)
    return Lens((*turn.ravel(),), (0.0, camera.height, round(distance, 4)), 1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Box:
    """The crop within the image plane of a lens of focal length 1, and its size in pixels."""

    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int

    def framed(self, lens: Lens) -> Lens:
        """The lens whose image is the crop."""
        focal = self.height / (self.bottom - self.top)
        return Lens(lens.turn, lens.at, focal, -self.left * focal, -self.top * focal)


def boxed(points: Floats, camera: Camera, rng: np.random.Generator, largest: int) -> Box:
    """The box of a detector, mostly good, around points of the image plane.

    Args:
        points: (V, 3) projected with focal length 1.
        camera: how large its people are.
        rng: the view's generator.
        largest: the greatest height, in pixels.

    Returns:
        The box.
    """
    low, high = points[:, :2].min(axis=0).astype(np.float64), points[:, :2].max(axis=0).astype(np.float64)
    wide, tall = high - low
    left, right = rng.uniform(0.0, 0.14, 2) * wide
    top, bottom = rng.uniform(0.0, 0.06, 2) * tall
    draw = rng.random()
    if draw < 0.12:  # a loose box
        left, right = rng.uniform(0.05, 0.5, 2) * wide
        top, bottom = rng.uniform(0.0, 0.15, 2) * tall
    elif draw < 0.2:  # the legs are cut off
        bottom = -float(rng.uniform(0.08, 0.4)) * tall
    elif draw < 0.24:  # the head is
        top = -float(rng.uniform(0.03, 0.12)) * tall
    elif draw < 0.3:  # a side is
        if rng.random() < 0.5:
            left = -float(rng.uniform(0.08, 0.3)) * wide
        else:
            right = -float(rng.uniform(0.08, 0.3)) * wide
    x0, x1 = low[0] - left, high[0] + right
    y0, y1 = low[1] - top, high[1] + bottom
    if draw > 0.7 and x1 - x0 < 0.4 * (y1 - y0):  # many detectors and data sets pad to about 1 to 2
        spare = float(rng.uniform(0.38, 0.52)) * (y1 - y0) - (x1 - x0)
        share = float(rng.uniform(0.3, 0.7))
        x0, x1 = x0 - spare * share, x1 + spare * (1 - share)
    height = int(np.clip(round(camera.pixels * float(np.exp(rng.normal(0, 0.18)))), 48, largest))
    width = int(np.clip(round(height * (x1 - x0) / (y1 - y0)), 16, 2 * largest))
    spare = width / height * (y1 - y0) - (x1 - x0)  # pixels are square: whole columns take a little more or less
    return Box(x0 - spare / 2, y0, x1 + spare / 2, y1, width, height)


@dataclass(frozen=True)
class Weather:
    """The light of one view."""

    azimuth: float
    elevation: float
    sun: tuple[float, float, float]
    soft: tuple[tuple[float, float, float], ...]
    """Six: from x, -x, y, -y, z, -z."""


def weather(camera: Camera, rng: np.random.Generator) -> Weather:
    """Light by chance: under a roof from above and soft, outside sun or clouds."""
    if camera.indoor:
        elevation, power = float(rng.uniform(0.9, 1.4)), float(rng.uniform(0.1, 0.5))
        warm = float(rng.normal(0.02, 0.05))
    else:
        elevation = float(rng.uniform(0.35, 1.2))
        power = float(rng.choice([rng.uniform(0, 0.25), rng.uniform(0.4, 1.3)], p=[0.45, 0.55]))
        warm = float(rng.normal(0.05, 0.05)) if power > 0.3 else 0.0
    level = float(rng.uniform(0.45, 0.65))
    soft = []
    for side, share in enumerate((1.0, 1.0, 1.35, 0.55, 1.0, 1.0)):
        amount = level * share * (float(rng.uniform(0.65, 1.35)) if side not in (2, 3) else 1)
        cool = float(rng.normal(0, 0.03)) - (0.04 if side == 2 and not camera.indoor else 0)
        soft.append((amount * (1 + cool), amount, amount * (1 - cool)))
    sun = (power * (1 + warm), power, power * (1 - warm))
    return Weather(float(rng.uniform(0, 2 * np.pi)), elevation, sun, tuple(soft))


def lit(weather: Weather, centre: npt.NDArray[np.float64], radius: float, depth: Floats) -> Light:
    """The light around what stands at `centre`; `depth` (size, size) is the sun's view, to be filled."""
    e, a = weather.elevation, weather.azimuth
    towards = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    across = np.array([np.cos(a), 0, -np.sin(a)])
    up = np.cross(towards, across)
    soft = [round(value, 6) for side in weather.soft for value in side]
    rounded = [tuple(float(x) for x in vector.round(7)) for vector in (towards, across, up)]
    return Light(
        rounded[0], tuple(round(x, 6) for x in weather.sun), tuple(soft), rounded[1], rounded[2],
        tuple(float(x) for x in centre.round(4)), round(radius, 4), len(depth), rasteriser.address(depth),
    )  # fmt: skip
