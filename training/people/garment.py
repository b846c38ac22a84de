"""Garments: how each is fitted to a body, what it hides, and where sleeves, legs and hems can be cut off."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.people import formats, rasteriser
from training.people.assets import Assets
from training.people.body import SKIN, Body, strongest
from training.people.rasteriser import Bytes, Floats, Ints, nearest

Rows = npt.NDArray[np.int64]
DETAIL = 256
"""Side of the maps of light and dark; a garment is seldom more than half as many pixels high in a crop."""


@dataclass(frozen=True)
class Cut:
    """How much of a garment there is, in units of the unshaped body."""

    sleeve: float = 9
    """Ends here along the arm: 0 shoulder, 1 elbow, 2 wrist."""
    leg: float = 9
    """Ends here along the leg: 0 hip, 1 knee, 2 ankle."""
    hem: float = -99
    """Ends at this height, in decimetres."""
    top: float = 99
    """Starts at this height."""
    loose: float = 0
    """Decimetres that it stands off, beyond its own shape."""
    waist: float = -9
    """Along the leg, from where it stands off: trousers do not at the hips, over which tops hang."""
    flare: float = 0
    """Decimetres more at the end of the legs."""


class Garment:
    """A mesh fitted to the base mesh."""

    def __init__(self, body: Body, name: str, kind: str, mesh: formats.Arrays, fit: formats.Arrays) -> None:
        self.body, self.name, self.kind = body, name, kind
        self.faces: Ints = mesh["faces"]
        self.uv: Floats = mesh["uv"]
        self.uv_faces: Ints = mesh["uv_faces"]
        self._rows: Ints = fit["rows"]
        self._weights: Floats = fit["weights"]
        self._offsets: Floats = fit["offsets"]
        self._scales = fit["scales"]
        self._hidden: Ints = fit["hidden"]
        self.details: dict[int, tuple[Bytes, Bytes]] = {}
        """Light and dark of the atlas by half, and its trim, once somebody has asked."""

    def fitted(self, body: Floats) -> Floats:
        """(V, 3) vertices on a body of any shape."""
        scale = np.ones(3, np.float32)
        for axis, first, second, distance in self._scales:
            scale[int(axis)] = abs(body[int(first), int(axis)] - body[int(second), int(axis)]) / distance
        a, b, c = (body[self._rows[:, k]] * self._weights[:, k, None] for k in range(3))
        return np.ascontiguousarray((a + b) + c + self._offsets * scale, np.float32)

    @cached_property
    def neutral(self) -> Floats:
        """(V, 3) vertices on the unshaped body."""
        return self.fitted(self.body.vertices)

    @cached_property
    def _all_weights(self) -> Floats:
        weights = np.zeros((len(self._rows), self.body.weights.shape[1]), np.float32)
        for k in range(3):
            weights += np.abs(self._weights[:, k, None]) * self.body.weights[self._rows[:, k]]
        return weights

    @cached_property
    def four(self) -> tuple[Ints, Floats]:
        """The four bones that move each vertex most, and their weights."""
        return strongest(self._all_weights)

    @cached_property
    def limbs(self) -> tuple[Floats, Floats]:
        """Where each vertex lies along the arms and the legs, as `Body.along` has it."""
        total = np.maximum(self._all_weights.sum(axis=1), 1e-6)
        share = sum(np.abs(self._weights[:, k]) * self.body.arm_share[self._rows[:, k]] for k in range(3))
        return self.body.along(self.neutral, np.asarray(share / total, np.float32))

    @cached_property
    def near(self) -> Rows:
        """(V,) the vertex of skin that is nearest to each vertex on the unshaped body."""
        return nearest(self.neutral, self.body.vertices[:SKIN])

    @cached_property
    def half(self) -> npt.NDArray[np.int64]:
        """(V,) 0 where a vertex is of a top, 1 of a bottom: the suits hold both."""
        if self.kind != "suit":
            return np.full(len(self.neutral), int(self.kind == "bottom"))
        piece = pieces(self.faces, len(self.neutral))
        y = self.neutral[:, 1]
        low, high = y.copy(), y.copy()
        np.minimum.at(low, piece, y)
        np.maximum.at(high, piece, y)
        half = (low[piece] + high[piece] < 2.4).astype(np.int64)
        return half if len(np.unique(half)) == 2 else (y < 1.0).astype(np.int64)

    @cached_property
    def _hidden_by_half(self) -> tuple[Rows, Rows]:
        rows = self._hidden[self._hidden < SKIN].astype(np.int64)
        if not len(rows):
            return rows, rows
        half = self.half[nearest(self.body.vertices[rows], self.neutral)]
        return rows[half == 0], rows[half == 1]

    def hidden(self, half: int, cut: Cut) -> Rows:
        """Vertices of skin beneath what is left of a half after the cut."""
        rows = self._hidden_by_half[half]
        arm, leg = self.body.along(self.body.vertices[rows], self.body.arm_share[rows])
        return rows[cut_at(self.body.vertices[rows], arm, leg, cut) > 0.12]

    def triangles(self, half: int) -> Rows:
        """Rows of the faces that make up a half."""
        return np.flatnonzero(self.half[self.faces[:, 0]] == half)

    def worn(self, body: Floats, cut: Cut) -> tuple[Floats, Floats]:
        """(V, 3) vertices on a body, (V,) what is left of them: negative beyond hems and sleeves."""
        vertices = self.fitted(body)
        arm, leg = self.limbs
        if cut.loose or cut.flare:
            outward = rasteriser.normals(vertices, self.faces)
            neck = np.clip((6.0 - self.neutral[:, 1]) / 1.2, 0, 1).astype(np.float32)
            below = np.clip((leg - cut.waist) / 0.25, 0, 1).astype(np.float32)
            amount = cut.loose * neck * below + cut.flare * np.clip(leg - 0.2, 0, 2).astype(np.float32)
            vertices = np.ascontiguousarray(vertices + outward * amount[:, None], np.float32)
        return vertices, cut_at(self.neutral, arm, leg, cut)


def cut_at(vertices: Floats, arm: Floats, leg: Floats, cut: Cut) -> Floats:
    """(V,) how far each vertex is from where the garment ends, in decimetres or shares of a limb."""
    ends = np.minimum(cut.sleeve - arm, cut.leg - leg)
    ends = np.minimum(ends, np.minimum(vertices[:, 1] - cut.hem, cut.top - vertices[:, 1]))
    return np.ascontiguousarray(ends, np.float32)


def pieces(faces: Ints, vertices: int) -> Rows:
    """(V,) the lowest vertex that each vertex is connected to by faces."""
    label = np.arange(vertices)
    while True:
        before = label.copy()
        lowest = label[faces].min(axis=1)
        for k in range(3):
            np.minimum.at(label, faces[:, k], lowest)
        if (before == label).all():
            return label


def read_garment(body: Body, folder: Path, kind: str) -> Garment:
    """A garment of a folder that holds `.mhclo` and `.obj`."""
    assets: Assets = body.assets
    file = next(path for path in sorted(folder.glob("*.mhclo")) if "cocked" not in path.name)
    mesh = assets.mesh(folder / formats.fitted_mesh(file))
    garment = Garment(body, folder.name, kind, mesh, assets.fit(file))

    _relate(garment, file)
    return garment


def _relate(garment: Garment, file: Path) -> None:
    """Takes a second for each garment and follows from the files alone: how it lies on the unshaped body."""

    def relations(path: Path) -> formats.Arrays:
        top, bottom = garment._hidden_by_half
        return {"near": garment.near, "half": garment.half, "top": top, "bottom": bottom}

    relations.__name__ = "relations"
    kept = garment.body.assets.parsed(relations, file, f"{garment.name} {garment.kind}")
    garment.__dict__.update(near=kept["near"], half=kept["half"], _hidden_by_half=(kept["top"], kept["bottom"]))


def close_garment(body: Body, name: str) -> Garment:
    """A garment of ours, made of the base mesh's own helpers: `close` is a suit all over, `wrap` a long skirt."""
    group = {"close": "helper-tights", "wrap": "helper-skirt"}[name]
    faces, _ = body.faces(group)
    rows, flat = np.unique(faces, return_inverse=True)
    faces = np.ascontiguousarray(flat.reshape(-1, 3), np.int32)
    around = body.vertices[rows]
    uv, uv_faces = unrolled(around, faces)
    hidden = np.zeros(0, np.int32)
    if name == "close":
        skin = np.flatnonzero(~body.hand_or_head[:SKIN])
        covered = body.vertices[skin, 1] < float(around[:, 1].max()) - 0.25
        hidden = skin[covered].astype(np.int32)
    fit: formats.Arrays = {
        "rows": np.repeat(rows[:, None], 3, axis=1).astype(np.int32),
        "weights": np.tile(np.array([1, 0, 0], np.float32), (len(rows), 1)),
        "offsets": np.zeros((len(rows), 3), np.float32),
        "scales": np.zeros((0, 4)),
        "hidden": hidden,
    }
    mesh = {"faces": faces, "uv": uv, "uv_faces": uv_faces}
    garment = Garment(body, name, "top" if name == "close" else "bottom", mesh, fit)
    _relate(garment, body.assets.folder("makehuman", "base.obj"))
    if name == "close":  # one mesh serves as top and as bottom: what is beneath is the same
        garment.__dict__["_hidden_by_half"] = (hidden.astype(np.int64), hidden.astype(np.int64))
    return garment


def unrolled(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """Texture coordinates around the body (0.5 in front) and upwards; a corner of a triangle has its own."""
    around = np.arctan2(vertices[:, 0].astype(np.float64), vertices[:, 2] - 0.1) / (2 * np.pi) + 0.5
    up = (vertices[:, 1] + 8.3) / 16.6
    uv = np.stack([around[faces], up[faces]], axis=2)
    across = np.ptp(uv[..., 0], axis=1) > 0.5  # a triangle over the seam in the back
    uv[across, :, 0] += uv[across, :, 0] < 0.5
    return (
        np.ascontiguousarray(uv.reshape(-1, 2).round(6), np.float32),
        np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3),
    )
