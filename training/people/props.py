"""Things that stand in streets and rooms, in front of people and behind them: posts, bins, benches, cars, plants."""

from collections.abc import Callable
from functools import cache

import numpy as np

from training.people import colours, patterns, solids
from training.people.person import Part
from training.people.rasteriser import Mesh, Surface
from training.people.solids import Points

Things = list[tuple[Mesh, str]]
"""Meshes, and of what each is: `paint`, `metal`, `dark`, `glass`, `wood`, `leaf` or `cloth`."""


def post(path: list[list[float]], radius: float, sides: int = 8) -> Mesh:
    """A round bar through some points."""
    return solids.tube(np.array(path, np.float64), radius, sides)


def cylinder(radius: float, low: float, high: float, sides: int = 16) -> Mesh:
    """An upright one with lids."""
    path = np.array([[0, low, 0], [0, low + 0.01, 0], [0, high - 0.01, 0], [0, high, 0]], np.float64)
    return solids.tube(path, np.array([0, radius, radius, 0]), sides, across=np.tile([1.0, 0, 0], (4, 1)))


def box(half: list[float], centre: list[float], roundness: float = 0.12) -> Mesh:
    """A box of half sides about a point."""
    return solids.placed(solids.rounded_box(half, roundness, 20, 10), centre)


def bollard(rng: np.random.Generator) -> Things:
    """A bollard or a lamp post."""
    radius = float(rng.uniform(0.4, 1.2))
    high = float(rng.choice([rng.uniform(7, 12), 45.0]))
    return [(cylinder(radius, 0, high), "metal"), (cylinder(radius * 1.2, high * 0.86, high * 0.92), "paint")]


def pillar(rng: np.random.Generator) -> Things:
    """A pillar of a building."""
    wide = float(rng.uniform(1.5, 3.5))
    return [(box([wide, 22, wide], [0, 22, 0], 0.05), "paint")]


def bin_(rng: np.random.Generator) -> Things:
    """A litter bin."""
    radius, high = float(rng.uniform(1.8, 3)), float(rng.uniform(7, 10))
    return [(cylinder(radius, 0.3, high), "paint"), (cylinder(radius * 1.05, high - 0.5, high + 0.2), "dark")]


def bench(rng: np.random.Generator) -> Things:
    """A bench with a back."""
    long = float(rng.uniform(7, 10))
    seat = [(box([long, 0.2, 0.5], [0, 4.4, z], 0.1), "wood") for z in (-1.3, 0, 1.3)]
    back = [(box([long, 0.5, 0.15], [0, y, -2], 0.1), "wood") for y in (6.2, 7.6)]
    legs = [(box([0.2, 2.2, 1.8], [x, 2.2, 0], 0.1), "metal") for x in (-long * 0.8, long * 0.8)]
    return seat + back + legs


def railing(rng: np.random.Generator) -> Things:
    """Bars between two rails."""
    high, step = float(rng.uniform(8, 11)), float(rng.uniform(1.2, 2.5))
    bars = [post([[x, 0, 0], [x, high, 0]], 0.14, 5) for x in np.arange(-14, 14.1, step)]
    rails = [post([[-14, y, 0], [14, y, 0]], 0.3, 6) for y in (high, 1.0)]
    return [(solids.joined(bars + rails), "metal")]


def car(rng: np.random.Generator) -> Things:
    """A parked car, seen from its side."""
    low = box([21, 3.4, 8.5], [0, 6.2, 0], 0.3)
    roof = box([10.5, 3.0, 7.6], [-1.5, 11.2, 0], 0.5)
    glass = box([9.6, 1.7, 7.9], [-1.5, 11.4, 0], 0.4)
    wheels = []
    for x in (-13.0, 13.0):
        for z in (-7.5, 7.5):
            upright = cylinder(3.2, -0.9, 0.9, 20)
            wheels.append(solids.placed(upright, [x, 3.2, z], np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])))
    return [(solids.joined([low, roof]), "paint"), (glass, "glass"), (solids.joined(wheels), "dark")]


def bicycle(rng: np.random.Generator) -> Things:
    """A bicycle that leans on nothing."""
    turn = np.linspace(0, 2 * np.pi, 25)
    ring = np.stack([3.3 * np.sin(turn), 3.4 + 3.3 * np.cos(turn), np.zeros(25)], axis=1)
    wheels = [
        solids.tube(ring + np.array([x, 0, 0]), 0.18, 5, across=np.tile([0, 0, 1.0], (25, 1))) for x in (-5.2, 5.2)
    ]
    frame = [
        post([[-5.2, 3.4, 0], [-1, 3.2, 0], [2.8, 8.2, 0], [-2, 8.4, 0], [-1, 3.2, 0]], 0.2, 5),
        post([[-5.2, 3.4, 0], [-2, 8.4, 0]], 0.15, 5),
        post([[5.2, 3.4, 0], [3.6, 10, 0]], 0.2, 5),
        post([[3.6, 10, -2.6], [3.6, 10, 2.6]], 0.2, 5),
    ]
    saddle = box([1.2, 0.3, 0.7], [-2.2, 9.4, 0], 0.4)
    return [(solids.joined([*wheels, saddle]), "dark"), (solids.joined(frame), "paint")]


def plant(rng: np.random.Generator) -> Things:
    """A shrub in a pot."""
    high = float(rng.uniform(6, 16))
    leaf = solids.rounded_box([0.9, 0.08, 0.35], 1.0, 6, 4)
    leaves = []
    for _ in range(70):
        turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 1.0)
        out = float(rng.uniform(0.3, 2.6))
        c, s, ct, st = np.cos(turn), np.sin(turn), np.cos(tilt), np.sin(tilt)
        frame = np.array([[c * ct, -c * st, s], [st, ct, 0], [-s * ct, s * st, c]])
        at = [out * float(c), 4 + (high - 4) * float(rng.random()), -out * float(s)]
        leaves.append(solids.placed(leaf, at, frame))
    return [(solids.joined(leaves), "leaf"), (cylinder(2.1, 0, 4.2), "paint")]


def sign(rng: np.random.Generator) -> Things:
    """A board on a post, or one that stands on the ground."""
    high = float(rng.uniform(9, 22))
    half = [float(rng.uniform(2, 4)), float(rng.uniform(1.5, 4)), 0.15]
    return [(post([[0, 0, 0], [0, high, 0]], 0.25), "metal"), (box(half, [0, high, 0.2], 0.05), "cloth")]


def trolley(rng: np.random.Generator) -> Things:
    """A shopping trolley of wire."""
    bars = []
    for y, wide, long in ((4.5, 2.0, 3.6), (6.5, 2.3, 4.2), (9.0, 2.6, 4.8)):
        loop = [[-long, y, -wide], [long, y, -wide], [long, y, wide], [-long, y, wide], [-long, y, -wide]]
        bars.append(post(loop, 0.15, 5))
    for x in np.linspace(-1, 1, 8):
        for z in (-1, 1):
            bars.append(post([[x * 3.6, 4.5, z * 2.0], [x * 4.8, 9, z * 2.6]], 0.09, 4))
    bars += [post([[-3, 1, z], [-3.6, 4.5, z], [-5.4, 10.2, z]], 0.2, 5) for z in (-2.0, 2.0)]
    handle = post([[-5.4, 10.2, -2.4], [-5.4, 10.2, 2.4]], 0.3, 6)
    return [(solids.joined(bars), "metal"), (handle, "paint"), (box([3.4, 1, 1.6], [0, 5.6, 0], 0.3), "cloth")]


def counter(rng: np.random.Generator) -> Things:
    """A table or a counter, with a few things on it."""
    long, high = float(rng.uniform(6, 12)), float(rng.uniform(7, 10.5))
    parts: Things = [(box([long, 0.3, 4], [0, high, 0], 0.05), "wood")]
    if rng.random() < 0.5:
        parts.append((box([long * 0.95, high / 2, 3.6], [0, high / 2, 0], 0.05), "paint"))
    else:
        parts += [(post([[x, 0, z], [x, high, z]], 0.3), "metal") for x in (-long * 0.9, long * 0.9) for z in (-3, 3)]
    for _ in range(int(rng.integers(0, 4))):
        half = rng.uniform(0.5, 1.6, 3)
        at = [float(rng.uniform(-long, long)) * 0.8, high + 0.3 + float(half[1]), float(rng.uniform(-2, 2))]
        parts.append((box(half.tolist(), at, 0.2), "cloth"))
    return parts


KINDS: dict[str, Callable[[np.random.Generator], Things]] = {
    "bollard": bollard, "pillar": pillar, "bin": bin_, "bench": bench, "railing": railing, "car": car,
    "bicycle": bicycle, "plant": plant, "sign": sign, "trolley": trolley, "counter": counter,
}  # fmt: skip
VARIANTS = 24
"""Things of each kind."""
WIDTHS = {
    "bollard": 1,
    "pillar": 3,
    "bin": 3,
    "bench": 9,
    "railing": 14,
    "car": 20,
    "bicycle": 8,
    "plant": 3,
    "sign": 3,
}
"""About how far each reaches to its sides, decimetres; 6 where it is not said."""


def sample_prop(rng: np.random.Generator) -> tuple[str, tuple[Part, ...]]:
    """A thing by chance: what it is, and its parts around the origin, on the ground."""
    kind = str(rng.choice(list(KINDS)))
    return kind, variant(kind, int(rng.integers(VARIANTS)))


@cache
def variant(kind: str, number: int) -> tuple[Part, ...]:
    """One of the things of a kind, with its own colours."""
    rng = np.random.default_rng([list(KINDS).index(kind), number])
    paint = patterns.plain(colours.cloth(rng, colours.TOP, 0.1))
    grey = float(rng.uniform(60, 190))
    tones: dict[str, Surface] = {
        "paint": Surface(paint, gloss=float(rng.uniform(0, 0.3))),
        "metal": Surface(patterns.plain((grey, grey, grey * 1.02)), gloss=0.2),
        "dark": Surface(patterns.plain((28, 28, 30))),
        "glass": Surface(patterns.plain((46, 54, 60)), gloss=0.5),
        "wood": Surface(patterns.plain(colours.triple(np.array([150, 112, 78]) * rng.uniform(0.5, 1.2)))),
        "leaf": Surface(patterns.plain(colours.triple(np.array([70, 98, 48]) * rng.uniform(0.6, 1.3, 3)))),
        "cloth": Surface(patterns.woven(rng, colours.TOP), scale=(2, 2)),
    }
    return tuple(Part(mesh, tones[material]) for mesh, material in KINDS[kind](rng))


def stood(part: Part, yaw: Points, at: tuple[float, float]) -> Mesh:
    """The part's mesh turned and moved to x, z."""
    return solids.placed(part.mesh, [at[0], 0, at[1]], yaw)
