"""A small renderer of round solids, enough for people in clothes.

Solids are given in body units (height 1, ground at y = 0, x to the person's left, z forward): a limb is a rounded
cone, a loft a stack of ellipses. They are turned to the camera, drawn into a depth buffer and lit once at the end.
A little of each point's depth lowers it in the picture: the camera hangs high.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
"""(height, width, 3) uint8, RGB."""
Mask = npt.NDArray[np.bool_]
Point = tuple[float, float, float]
Paint = Callable[[Floats, Floats], Floats]
"""(angle, height) of N surface points, each (N,), to their (N, 3) colours in 0..1.

On a loft angle 0 is the body's front and height is the body's; on a limb they are the turn from the middle line and
the distance from its start.
"""

TILT = 0.16
"""How far a point moves down the picture per unit that it is nearer to the camera."""


@dataclass
class Canvas:
    """A depth buffer of `height` x `width` pixels in which one body unit is `scale` pixels.

    Its body's ground point lies at column `middle`, row `ground`.
    """

    height: int
    width: int
    scale: float
    middle: float
    ground: float
    yaw: float
    lean: float = 0.05
    depth: Floats = field(init=False)
    colour: Floats = field(init=False)
    normal: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.depth = np.full((self.height, self.width), -np.inf)
        self.colour = np.zeros((self.height, self.width, 3))
        self.normal = np.zeros((self.height, self.width, 3))
        self._sin, self._cos = math.sin(self.yaw), math.cos(self.yaw)

    def seen(self, point: Point) -> Point:
        """A body point as (right, up, nearer) of the camera."""
        x, y, z = point
        z += self.lean * max(0.0, y - 0.5)
        near = z * self._cos - x * self._sin
        return x * self._cos + z * self._sin, y - TILT * near, near

    def _window(self, left: float, right: float, low: float, high: float) -> tuple[slice, slice, Floats, Floats] | None:
        """The pixels that a box in camera units covers, with their (1, W) right and (H, 1) up; None outside."""
        x0 = max(0, math.floor(self.middle + left * self.scale))
        x1 = min(self.width, math.ceil(self.middle + right * self.scale) + 1)
        y0 = max(0, math.floor(self.ground - high * self.scale))
        y1 = min(self.height, math.ceil(self.ground - low * self.scale) + 1)
        if x0 >= x1 or y0 >= y1:
            return None
        right_of: Floats = (np.arange(x0, x1, dtype=np.float64) + 0.5 - self.middle) / self.scale
        up: Floats = (self.ground - np.arange(y0, y1, dtype=np.float64) - 0.5) / self.scale
        return slice(y0, y1), slice(x0, x1), right_of[None, :], up[:, None]

    def _put(
        self, rows: slice, columns: slice, hit: Mask, depth: Floats, surface: Callable[[Mask], tuple[Floats, Floats]]
    ) -> None:
        """Keep the hit pixels that are nearer than what is there; `surface` gives their colours and normals."""
        nearer = hit & (depth > self.depth[rows, columns])
        if nearer.any():
            colours, normals = surface(nearer)
            self.depth[rows, columns][nearer] = depth[nearer]
            self.colour[rows, columns][nearer] = colours
            self.normal[rows, columns][nearer] = normals

    def limb(self, start: Point, end: Point, radius: tuple[float, float], paint: Paint) -> None:
        """A rounded cone; the paint's height is the distance from `start`."""
        (ax, ay, an), (bx, by, bn) = self.seen(start), self.seen(end)
        widest = max(radius)
        window = self._window(min(ax, bx) - widest, max(ax, bx) + widest, min(ay, by) - widest, max(ay, by) + widest)
        if window is None:
            return
        rows, columns, x, y = window
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
        off_x, off_y = x - ax - along * dx, y - ay - along * dy
        wide = radius[0] + (radius[1] - radius[0]) * along
        room = wide**2 - off_x**2 - off_y**2
        rise = np.sqrt(np.maximum(room, 0))
        side = np.clip((off_x * -dy + off_y * dx) / (math.hypot(dx, dy) + 1e-9) / wide, -1, 1)
        length = math.dist(start, end)

        def surface(kept: Mask) -> tuple[Floats, Floats]:
            normals = np.stack([off_x[kept], off_y[kept], rise[kept]], axis=-1) / wide[kept][:, None]
            return paint(np.arcsin(side[kept]), along[kept] * length), normals

        self._put(rows, columns, room > 0, an + along * (bn - an) + rise, surface)

    def loft(
        self,
        profile: list[tuple[float, float, float]],
        paint: Paint,
        *,
        x: float = 0.0,
        z: float = 0.0,
        keep: Callable[[Floats, Floats], Mask] | None = None,
    ) -> None:
        """A stack of ellipses about (x, z): rising rows of (height, half breadth, half thickness).

        `keep` may cut holes, by the paint's angle and height.
        """
        knots = np.array(profile)
        middle = float(knots[:, 0].mean())
        centre_x, lifted, centre_near = self.seen((x, middle, z))
        lift = lifted - middle
        widest = float(knots[:, 1:].max())
        window = self._window(centre_x - widest, centre_x + widest, knots[0, 0] + lift, knots[-1, 0] + lift)
        if window is None:
            return
        rows, columns, right, up = window
        height = up - lift
        fine = np.linspace(knots[0, 0], knots[-1, 0], 65)
        a, b = (np.interp(height, fine, _softened(np.interp(fine, knots[:, 0], knots[:, k]))) for k in (1, 2))
        slope = np.gradient(np.interp(fine, knots[:, 0], knots[:, 1]), fine)
        sin, cos = self._sin, self._cos
        off = right - centre_x - self.lean * (height - middle) * sin * (middle > 0.5)
        # The ray at `off` meets the turned ellipse where square * n**2 + 2 * half * n + constant = 0.
        square = sin**2 / a**2 + cos**2 / b**2
        half = off * sin * cos * (1 / b**2 - 1 / a**2)
        inside = half**2 - square * (off**2 * (cos**2 / a**2 + sin**2 / b**2) - 1)
        inside = np.where((height > knots[0, 0]) & (height < knots[-1, 0]), inside, -1)
        near = (np.sqrt(np.maximum(inside, 0)) - half) / square
        body_x, body_z = off * cos - near * sin, off * sin + near * cos
        angle = np.arctan2(body_x / a, body_z / b)
        height = np.broadcast_to(height, angle.shape)
        hit = inside > 0
        if keep is not None:
            hit &= keep(angle, height)

        def surface(kept: Mask) -> tuple[Floats, Floats]:
            flat_x, flat_z = (body_x / a**2)[kept], (body_z / b**2)[kept]
            size = np.hypot(flat_x, flat_z) + 1e-9
            rise = -np.interp(height[kept], fine, slope)
            normals = np.stack(
                [(flat_x * cos + flat_z * sin) / size, rise, (flat_z * cos - flat_x * sin) / size], axis=-1
            )
            return paint(angle[kept], height[kept]), normals / np.linalg.norm(normals, axis=-1, keepdims=True)

        self._put(rows, columns, hit, centre_near + near, surface)

    def lit(self, light: Point, sun: float) -> tuple[Floats, Floats]:
        """(H, W, 3) colours under a light from a direction (right, up, nearer), and (H, W) coverage, 0 or 1.

        sun: 0 for an overcast sky, 1 for hard light.
        """
        covered = np.isfinite(self.depth)
        towards = np.array(light) / math.hypot(*light)
        direct = np.clip(self.normal @ towards, 0, 1)
        shade = 0.62 - 0.12 * sun + 0.14 * self.normal[..., 1] + 0.1 * self.normal[..., 2] + (0.34 + 0.3 * sun) * direct
        # What lies behind its surroundings gets less sky: under the arms, between the legs.
        depth = np.where(covered, self.depth, 0)
        reach = max(1, round(0.035 * self.scale))
        around = blurred(depth, reach) / np.maximum(blurred(covered.astype(float), reach), 1e-6)
        shade *= 1 - 0.42 * np.clip((around - depth - 0.004) / 0.06, 0, 1)
        return np.clip(self.colour * shade[..., None], 0, 1), covered.astype(float)


def _softened(values: Floats) -> Floats:
    """A profile's (K,) radii without its knots' corners, never quite 0."""
    padded = np.pad(values, 3, mode="reflect", reflect_type="odd")
    return np.maximum(np.convolve(padded, np.full(7, 1 / 7), "valid"), 1e-3)


def blurred(values: Floats, reach: int) -> Floats:
    """(H, W) or (H, W, C) values averaged over squares of 2 * reach + 1, twice, edges repeated."""
    for axis in (0, 1, 0, 1):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (reach + 1, reach)
        total = np.cumsum(np.pad(values, pad, mode="edge"), axis=axis)
        span, length = 2 * reach + 1, values.shape[axis]
        values = (total.take(range(span, span + length), axis) - total.take(range(length), axis)) / span
    return values
