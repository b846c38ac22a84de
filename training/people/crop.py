"""One crop: a person of a seed as one camera sees them in one view."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from training.people import cameras, rasteriser, sensor
from training.people.assets import Assets
from training.people.formats import rotation
from training.people.gait import Pose, sample_pose
from training.people.person import Person, Wardrobe
from training.people.rasteriser import Floats, Layers, Mesh, Surface
from training.people.scenery import Scenery

HIGHEST = 256
"""No crop is higher, in pixels."""
SUN = 192
"""Side of the sun's view, in texels."""
STRANGERS, FIRST_STRANGER = 40, 8_000_000
"""People who stand in the way or in the background: so many, of seeds from this one on."""
PERSON, OTHER = 1, 2


@dataclass(frozen=True)
class Crop:
    """A rendered crop."""

    image: bytes
    """A JPEG file."""
    mask: npt.NDArray[np.bool_]
    """(H, W) pixels at least half of which show the person."""
    facts: dict[str, str | int | float]
    """What it shows, for the index."""


@dataclass(frozen=True, eq=False)
class Standing:
    """Meshes where they stand in the scene."""

    parts: tuple[tuple[Mesh, Surface, Floats], ...]
    owner: int

    def points(self) -> Floats:
        """(V, 3) all vertices."""
        return np.concatenate([vertices for _, _, vertices in self.parts])


class Studio:
    """Renders crops; keeps what they have in common."""

    def __init__(self, assets: Assets) -> None:
        self.wardrobe = Wardrobe(assets)
        self.scenery = Scenery(assets)
        self.person = lru_cache(2)(self.wardrobe.person)
        self.stranger = lru_cache(STRANGERS)(self.wardrobe.person)

    def crop(self, seed: int, view: int, camera_number: int) -> Crop:
        """The crop that follows from a person's seed, the view and the camera's number.

        Args:
            seed: of the person.
            view: from 0.
            camera_number: from 0; cameras differ between sites of 50 successive seeds.

        Returns:
            The crop.
        """
        rng = np.random.default_rng([seed, view])
        camera = cameras.camera(seed, camera_number)
        person = self.person(seed)
        lens = cameras.aimed(camera, rng)
        yaw = float(rng.uniform(0, 2 * np.pi))
        pose, main = self.standing(person, rng, yaw, (0.0, 0.0), PERSON)
        points = main.points()
        box = cameras.boxed(rasteriser.projected(points, lens), camera, rng, HIGHEST)
        lens = box.framed(lens)
        scene, names = [main], []
        draw = rng.random()
        if draw < 0.16:
            scene.append(self.passer(rng, lens, box, nearer=True))
            names.append("person")
        elif draw < 0.38:
            scene.append(self.passer(rng, lens, box, nearer=False))
        weather = cameras.weather(camera, rng)
        depth = np.full((SUN, SUN), -1e9, np.float32)
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        light = cameras.lit(weather, (low + high) / 2, float(np.sqrt(((high - low) ** 2).sum())) / 2 + 3, depth)
        layers = Layers(box.width, box.height)
        twice = rasteriser.doubled(lens)
        for standing in scene:
            for mesh, surface, vertices in standing.parts:
                rasteriser.cover(mesh, vertices, light, depth)
                rasteriser.draw(mesh, surface, vertices, twice, layers, standing.owner)
        rasteriser.shade(twice, light, layers)
        image, drawn, mine = rasteriser.resolve(layers)
        feet = np.ascontiguousarray(np.concatenate([_feet(standing.points()) for standing in scene]), np.float32)
        behind, name = self.scenery.behind(camera, rng, lens, light, (box.width, box.height), feet)
        levels = sensor.exposed(behind * (1 - drawn[..., None]) + image, camera, rng)
        facts: dict[str, str | int | float] = {
            "width": box.width, "height": box.height, "yaw": round(yaw, 3), "pose": pose.name, "background": name,
            "occluder": " ".join(names), "visible": round(float(mine.sum(dtype=np.float64)) / mine.size, 4),
            "sex": person.shape.sex, "wears": " ".join(person.outfit.names),
        }  # fmt: skip
        return Crop(sensor.encoded(levels, camera, rng), mine >= 0.5, facts)

    def standing(
        self, person: Person, rng: np.random.Generator, yaw: float, at: tuple[float, float], owner: int
    ) -> tuple[Pose, Standing]:
        """A person in a pose by chance, turned by `yaw`, with the lowest point on the ground at x, z."""
        body, skeleton = self.wardrobe.body, self.wardrobe.body.skeleton
        carries = person.outfit.side if person.outfit.bag in ("handbag", "carrier") else None
        pose = sample_pose(rng, body, person.start, person.shape.heavy, carries)
        moves = skeleton.moves(person.start, pose.rotations)
        turn = rotation("y", yaw).astype(np.float32)
        turned = np.ascontiguousarray(_turned(turn, moves))
        vertices = [rasteriser.skinned(part.mesh, turned) for part in person.parts]
        lowest = min(float(array[:, 1].min()) for array in vertices)
        middle = turned[skeleton.rows["root"]] @ np.append(person.start[skeleton.rows["root"]], 1).astype(np.float32)
        shift = np.array([at[0] - middle[0], -lowest, at[1] - middle[2]], np.float32)
        parts = tuple(
            (part.mesh, part.surface, np.ascontiguousarray(array + shift))
            for part, array in zip(person.parts, vertices, strict=True)
        )
        return pose, Standing(parts, owner)

    def passer(self, rng: np.random.Generator, lens: rasteriser.Lens, box: cameras.Box, nearer: bool) -> Standing:
        """Somebody else: in the way and at a side of the crop, or farther off."""
        person = self.stranger(FIRST_STRANGER + int(rng.integers(STRANGERS)))
        distance = float(lens.at[2])
        away = float(rng.uniform(0.12, 0.4)) * distance if nearer else -float(rng.uniform(10, 60))
        half = (box.right - box.left) / 2
        side = float(rng.choice([-1, 1]))
        reach = float(rng.uniform(0.45, 1.1)) if nearer else float(rng.uniform(0.2, 1.3))
        x = (box.left + box.right) / 2 * (distance - away) + side * reach * half * (distance - away)
        _, standing = self.standing(person, rng, float(rng.uniform(0, 2 * np.pi)), (x, away), OTHER)
        return standing


def _turned(turn: npt.NDArray[np.float32], moves: Floats) -> Floats:
    """(B, 3, 4) maps followed by a rotation; sums in a fixed order."""
    rows = [(turn[r, 0] * moves[:, 0] + turn[r, 1] * moves[:, 1]) + turn[r, 2] * moves[:, 2] for r in range(3)]
    return np.stack(rows, axis=1)


def _feet(points: Floats) -> Floats:
    """(2, 2) x and z of the two places where somebody stands."""
    low = points[points[:, 1] < 1.2][:, [0, 2]]
    middle = low.mean(axis=0, dtype=np.float64)
    off = low - middle
    axis = off[np.argmax((off * off).sum(axis=1))]
    side = (off * axis).sum(axis=1) > 0
    groups = [low[side], low[~side]]
    return np.array([group.mean(axis=0, dtype=np.float64) if len(group) else middle for group in groups], np.float32)
