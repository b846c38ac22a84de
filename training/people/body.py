"""The base mesh with its rig, and bodies of many shapes made of it by seed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from training.people import formats, rasteriser
from training.people.assets import Assets
from training.people.rasteriser import Floats, Ints
from training.people.skeleton import Skeleton, read_skeleton

SKIN = 13380
"""Vertices of the base mesh from this one on are not skin: clothes are fitted around them."""
ORIGINS = ("caucasian", "asian", "african")
ARM = ("shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")


@dataclass(frozen=True)
class Shape:
    """What a body is like: everything that its vertices follow from."""

    sex: str
    """`male` or `female`."""
    age: float
    """0 young to 1 old."""
    origins: tuple[float, float, float]
    """Shares of `ORIGINS`, summing to 1."""
    targets: tuple[tuple[str, float], ...]
    """Changes of the base mesh, by file name, and their weights."""
    heavy: float
    """-1 thin to 1 heavy."""


class Body:
    """The base mesh: vertices, faces, rig, how bones move the skin, and where on a limb each vertex lies."""

    def __init__(self, assets: Assets) -> None:
        mesh = assets.mesh(assets.folder("makehuman", "base.obj"))
        self.assets = assets
        self.vertices: Floats = mesh["vertices"]
        self.uv: Floats = mesh["uv"]
        self._faces: Ints = mesh["faces"]
        self._uv_faces: Ints = mesh["uv_faces"]
        self._groups: Ints = mesh["groups"]
        self._names = [str(name) for name in mesh["names"]]
        self.skeleton: Skeleton = read_skeleton(assets.folder("makehuman", "rig", "default.mhskel"))

        def read(path: object) -> formats.Arrays:
            file = assets.folder("makehuman", "rig", "default_weights.mhw")
            return formats.read_skin_weights(file, list(self.skeleton.bones), len(self.vertices))

        read.__name__ = "read_skin_weights"
        weights = assets.parsed(read, assets.folder("makehuman", "rig", "default_weights.mhw"))["weights"]
        self.weights: Floats = weights

    def faces(self, group: str) -> tuple[Ints, Ints]:
        """(F, 3) vertices and (F, 3) texture coordinates of a group's triangles."""
        rows = np.flatnonzero(self._groups == self._names.index(group))
        return self._faces[rows], self._uv_faces[rows]

    @cached_property
    def four(self) -> tuple[Ints, Floats]:
        """The four bones that move each vertex most, and their weights."""
        return strongest(self.weights)

    @cached_property
    def arm_share(self) -> Floats:
        """(V,) how much of each vertex the arms move."""
        bones = [
            row
            for row, bone in enumerate(self.skeleton.bones)
            if bone.split(".")[0] in ARM or bone.startswith(("finger", "metacarpal"))
        ]
        return np.asarray(self.weights[:, bones].sum(axis=1), np.float32)

    @cached_property
    def hand_or_head(self) -> npt.NDArray[np.bool_]:
        """(V,) whether a vertex is of a hand, a foot, the neck or the head."""
        tips = ("wrist", "finger", "metacarpal", "foot", "toe", "neck02", "neck03", "head", "jaw", "special")
        bones = [row for row, bone in enumerate(self.skeleton.bones) if bone.startswith(tips)]
        return np.asarray(self.weights[:, bones].sum(axis=1) > 0.5)

    @cached_property
    def joints(self) -> dict[str, npt.NDArray[np.float64]]:
        """Where each bone of the unshaped body starts."""
        return dict(zip(self.skeleton.bones, self.skeleton.start(self.vertices), strict=True))

    def along(self, vertices: Floats, arm_share: Floats) -> tuple[Floats, Floats]:
        """Where vertices around the unshaped body lie along its limbs.

        Args:
            vertices: (V, 3).
            arm_share: (V,) how much the arms move them.

        Returns:
            (V,) along the arm: 0 shoulder, 1 elbow, 2 wrist, -1 elsewhere; (V,) along the leg: 0 hip, 1 knee,
            2 ankle, below 0 above the hip, -1 at the arms.
        """
        shoulder, elbow, wrist = (self.joints[f"{bone}.L"] for bone in ("upperarm01", "lowerarm01", "wrist"))
        mirrored = vertices.astype(np.float64)
        mirrored[:, 0] = np.abs(mirrored[:, 0])

        def share(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            axis = end - start
            gap = mirrored - start
            steps = gap[:, 0] * axis[0] + gap[:, 1] * axis[1] + gap[:, 2] * axis[2]
            return np.asarray(steps / float((axis * axis).sum()))

        upper, lower = share(shoulder, elbow), share(elbow, wrist)
        arm = np.where(arm_share > 0.3, np.where(lower > 0, 1 + lower, np.minimum(upper, 1)), -1)
        hip, knee, ankle = (float(self.joints[f"{bone}.L"][1]) for bone in ("upperleg01", "lowerleg01", "foot"))
        y = vertices[:, 1].astype(np.float64)
        leg = np.where(y > knee, (hip - y) / (hip - knee), 1 + (knee - y) / (knee - ankle))
        return arm.astype(np.float32), np.where(arm_share > 0.3, -1, leg).astype(np.float32)

    def shaped(self, shape: Shape) -> Floats:
        """(V, 3) vertices of a body of this shape."""
        vertices = self.vertices.copy()
        for name, weight in shape.targets:
            target = self.assets.target(self.assets.folder("makehuman", "targets", f"{name}.target"))
            rasteriser.morph(vertices, target["rows"], target["shifts"], weight)
        return vertices


def strongest(weights: Floats) -> tuple[Ints, Floats]:
    """The four largest of each row's weights, scaled to a sum of 1: (V, 4) columns and (V, 4) weights."""
    columns = np.argsort(-weights, axis=1, kind="stable")[:, :4].astype(np.int32)
    four = np.take_along_axis(weights, columns, axis=1)
    total = ((four[:, 0] + four[:, 1]) + four[:, 2]) + four[:, 3]
    return np.ascontiguousarray(columns), np.ascontiguousarray(four / total[:, None], dtype=np.float32)


def sample_shape(rng: np.random.Generator) -> Shape:
    """A body by chance: sex, age, origins, weight, muscles, height."""
    sex = ("male", "female")[rng.integers(2)]
    mix = rng.dirichlet([0.5] * 3)
    age = float(rng.random() ** 1.3)
    old = 0.7 * age
    targets: list[tuple[str, float]] = []
    for origin, share in zip(ORIGINS, mix, strict=True):
        targets += [(f"{origin}-{sex}-young", share * (1 - old)), (f"{origin}-{sex}-old", share * old)]
    heavy = float(np.clip(rng.normal(0.1, 0.5), -1, 1))
    weight = "maxweight" if heavy > 0 else "minweight"
    for years, share in (("young", 1 - old), ("old", old)):
        start = f"universal-{sex}-{years}-averagemuscle"
        targets += [
            (f"{start}-averageweight", share * (1 - abs(heavy))),
            (f"{start}-{weight}", share * abs(heavy)),
        ]
    muscle = float(rng.uniform(-0.7, 0.8))
    kind = "max" if muscle > 0 else "min"
    targets.append((f"universal-{sex}-young-{kind}muscle-averageweight", abs(muscle)))
    height = float(np.clip(rng.normal(0, 0.4), -0.9, 0.9))
    kind = "max" if height > 0 else "min"
    targets.append((f"{sex}-young-averagemuscle-averageweight-{kind}height", abs(height)))
    origins = (float(mix[0]), float(mix[1]), float(mix[2]))
    return Shape(sex, age, origins, tuple((name, round(float(w), 6)) for name, w in targets), heavy)
