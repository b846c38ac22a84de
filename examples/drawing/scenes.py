"""The places and cameras of the drawn crops: a floor and a wall in perspective, light, colour cast, blur and noise."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from examples.drawing.figures import palette
from examples.drawing.solids import Floats, Mask, Pixels, Point, blurred

FLOORS = ("slabs", "asphalt", "tiles", "slabs", "platform", "tiles")
WALLS = ("brick", "glass", "panels", "hedge", "shutter", "plaster")
FLOOR_COLOURS = palette("9b968c 5d5e61 b5aa97 8a8f94 807a70 a39b94")
WALL_COLOURS = palette("8a5a48 3a4650 b9b3a6 4a5f3a 7c8288 c2b8a2")


@dataclass(frozen=True)
class Camera:
    """What a camera's pictures have in common; colours are (3,) in 0..1."""

    number: int
    floor: str
    floor_colour: Floats
    wall: str
    wall_colour: Floats
    rise: float
    """How high the camera hangs, in heights of a person."""
    light: Point
    """Where the light comes from: right, up, nearer."""
    sun: float
    """0 for an overcast sky, 1 for hard light."""
    gain: Floats
    """(3,) exposure and colour cast."""
    contrast: float
    vividness: float
    """1 keeps the colours, 0 is grey."""
    softness: float
    """Blur: the deviation, in pixels, of a crop 128 pixels high."""
    noise: float
    """Deviation, in levels of 255."""

    @classmethod
    def of(cls, number: int) -> "Camera":
        """The camera of this number (0 or more); neighbouring numbers look at different places."""
        random = np.random.default_rng((202, number))
        place = number % len(FLOORS)
        warmth = random.uniform(-0.07, 0.07)
        cast = np.array([1 + warmth, 1 + random.uniform(-0.02, 0.03), 1 - warmth])
        return cls(
            number=number,
            floor=FLOORS[place],
            floor_colour=FLOOR_COLOURS[place] * random.uniform(0.85, 1.1),
            wall=WALLS[place],
            wall_colour=WALL_COLOURS[place] * random.uniform(0.85, 1.1),
            rise=float(random.uniform(1.5, 2.3)),
            light=(float(random.choice([-1, 1]) * random.uniform(0.5, 1.2)), 1.0, float(random.uniform(0.2, 0.9))),
            sun=float(random.uniform(0.0, 0.9)),
            gain=cast * random.uniform(0.88, 1.14),
            vividness=float(random.uniform(0.62, 0.9)),
            contrast=float(random.uniform(0.85, 1.08)),
            softness=float(random.uniform(0.25, 0.6)),
            noise=float(random.uniform(1.5, 4.5)),
        )


@dataclass(frozen=True)
class Ground:
    """Where the floor lies in a picture: rows and columns in pixels, distances in heights of a person."""

    horizon: float
    """Row of the eye's height, above the picture more often than not."""
    wall: float
    """Row at which the floor ends and the wall begins."""
    focal: float
    """Pixels that one unit has at distance 1."""
    rise: float
    """The camera's height."""
    aside: float = 0.0
    """How far along the wall the picture's left edge lies."""

    def size(self, row: float) -> float:
        """The height in pixels of a person who stands at this row."""
        return (row - self.horizon) / self.rise

    def distance(self, row: float) -> float:
        """How far off that person is."""
        return self.focal / self.size(row)


def _lattice(number: int, x: Floats, y: Floats) -> Floats:
    """A random value in -1..1 for each whole (x, y), the same for the same number."""
    table = np.random.default_rng((303, number)).uniform(-1, 1, (64, 64))
    values: Floats = table[np.floor(y).astype(int) % 64, np.floor(x).astype(int) % 64]
    return values


def _clouds(number: int, x: Floats, y: Floats) -> Floats:
    """Smooth noise in -1..1 with cells of 1."""
    part_x, part_y = x - np.floor(x), y - np.floor(y)
    part_x, part_y = part_x**2 * (3 - 2 * part_x), part_y**2 * (3 - 2 * part_y)
    upper = _lattice(number, x, y) * (1 - part_x) + _lattice(number, x + 1, y) * part_x
    lower = _lattice(number, x, y + 1) * (1 - part_x) + _lattice(number, x + 1, y + 1) * part_x
    return upper * (1 - part_y) + lower * part_y


def _joint(values: Floats, spacing: float, share: float) -> Mask:
    return np.mod(values, spacing) < spacing * share


def _floor(camera: Camera, x: Floats, y: Floats) -> Floats:
    """(N, 3) colours at N floor points, x along the wall and y away from the camera."""
    n = camera.number
    tone = 1 + 0.05 * _clouds(n, x * 1.7, y * 1.7) + 0.05 * _clouds(n + 1, x * 9, y * 9)
    colours = np.broadcast_to(camera.floor_colour, (*x.shape, 3))
    if camera.floor == "slabs":
        shifted = x + 0.17 * (np.floor(y / 0.34) % 2)
        tone = tone + 0.07 * _lattice(n, shifted / 0.34, y / 0.34)
        tone = tone * np.where(_joint(shifted, 0.34, 0.07) | _joint(y, 0.34, 0.09), 0.74, 1)
    if camera.floor == "tiles":
        dark = (np.floor(x / 0.28) + np.floor(y / 0.28)) % 2
        tone = tone * (1 - 0.16 * dark) * np.where(_joint(x, 0.28, 0.04) | _joint(y, 0.28, 0.05), 0.85, 1)
    if camera.floor == "asphalt":
        tone = tone + 0.06 * _clouds(n + 2, x * 30, y * 30)
        colours = np.where((np.abs(x - 0.9 * y + 2.6) < 0.07)[..., None], np.array([0.78, 0.78, 0.74]), colours)
    if camera.floor == "platform":
        colours = np.where((np.abs(np.mod(y, 2.2) - 0.5) < 0.09)[..., None], np.array([0.78, 0.66, 0.2]), colours)
        tone = tone * np.where(_joint(x, 0.6, 0.04), 0.82, 1)
    return colours * tone[..., None]


def _wall(camera: Camera, x: Floats, y: Floats) -> Floats:
    """(N, 3) colours at N wall points, y up from the floor."""
    n = camera.number
    tone = 1 + 0.07 * _clouds(n + 3, x * 1.3, y * 1.3)
    colours = np.broadcast_to(camera.wall_colour, (*x.shape, 3))
    if camera.wall == "brick":
        row = np.floor(y / 0.075)
        along = x + 0.07 * (row % 2)
        tone = tone + 0.12 * _lattice(n, along / 0.14, row)
        mortar = _joint(along, 0.14, 0.1) | _joint(y, 0.075, 0.16)
        colours = np.where(mortar[..., None], np.array([0.6, 0.57, 0.53]), colours)
    if camera.wall == "hedge":
        tone = tone + 0.28 * _clouds(n, x * 11, y * 11) + 0.2 * _clouds(n + 5, x * 25, y * 25)
    if camera.wall == "shutter":
        tone = tone * (1 + 0.13 * np.sin(y * 2 * math.pi / 0.07))
    if camera.wall == "panels":
        tone = tone * np.where(_joint(x, 0.62, 0.03) | (np.abs(y - 0.55) < 0.012), 0.7, 1) * np.where(y < 0.55, 0.86, 1)
    if camera.wall == "plaster":
        door = np.abs(np.mod(x, 2.1) - 1.0) < 0.24
        colours = np.where((door & (y < 1.15))[..., None], camera.wall_colour * np.array([0.42, 0.45, 0.52]), colours)
    if camera.wall == "glass":
        inside = 0.5 + 0.5 * _clouds(n + 6, x * 3.1, y * 1.7)
        shop = np.stack([0.24 + 0.4 * inside, 0.27 + 0.34 * inside, 0.3 + 0.25 * inside], axis=-1)
        frame = _joint(x, 0.85, 0.06) | (y < 0.16) | (np.abs(y - 1.0) < 0.03)
        colours = np.where(frame[..., None], colours, shop)
    # Dirt and missing sky where wall and floor meet.
    return colours * (tone * (1 - 0.3 * np.exp(-y / 0.06)))[..., None]


def draw_place(camera: Camera, ground: Ground, height: int, width: int) -> Floats:
    """The empty place: (H, W, 3) in 0..1."""
    rows = np.arange(height)[:, None] + 0.5
    columns = np.broadcast_to(np.arange(width)[None, :] + 0.5 - width / 2, (height, width))
    on_floor = np.broadcast_to(rows > ground.wall, (height, width))
    size = np.maximum(np.maximum(rows, ground.wall) - ground.horizon, 1e-3) / ground.rise
    x = columns / size + ground.aside
    y = np.broadcast_to(ground.focal / size, x.shape)
    picture = np.empty((height, width, 3))
    picture[on_floor] = _floor(camera, x[on_floor], y[on_floor])
    above = np.broadcast_to((ground.wall - rows) / size, x.shape)
    picture[~on_floor] = _wall(camera, x[~on_floor], above[~on_floor])
    # Out of focus as far-off things are, and lit unevenly along the floor.
    picture = blurred(picture, max(1, round(0.006 * ground.size(height))))
    uneven = 1 + 0.12 * np.tanh(columns / max(width, 1) * 1.5 * np.sign(camera.light[0]))
    lit: Floats = np.clip(picture * uneven[..., None] * 0.96, 0, 1)
    return lit


def cast_shadow(picture: Floats, camera: Camera, ground: Ground, row: float, column: float) -> None:
    """Darken, in place, the floor about the feet of a person at this row and column, away from the light too."""
    size = ground.size(row)
    reach = math.ceil(size)
    top, left = max(0, int(row - 0.6 * size)), max(0, int(column) - reach)
    part = picture[top : math.ceil(row + 0.3 * size), left : int(column) + reach]
    if part.size == 0:
        return
    y = ((np.arange(part.shape[0]) + top + 0.5 - row) / size)[:, None]
    x = ((np.arange(part.shape[1]) + left + 0.5 - column) / size)[None, :]
    contact = 0.55 * np.exp(-((x / 0.13) ** 2) - (y / 0.045) ** 2)
    away = -math.copysign(1, camera.light[0])
    along = np.clip(x * away, 0, 0.8)
    lying = camera.sun * 0.45 * np.exp(-(((y + 0.22 * along) / (0.035 + 0.05 * along)) ** 2)) * (x * away > 0)
    part *= 1 - np.maximum(contact, lying * np.exp(-((along / 0.6) ** 4)))[..., None] * (y > -0.5)[..., None]


def exposed(picture: Floats, camera: Camera, random: np.random.Generator) -> Pixels:
    """(H, W, 3) in 0..1 as this camera records it: (H, W, 3) uint8."""
    grey = picture @ np.array([0.3, 0.59, 0.11])
    levels = grey[..., None] + (picture - grey[..., None]) * camera.vividness
    levels = (levels - 0.45) * camera.contrast + 0.45
    levels = np.clip(levels * camera.gain, 0, 1) * 255
    softness = camera.softness * max(0.6, picture.shape[0] / 128) ** 0.6
    soft = Image.fromarray(np.rint(levels).astype(np.uint8)).filter(ImageFilter.GaussianBlur(softness))
    grain = random.normal(0, 1, picture.shape[:2])[..., None] + 0.5 * random.normal(0, 1, picture.shape)
    return np.clip(np.rint(np.asarray(soft) + camera.noise * 0.8 * grain), 0, 255).astype(np.uint8)
