"""Bags with their straps, caps and beanies, made to measure for a dressed body."""

from dataclasses import dataclass

import numpy as np

from training.people import solids
from training.people.body import SKIN, Body
from training.people.rasteriser import Floats, Ints, Mesh, nearest
from training.people.solids import Points

BIN = 48
"""Points of a strap's way around the body."""


@dataclass(frozen=True, eq=False)
class Dressed:
    """The outermost of a body and its clothes in the rest pose, what straps lie on."""

    points: Floats
    """(V, 3)"""
    bones: Ints
    weights: Floats
    arm: Floats
    """(V,) how much the arms move each point."""


def strap(dressed: Dressed, through: Points, normal: Points, inside: Points, width: float, lowest: float) -> Mesh:
    """A closed strap around the body in a plane, which bends with what it lies on.

    Args:
        dressed: what it lies on.
        through: (3,) a point of the plane.
        normal: (3,) its unit normal.
        inside: (3,) a point of the plane within the body, which the strap goes around.
        width: decimetres.
        lowest: height above which it lies on the body; farther down it goes straight.

    Returns:
        The strap.
    """
    gap = dressed.points.astype(np.float64) - through
    off = np.abs((gap * normal).sum(axis=1))
    rows = np.flatnonzero((off < 0.28) & (dressed.arm < 0.6) & (dressed.points[:, 1] > lowest))
    first = np.array([0, 1.0, 0]) - normal * normal[1]
    first /= np.sqrt((first * first).sum())
    second = np.cross(normal, first)
    out = dressed.points[rows] - inside
    a, b = (out * first).sum(axis=1), (out * second).sum(axis=1)
    sector = np.floor((np.arctan2(b, a) / (2 * np.pi)).round(9) * BIN).astype(np.int64) % BIN
    reach = np.zeros(BIN)
    np.maximum.at(reach, sector, np.sqrt(a * a + b * b))
    reach = _taut(reach) + 0.07
    angle = (np.arange(BIN + 1) % BIN + 0.5) / BIN * 2 * np.pi
    reach = np.append(reach, reach[0])[:, None]
    path = inside + reach * (np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second)
    mesh = solids.tube(path, width / 2, 6, 0.22, np.tile(normal, (BIN + 1, 1)))
    lies_on = rows[nearest(mesh.vertices, dressed.points[rows])]
    return Mesh(mesh.vertices, dressed.bones[lies_on], dressed.weights[lies_on], mesh.faces, mesh.uv, mesh.uv_faces)


def _taut(reach: Points) -> Points:
    """Radii of a closed line pulled tight: empty sectors filled, hollows bridged."""
    filled = np.flatnonzero(reach > 0)
    if not len(filled):
        return np.ones_like(reach)
    count = len(reach)
    at = np.concatenate([filled - count, filled, filled + count])
    reach = np.interp(np.arange(count), at, np.tile(reach[filled], 3))
    for _ in range(6):  # a point within the chord of its neighbours is pulled onto it
        for step in (1, 2, 4):
            before, after = np.roll(reach, step), np.roll(reach, -step)
            chord = before * after * np.sin(4 * np.pi * step / count)
            chord = chord / ((before + after) * np.sin(2 * np.pi * step / count) + 1e-9)
            reach = np.maximum(reach, chord)
    return reach


@dataclass(frozen=True, eq=False)
class Wearer:
    """Whom a bag is made for."""

    start: Points
    """(B, 3) where the bones start."""
    rows: dict[str, int]
    """Of the bones."""
    dressed: Dressed
    side: str
    """L or R."""

    @property
    def sign(self) -> int:
        """1 on the left, where x is positive."""
        return 1 if self.side == "L" else -1

    def at(self, bone: str) -> Points:
        """(3,) where a bone starts."""
        return np.asarray(self.start[self.rows[bone]])

    def torso(self, height: float, within: float) -> Floats:
        """(N, 3) points of the torso near a height."""
        points = self.dressed.points
        return np.asarray(points[(self.dressed.arm < 0.5) & (np.abs(points[:, 1] - height) < within)], np.float32)


def bag(rng: np.random.Generator, kind: str, wearer: Wearer) -> tuple[Mesh, Mesh]:
    """A bag, and the straps or handles that it hangs by; `kind` is one of `wardrobe.BAGS`."""
    size = np.asarray(rng.uniform(0.8, 1.2, 3))
    if kind == "backpack":
        return _backpack(size, wearer)
    if kind == "crossbody":
        return _crossbody(size, wearer)
    if kind == "shoulder":
        return _shoulder(size, wearer)
    return _held(size, wearer, float(rng.uniform(0.9, 1.6)), kind == "carrier")


def _backpack(size: Points, wearer: Wearer) -> tuple[Mesh, Mesh]:
    half = np.array([1.15, 1.75, 0.65]) * size
    spine = wearer.at("spine02")
    level = wearer.torso(float(spine[1]), 1.2)
    back = float(level[np.abs(level[:, 0]) < 1.2, 2].min())
    centre = np.array([0, spine[1] - 0.55, back - half[2] * 0.85])
    pocket = solids.placed(solids.rounded_box(half * [0.75, 0.45, 0.35], 0.4), [0, -half[1] * 0.45, -half[2]])
    pack = solids.joined([solids.rounded_box(half, 0.4), pocket])
    lowest = float(wearer.at("spine05")[1]) + 1.2
    loops = []
    for lane in (-0.85, 0.85):
        inside = np.array([lane, spine[1] - 0.1, spine[2]])
        loops.append(strap(wearer.dressed, inside, np.array([1.0, 0, 0]), inside, 0.42, lowest))
    return solids.placed(pack, centre, bone=wearer.rows["spine02"]), solids.joined(loops)


def _crossbody(size: Points, wearer: Wearer) -> tuple[Mesh, Mesh]:
    half = np.array([0.4, 0.95, 1.2]) * size
    hip, spine = wearer.at("spine05"), wearer.at("spine02")
    edge = float(np.abs(wearer.torso(float(hip[1]), 0.7)[:, 0]).max())
    centre = np.array([wearer.sign * (edge + half[0] * 0.75), hip[1] - 0.5, hip[2] - 0.2])
    far = wearer.at(f"upperarm01.{'R' if wearer.side == 'L' else 'L'}") * [0.55, 1, 1]
    slope = np.array([centre[0] - far[0], centre[1] - far[1], 0])
    normal = np.array([-slope[1], slope[0], 0]) / np.sqrt((slope * slope).sum())
    inside = (np.array([centre[0] * 0.5, centre[1], spine[2]]) + far) / 2 * [0.4, 1, 1]
    inside = inside - normal * float(((inside - far) * normal).sum())
    line = strap(wearer.dressed, far, normal, inside, 0.28, float(hip[1]) - 1.5)
    return solids.placed(solids.rounded_box(half, 0.3), centre, bone=wearer.rows["spine05"]), line


def _shoulder(size: Points, wearer: Wearer) -> tuple[Mesh, Mesh]:
    half = np.array([0.45, 1.05, 1.15]) * size
    top, hip = wearer.at(f"upperarm01.{wearer.side}"), wearer.at("spine05")
    edge = float((wearer.torso(float(hip[1]) + 1.8, 0.9)[:, 0] * wearer.sign).max())
    centre = np.array([wearer.sign * (edge + half[0] * 0.7), hip[1] + 1.4, hip[2] - 0.5])
    points = wearer.dressed.points
    over = points[(np.abs(points[:, 0] - wearer.sign * 1.25) < 0.25) & (points[:, 1] > top[1] - 0.5)]
    peak = np.array([wearer.sign * 1.25, float(over[:, 1].max()) + 0.08, top[2] - 0.1])
    before, after = (centre + np.array([0, half[1] * 0.9, lane * half[2] * 0.6]) for lane in (-1, 1))
    path = np.concatenate([_line(before, peak, 9), _line(peak, after, 9)[1:]])
    line = solids.tube(path, 0.16, 6, 0.3, np.tile([1.0, 0, 0], (len(path), 1)))
    bone = wearer.rows["spine02"]
    return solids.placed(solids.rounded_box(half, 0.3), centre, bone=bone), solids.placed(line, [0, 0, 0], bone=bone)


def _held(size: Points, wearer: Wearer, drop: float, carrier: bool) -> tuple[Mesh, Mesh]:
    half = (np.array([0.55, 1.7, 1.35]) if carrier else np.array([0.45, 1.0, 1.4])) * size
    centre = wearer.at(f"finger3-1.{wearer.side}") + np.array([0, -drop - half[1], 0])
    t = np.linspace(-1, 1, 13)
    height = drop * (1 - np.abs(t) ** 2.5) + half[1] * 0.9
    arcs = [np.stack([np.full(13, lane * half[0]), height, t * half[2] * 0.5], axis=1) for lane in (-0.4, 0.4)]
    handles = solids.joined([solids.tube(centre + arc, 0.09) for arc in arcs])
    box = solids.rounded_box(half, 0.2 if carrier else 0.35)
    bone = wearer.rows[f"hanging.{wearer.side}"]
    return solids.placed(box, centre, bone=bone), solids.placed(handles, [0, 0, 0], bone=bone)


def _line(start: Points, end: Points, count: int) -> Points:
    share = np.linspace(0, 1, count)[:, None]
    return np.asarray(start * (1 - share) + end * share)


def headwear(kind: str, body: Body, vertices: Floats) -> tuple[list[Mesh], float]:
    """A cap or a beanie, as a layer over the scalp.

    Args:
        kind: `cap` or `beanie`.
        body: the base mesh.
        vertices: of this person's body.

    Returns:
        Its meshes, and the height below which hair is seen.
    """
    faces, _ = body.faces("body")
    rows = body.skeleton.rows
    head = rows["head"]
    start = body.skeleton.start(vertices)
    top = float(vertices[:SKIN, 1].max())
    eyes = float(start[rows["eye.L"]][1])
    edge = eyes + 0.42 if kind == "cap" else eyes + 0.3
    centre = np.array([0.0, edge + 0.1, start[head][2] + 0.15])
    scalp = vertices[faces, 1].min(axis=1) > edge - 0.35
    used, flat = np.unique(faces[scalp], return_inverse=True)
    points = vertices[used].astype(np.float64)
    out = points - centre
    length = np.sqrt((out * out).sum(axis=1, keepdims=True)) + 1e-9
    stand = 0.2 + 0.12 * np.clip((points[:, 1:2] - edge) / max(top - edge, 0.1), 0, 1)
    points = points + out / length * stand
    angle = np.arctan2(out[:, 0], out[:, 2]) / (2 * np.pi) + 0.5
    uv = np.stack([angle, (points[:, 1] - edge) / 2], axis=1)
    shell = solids.rigid(points, flat.reshape(-1, 3).astype(np.int32), uv, head)
    cut = np.ascontiguousarray(points[:, 1] - edge, np.float32)
    meshes = [Mesh(shell.vertices, shell.bones, shell.weights, shell.faces, shell.uv, shell.uv_faces, cut)]
    rim = points[np.abs(points[:, 1] - edge) < 0.3]
    front = float(rim[:, 2].max()) if len(rim) else centre[2] + 1
    if kind == "cap":
        t, s = np.meshgrid(np.linspace(-1, 1, 13), np.linspace(0, 1, 6))
        reach = np.sqrt(np.maximum(0, 1 - t * t))
        wide = 0.72
        sheet = np.stack([t * wide, edge + 0.08 - 0.22 * s - 0.12 * t * t, front - 0.45 + (0.15 + 1.0 * s) * reach], -1)
        meshes.append(solids.placed(solids.grid(sheet, np.stack([t, s], -1)), [0, 0, 0], bone=head))
    else:
        ring = np.linspace(0, 2 * np.pi, 25)
        near = rim if len(rim) else points
        a = float(np.abs(near[:, 0]).max())
        b = (float(near[:, 2].max()) - float(near[:, 2].min())) / 2
        mid = (float(near[:, 2].max()) + float(near[:, 2].min())) / 2
        path = np.stack([a * np.sin(ring), np.full(25, edge + 0.12), mid + b * np.cos(ring)], axis=1)
        fold = solids.tube(path, 0.22, 8, 0.35, np.tile([0, 1.0, 0], (25, 1)))
        meshes.append(solids.placed(fold, [0, 0, 0], bone=head))
    return meshes, edge + 0.1
