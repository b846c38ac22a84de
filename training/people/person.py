"""A person: a body, its skin and hair, and everything worn, all by one seed."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.people import accessories, atlas, colours, patterns, rasteriser
from training.people.assets import Assets
from training.people.body import SKIN, Body, Shape, sample_shape
from training.people.garment import Garment, Rows, close_garment, read_garment
from training.people.patterns import Fabrics
from training.people.rasteriser import Floats, Mesh, Surface
from training.people.wardrobe import WHOLE, Outfit, Piece, sample_outfit

SHARES = {
    "top": colours.TOP,
    "bottom": colours.BOTTOM,
    "coat": colours.BOTTOM,
    "shoe": colours.SHOE,
    "hat": colours.TOP,
}
COVER = 60
"""Opacity from which cloth is there."""


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh and what covers it."""

    mesh: Mesh
    surface: Surface


@dataclass(frozen=True, eq=False)
class Person:
    """What is drawn of a person, in the rest pose."""

    seed: int
    shape: Shape
    outfit: Outfit
    parts: tuple[Part, ...]
    start: npt.NDArray[np.float64]
    """(B, 3) where the bones start."""

    @property
    def carries(self) -> str | None:
        """The side, L or R, on which a bag hangs from the hand."""
        return self.outfit.side if self.outfit.bag in ("handbag", "carrier") else None


class Wardrobe:
    """Everything that people are made of, read from the assets at first use."""

    def __init__(self, assets: Assets) -> None:
        self.assets = assets
        self.body = Body(assets)
        self.fabrics = Fabrics(assets)
        self.garment = cache(self._garment)
        self.hair = cache(self._hair)
        self.skin = cache(self._skin)
        self.skins = assets.files("makehuman/skins/*.png")

    def _garment(self, name: str) -> Garment:
        if name in ("close", "wrap"):
            return close_garment(self.body, name)
        for folder, kind in (("clothes", "suit"), ("shoes", "shoes"), ("hair", "hair"), ("hats", "hat")):
            path = self.assets.folder("makehuman", folder, name)
            if path.is_dir():
                return read_garment(self.body, path, kind)
        return read_garment(self.body, self.assets.folder("garments-cc-by", name), self.assets.kinds[name])

    def _hair(self, name: str) -> rasteriser.Bytes:
        path = atlas.textures(self.assets.folder("makehuman", "hair", name))[0]
        return atlas.hair_detail(self.assets.image(path))

    def _skin(self, name: str) -> rasteriser.Bytes:
        return atlas.skin_detail(self.assets.image(self.assets.folder("makehuman", "skins", f"{name}.png")))

    def person(self, seed: int) -> Person:
        """The person of a seed."""
        return _Dresser(self, seed).person()


class _Dresser:
    """Puts one person together; the order of what is drawn by chance is the order of the methods' calls."""

    def __init__(self, wardrobe: Wardrobe, seed: int) -> None:
        self.wardrobe, self.seed = wardrobe, seed
        self.rng = np.random.default_rng([seed])
        self.shape = sample_shape(self.rng)
        self.outfit = sample_outfit(self.rng, self.shape.sex)
        self.body = wardrobe.body
        self.vertices = self.body.shaped(self.shape)
        self.hidden = np.zeros(SKIN, np.bool_)
        self.parts: list[Part] = []

    def person(self) -> Person:
        coat = next((piece for piece in self.outfit.pieces if piece.use == "coat"), None)
        beneath = np.zeros(SKIN, np.bool_)
        if coat:
            beneath[self.wardrobe.garment(coat.garment).hidden(0, coat.cut)] = True
        for piece in self.outfit.pieces:
            self.wear(piece, None if piece is coat or piece.use == "shoe" else beneath)
        if self.outfit.bag:  # before hair and hats, on which no strap lies
            self.bag(self.outfit.bag)
        below = self.hat()
        if self.outfit.glasses:
            self.glasses()
        if self.outfit.hair != "bald":
            self.hair(below)
        self.parts = [*self.skin(), *self.parts]
        start = self.body.skeleton.start(self.vertices)
        return Person(
            self.seed,
            self.shape,
            self.outfit,
            tuple(compact for part in self.parts if len((compact := _compact(part)).mesh.faces)),
            start,
        )

    def wear(self, piece: Piece, beneath: npt.NDArray[np.bool_] | None) -> None:
        garment = self.wardrobe.garment(piece.garment)
        has_halves = garment.kind in ("suit", "bottom")
        rows = garment.triangles(piece.half) if has_halves else np.arange(len(garment.faces))
        vertices, left = garment.worn(self.vertices, piece.cut)
        if beneath is not None and beneath.any():  # what the coat hides is not drawn
            rows = rows[~beneath[garment.near[garment.faces[rows]]].all(axis=1)]
        self.hidden[garment.hidden(piece.half, piece.cut)] = True
        self.add(garment, rows, vertices, left, self.cloth(piece, garment))

    def add(self, garment: Garment, rows: Rows, vertices: Floats, left: Floats | None, surface: Surface) -> None:
        faces, uv_faces = garment.faces[rows], garment.uv_faces[rows]
        self.parts.append(Part(Mesh(vertices, *garment.four, faces, garment.uv, uv_faces, left), surface))

    def cloth(self, piece: Piece, garment: Garment) -> Surface:
        rng, shares = self.rng, SHARES[piece.use]
        close = piece.garment in ("close", "wrap")
        detail = trim = None
        if not close:
            files = atlas.textures(
                self.wardrobe.assets.folder("makehuman", "clothes", garment.name)
                if garment.kind == "suit"
                else self.folder(garment)
            )
            detail, trim = atlas.cloth_detail(garment, piece.half, self.wardrobe.assets.image(files[0]))
        draw = rng.random()
        times, leathery = 1.0, piece.use == "shoe"
        if piece.use in ("shoe", "hat") or draw < 0.5:
            pattern = patterns.plain(colours.cloth(rng, shares))
        elif draw < 0.62 and close and piece.use == "top":
            pattern = patterns.printed(rng, shares)
            return Surface(pattern, scale=(1, 1))
        elif draw < (0.72 if piece.use == "bottom" else 0.8):
            pattern = patterns.woven(rng, shares)
            times = float(rng.uniform(3, 9))
        else:
            pattern = self.wardrobe.fabrics.patch(rng, piece.use)
            times = float(rng.uniform(1.5, 4))
        scale = (round(times * 0.5), times) if close else (times, times)  # whole turns: no seam in the back
        scale = (max(1, scale[0]), scale[1])
        gloss = (
            float(rng.uniform(0.02, 0.14)) if leathery else float(rng.choice([0.0, 0.02, 0.08], p=[0.8, 0.14, 0.06]))
        )
        edge = colours.cloth(rng, shares, 0.1)
        offset = (round(float(rng.random()), 4), round(float(rng.random()), 4))
        return Surface(pattern, detail, trim, edge, scale, offset, gloss, COVER if detail is not None else 0)

    def folder(self, garment: Garment) -> Path:
        for kind in ("shoes", "hats"):
            path = self.wardrobe.assets.folder("makehuman", kind, garment.name)
            if path.is_dir():
                return path
        return self.wardrobe.assets.folder("garments-cc-by", garment.name)

    def hat(self) -> float | None:
        """Puts the hat on; the height from which no hair is drawn."""
        name = self.outfit.hat
        if name is None:
            return None
        if name in ("cap", "beanie"):
            meshes, edge = accessories.headwear(name, self.body, self.vertices)
            shares = colours.TOP
            pattern = patterns.woven(self.rng, shares) if self.rng.random() < 0.3 else None
            first, second = (patterns.plain(colours.cloth(self.rng, shares)) for _ in range(2))
            same = self.rng.random() < 0.6
            for k, mesh in enumerate(meshes):
                cloth = (pattern if pattern is not None else first) if k == 0 or same else second
                self.parts.append(Part(mesh, Surface(cloth, scale=(4, 2) if pattern is cloth else (1, 1))))
            return edge
        garment = self.wardrobe.garment(name)
        vertices = garment.fitted(self.vertices)
        piece = Piece(name, 0, WHOLE, "hat")
        self.add(garment, np.arange(len(garment.faces)), vertices, None, self.cloth(piece, garment))
        low, high = float(vertices[:, 1].min()), float(vertices[:, 1].max())
        return low + 0.3 * (high - low)

    def glasses(self) -> None:
        garment = self.wardrobe.garment("glasses")
        dark = patterns.plain(colours.triple(self.rng.uniform(10, 70, 3)))
        surface = Surface(dark, gloss=0.2)
        self.add(garment, np.arange(len(garment.faces)), garment.fitted(self.vertices), None, surface)

    def hair(self, below: float | None) -> None:
        name = self.outfit.hair
        garment = self.wardrobe.garment(name)
        vertices = garment.fitted(self.vertices)
        left = None if below is None else np.ascontiguousarray(below - vertices[:, 1], np.float32)
        fair = self.shape.origins[0]
        pattern = patterns.plain(colours.hair(self.rng, fair, self.shape.age))
        surface = Surface(pattern, self.wardrobe.hair(name), gloss=0.06, alpha=100)
        self.add(garment, np.arange(len(garment.faces)), vertices, left, surface)

    def bag(self, kind: str) -> None:
        outer = [part.mesh for part in self.parts if len(part.mesh.faces)]
        bones, weights = self.body.four
        skin = ~self.hidden
        points, all_bones, all_weights = [self.vertices[:SKIN][skin]], [bones[:SKIN][skin]], [weights[:SKIN][skin]]
        for mesh in outer:
            used = np.unique(mesh.faces)
            if mesh.cut is not None:
                used = used[mesh.cut[used] > 0]
            points.append(mesh.vertices[used])
            all_bones.append(mesh.bones[used])
            all_weights.append(mesh.weights[used])
        arm_bones = [row for row, bone in enumerate(self.body.skeleton.bones) if bone.startswith(ARM_BONES)]
        joined_bones, joined_weights = np.concatenate(all_bones), np.concatenate(all_weights)
        arm = (np.isin(joined_bones, arm_bones) * joined_weights).sum(axis=1, dtype=np.float32)
        all_points = np.concatenate(points)
        start, rows = self.body.skeleton.start(self.vertices), self.body.skeleton.rows
        low = all_points[:, 1] < float(start[rows["neck01"]][1])
        dressed = accessories.Dressed(all_points[low], joined_bones[low], joined_weights[low], arm[low])
        made, line = accessories.bag(self.rng, kind, accessories.Wearer(start, rows, dressed, self.outfit.side))
        shares = colours.BOTTOM if self.rng.random() < 0.7 else colours.TOP
        if kind == "carrier" and self.rng.random() < 0.6:
            shares = colours.TOP
        pattern = patterns.plain(colours.cloth(self.rng, shares, 0.08))
        if self.rng.random() < 0.3:
            pattern = patterns.woven(self.rng, shares)
        dark = patterns.plain(colours.cloth(self.rng, colours.BOTTOM, 0.05))
        self.parts.append(Part(made, Surface(pattern, scale=(2, 1), gloss=float(self.rng.uniform(0, 0.1)))))
        self.parts.append(Part(line, Surface(dark if self.rng.random() < 0.6 else pattern)))

    def skin(self) -> list[Part]:
        shape = self.shape
        years = "young" if shape.age < 0.45 else "middleage" if shape.age < 0.75 else "old"
        origin = ("caucasian", "asian", "african")[int(np.argmax(shape.origins))]
        start = f"{years}_{origin}_{shape.sex}"
        names = [path.stem for path in self.wardrobe.skins if path.stem.startswith(start)]
        names = [name for name in names if not name.endswith("suit")]
        detail = self.wardrobe.skin(names[self.rng.integers(len(names))])
        pattern = patterns.plain(colours.skin(self.rng, shape.origins))
        eyes = Surface(patterns.plain((96, 88, 84)), gloss=0.1)
        surfaces = {"body": Surface(pattern, detail, gloss=0.03), "helper-l-eye": eyes, "helper-r-eye": eyes}
        parts = []
        for group, surface in surfaces.items():
            faces, uv_faces = self.body.faces(group)
            if group == "body":
                seen = ~self.hidden[faces].any(axis=1)
                faces, uv_faces = faces[seen], uv_faces[seen]
            mesh = Mesh(self.vertices, *self.body.four, faces, self.body.uv, uv_faces)
            parts.append(Part(mesh, surface))
        return parts


ARM_BONES = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")


def _compact(part: Part) -> Part:
    """The part without vertices that no face has, and without faces beyond its cut."""
    mesh = part.mesh
    faces, uv_faces = mesh.faces, mesh.uv_faces
    if mesh.cut is not None:
        left = (mesh.cut[faces] >= 0).any(axis=1)
        faces, uv_faces = faces[left], uv_faces[left]
    used, flat = np.unique(faces, return_inverse=True)
    cut = mesh.cut[used] if mesh.cut is not None and (mesh.cut[used] < 0).any() else None
    faces = flat.reshape(-1, 3).astype(np.int32)
    kept = Mesh(mesh.vertices[used], mesh.bones[used], mesh.weights[used], faces, mesh.uv, uv_faces, cut)
    return Part(kept, part.surface)
