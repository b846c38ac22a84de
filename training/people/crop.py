"""One crop: a person of a seed as one camera sees them in one view."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from training.people import cameras, props, rasteriser, sensor
from training.people.assets import Assets
from training.people.formats import rotation
from training.people.gait import Pose, sample_pose
from training.people.person import Person, Wardrobe
from training.people.rasteriser import Floats, Layers, Lens, Light, Mesh, Surface
from training.people.scenery import Scenery

HIGHEST = 256
"""No crop is higher, in pixels."""
SUN = 192
"""Side of the sun's view, in texels."""
STRANGERS, FIRST_STRANGER = 40, 8_000_000
"""People who stand in the way or in the background: so many, of seeds from this one on."""
PERSON, OTHER = 1, 2
LEAST = 0.4
"""Share of a person that may not be hidden."""


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
    name: str = "person"
    nearer: bool = False
    """Whether it stands between the camera and whom the crop is of."""

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
        company = self.company(rng, lens, box)
        weather = cameras.weather(camera, rng)
        depth = np.full((SUN, SUN), -1e9, np.float32)
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        light = cameras.lit(weather, (low + high) / 2, float(np.sqrt(((high - low) ** 2).sum())) / 2 + 3, depth)
        layers, alone, scene = Layers(box.width, box.height), 0, [main]
        twice = rasteriser.doubled(lens)
        _draw(main, twice, light, depth, layers)
        alone = int(np.count_nonzero(layers.owner == PERSON))
        for other in company:
            before = layers.copy()
            _draw(other, twice, light, None, layers)
            if np.count_nonzero(layers.owner == PERSON) < LEAST * alone:  # nobody would be left to recognise
                layers = before
                continue
            _cover(other, light, depth)
            scene.append(other)
        occluders = " ".join(other.name for other in scene if other.nearer)
        visible = np.count_nonzero(layers.owner == PERSON) / max(alone, 1)
        rasteriser.shade(twice, light, layers)
        image, drawn, mine = rasteriser.resolve(layers)
        dark = np.ascontiguousarray(
            np.concatenate([feet(standing.points()) for standing in scene if standing.name == "person"]), np.float32
        )
        behind, name = self.scenery.behind(camera, rng, lens, light, (box.width, box.height), dark)
        levels = sensor.exposed(behind * (1 - drawn[..., None]) + image, camera, rng)
        facts: dict[str, str | int | float] = {
            "width": box.width, "height": box.height, "yaw": round(yaw, 3), "pose": pose.name, "background": name,
            "occluder": occluders, "visible": round(visible, 3),
            "sex": person.shape.sex, "wears": " ".join(person.outfit.names),
        }  # fmt: skip
        return Crop(sensor.encoded(levels, camera, rng), mine >= 0.5, facts)

    def standing(
        self, person: Person, rng: np.random.Generator, yaw: float, at: tuple[float, float], owner: int
    ) -> tuple[Pose, Standing]:
        """A person in a pose by chance, turned by `yaw`, with the lowest point on the ground at x, z."""
        pose = sample_pose(rng, self.wardrobe.body, person.start, person.shape.heavy, person.carries)
        return pose, self.posed(person, pose, yaw, at, owner)

    def posed(self, person: Person, pose: Pose, yaw: float, at: tuple[float, float], owner: int) -> Standing:
        """A person in this pose, turned by `yaw`, with the lowest point on the ground at x, z."""
        skeleton = self.wardrobe.body.skeleton
        moves = skeleton.moves(person.start, pose.rotations)
        turned = np.ascontiguousarray(_turned(rotation("y", yaw).astype(np.float32), moves))
        vertices = [rasteriser.skinned(part.mesh, turned) for part in person.parts]
        lowest = min(float(array[:, 1].min()) for array in vertices)
        row = skeleton.rows["root"]
        x, y, z = (float(value) for value in person.start[row])
        root = turned[row]
        middle = [((root[k, 0] * x + root[k, 1] * y) + root[k, 2] * z) + root[k, 3] for k in (0, 2)]
        shift = np.array([at[0] - middle[0], -lowest, at[1] - middle[1]]).round(4).astype(np.float32)
        parts = tuple(
            (part.mesh, part.surface, np.ascontiguousarray(array + shift))
            for part, array in zip(person.parts, vertices, strict=True)
        )
        return Standing(parts, owner)

    def company(self, rng: np.random.Generator, lens: Lens, box: cameras.Box) -> list[Standing]:
        """Who and what else is there, by chance: in the way, or behind."""
        company = []
        if rng.random() < 0.16:
            company.append(self.passer(rng, lens, box, nearer=True))
        if rng.random() < 0.14:
            company.append(_thing(rng, lens, box, nearer=True))
        if rng.random() < 0.2:
            company.append(self.passer(rng, lens, box, nearer=False))
        if rng.random() < 0.18:
            company.append(_thing(rng, lens, box, nearer=False))
        return company

    def passer(self, rng: np.random.Generator, lens: Lens, box: cameras.Box, nearer: bool) -> Standing:
        """Somebody else: in the way and at a side of the crop, or farther off."""
        person = self.stranger(FIRST_STRANGER + int(rng.integers(STRANGERS)))
        at = _spot(rng, lens, box, nearer, 2.5)
        _, standing = self.standing(person, rng, float(rng.uniform(0, 2 * np.pi)), at, OTHER)
        return replace(standing, nearer=nearer)


def _spot(rng: np.random.Generator, lens: Lens, box: cameras.Box, nearer: bool, reach: float) -> tuple[float, float]:
    """x and z beside the person, for somebody or something that reaches so far to its sides, decimetres."""
    distance = float(lens.at[2])
    away = float(rng.uniform(0.1, 0.35)) * distance if nearer else -float(rng.uniform(8, 60))
    away = max(away, 5.0) if nearer else away
    depth = distance - away
    focal = float(lens.focal)
    left, right = (float(lens.cx) * -1 / focal * depth, (box.width - float(lens.cx)) / focal * depth)
    half, middle = (right - left) / 2, (left + right) / 2
    side = float(rng.choice([-1, 1]))
    inside = float(rng.uniform(0.1, 0.9)) * half if nearer else float(rng.uniform(-0.2, 1.3)) * half
    return middle + side * (half + reach - inside), away


def _thing(rng: np.random.Generator, lens: Lens, box: cameras.Box, nearer: bool) -> Standing:
    kind, parts = props.sample_prop(rng)
    at = _spot(rng, lens, box, nearer, props.WIDTHS.get(kind, 6) * float(rng.uniform(0.3, 1.0)))
    turn = rotation("y", float(rng.uniform(-0.6, 0.6)) if kind != "bollard" else 0.0)
    placed = [(props.stood(part, turn, at), part.surface) for part in parts]
    return Standing(tuple((mesh, surface, mesh.vertices) for mesh, surface in placed), OTHER, kind, nearer)


def _draw(standing: Standing, lens: Lens, light: Light, depth: Floats | None, layers: Layers) -> None:
    for mesh, surface, vertices in standing.parts:
        rasteriser.draw(mesh, surface, vertices, lens, layers, standing.owner)
    if depth is not None:
        _cover(standing, light, depth)


def _cover(standing: Standing, light: Light, depth: Floats) -> None:
    for mesh, _, vertices in standing.parts:
        rasteriser.cover(mesh, vertices, light, depth)


def _turned(turn: npt.NDArray[np.float32], moves: Floats) -> Floats:
    """(B, 3, 4) maps followed by a rotation; sums in a fixed order."""
    rows = [(turn[r, 0] * moves[:, 0] + turn[r, 1] * moves[:, 1]) + turn[r, 2] * moves[:, 2] for r in range(3)]
    return np.stack(rows, axis=1)


def feet(points: Floats) -> Floats:
    """(2, 2) x and z of the two places where somebody stands."""
    low = points[points[:, 1] < 1.2][:, [0, 2]]
    middle = low.mean(axis=0, dtype=np.float64)
    off = low - middle
    axis = off[np.argmax((off * off).sum(axis=1))]
    side = (off * axis).sum(axis=1) > 0
    groups = [low[side], low[~side]]
    return np.array([group.mean(axis=0, dtype=np.float64) if len(group) else middle for group in groups], np.float32)
