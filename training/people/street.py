"""A street in which people walk, as frames of several cameras at once with the box of each person."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.people import cameras, rasteriser, sensor
from training.people.cameras import Camera, Weather
from training.people.crop import SUN, Studio, feet
from training.people.formats import rotation
from training.people.gait import walking
from training.people.person import Person
from training.people.rasteriser import Bytes, Floats, Layers, Lens, Plane
from training.people.scenery import TILE, across, surfaces

SECONDS = 1 / 15
"""Between two frames."""
PACE = 13.0
"""Decimetres a second."""
STRIDE = 14.0
"""Decimetres of two steps."""

Walk = Callable[[int, float], tuple[tuple[float, float], float, float]]
"""Of a person's row and the seconds: where they are, x and z in decimetres; heading; phase of the stride."""


@dataclass(frozen=True)
class View:
    """A camera over the street: it looks along -z after the street has been turned by `turn`."""

    turn: float
    camera: Camera
    width: int = 320
    height: int = 180
    focal: float = 560.0

    def lens(self) -> Lens:
        """Its lens, aimed at the middle of the street."""
        pitch = float(np.arctan2(self.camera.height - 5, self.camera.distance))
        up = (0.0, float(np.cos(pitch)), -float(np.sin(pitch)))
        forward = (0.0, -float(np.sin(pitch)), -float(np.cos(pitch)))
        at = (0.0, self.camera.height, self.camera.distance)
        return Lens((1.0, 0.0, 0.0, *up, *forward), at, self.focal, self.width / 2, self.height / 2)


VIEWS = (
    View(0.3, Camera((7, 0), 32, 175, (1.02, 1.0, 0.97), 0.1, 1.05, 0.0, 0.9, 0, 0.3, 1.0, 85, False)),
    View(-0.8, Camera((7, 1), 45, 165, (0.96, 1.0, 1.05), -0.1, 0.95, 0.02, 0.8, 0, 0.4, 1.6, 85, False)),
)
WEATHER = Weather(2.2, 0.8, (0.8, 0.77, 0.72), tuple((0.5 * s, 0.51 * s, 0.54 * s) for s in (1, 0.9, 1.3, 0.5, 1, 0.8)))


def frame(
    studio: Studio, people: list[Person], view: View, number: int, walk: Walk | None = None
) -> tuple[Bytes, npt.NDArray[np.float32]]:
    """One frame.

    Args:
        studio: renders it.
        people: who walks to and fro, N.
        view: the camera.
        number: of the frame, from 0.
        walk: where they are; None for lanes that all can be seen on.

    Returns:
        (H, W, 3) uint8 RGB; (N, 4) float32 boxes x1, y1, x2, y2 in pixels, cut to the frame: of each person, whether
        or not another one hides them.
    """
    lens = view.lens()
    layers = Layers(view.width, view.height)
    depth = np.full((2 * SUN, 2 * SUN), -1e9, np.float32)
    light = cameras.lit(WEATHER, np.array([0.0, 8.0, 0.0]), 110.0, depth)
    boxes, dark = [], []
    for row, person in enumerate(people):
        at, yaw, phase = (walk or _walk)(row, number * SECONDS)
        turn = rotation("y", view.turn)
        x, z = float(turn[0, 0] * at[0] + turn[0, 2] * at[1]), float(turn[2, 0] * at[0] + turn[2, 2] * at[1])
        rng = np.random.default_rng([person.seed, 55])
        pose = walking(rng, studio.wardrobe.body, person.start, person.shape.heavy, person.carries, phase, 0.95)
        standing = studio.posed(person, pose, yaw + view.turn, (x, z), row + 1)
        for mesh, surface, vertices in standing.parts:
            rasteriser.cover(mesh, vertices, light, depth)
            rasteriser.draw(mesh, surface, vertices, rasteriser.doubled(lens), layers, row + 1)
        points = standing.points()
        dark.append(feet(points))
        flat = rasteriser.projected(points, lens)[:, :2]
        limits = np.array([view.width, view.height], np.float32)
        boxes.append(np.concatenate([flat.min(axis=0).clip(0, limits), flat.max(axis=0).clip(0, limits)]))
    rasteriser.shade(rasteriser.doubled(lens), light, layers)
    image, drawn, _ = rasteriser.resolve(layers)
    behind = _street(view, lens, light, np.ascontiguousarray(np.concatenate(dark), np.float32))
    rng = np.random.default_rng([number, view.camera.key[1]])
    levels = sensor.exposed(behind * (1 - drawn[..., None]) + image, view.camera, np.random.default_rng(1))
    return sensor.seen(levels, view.camera, rng, faults=False), np.array(boxes, np.float32).reshape(-1, 4)


def _walk(row: int, time: float) -> tuple[tuple[float, float], float, float]:
    """Where the person of a row is after so many seconds: x and z, heading, phase of the stride."""
    start = (-36.0, 24.0, -16.0, 34.0)[row % 4] + 5 * (row // 4)
    way = 1 if start < 0 else -1
    pace = PACE * (1 + 0.06 * ((row * 7) % 5 - 2))
    lane = (-34.0, -10.0, 12.0, 33.0)[row % 4]
    return (start + way * pace * time, lane), way * np.pi / 2, (time * pace / STRIDE + 0.23 * row) % 1


def _street(view: View, lens: Lens, light: rasteriser.Light, dark: Floats) -> Floats:
    """(H, W, 3) the empty street in linear light, with the shadows of who is in it."""
    scene = surfaces((7, 12), indoor=False)
    image = np.empty((view.height, view.width, 3), np.float32)
    image[:] = scene.sky
    planes = []
    turn = rotation("y", view.turn - VIEWS[0].turn)
    for point, normal, scale, texture in scene.planes:
        spot, facing = ((turn @ vector).round(5).tolist() for vector in (np.array(point), np.array(normal)))
        planes.append(
            Plane(tuple(spot), tuple(facing), across(tuple(facing)), scale, TILE, rasteriser.address(texture))
        )
    rasteriser.planes(image, lens, light, planes)
    shares = rasteriser.ground(view.width, view.height, lens, light, dark)
    return image * shares[..., 1:]
