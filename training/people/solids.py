"""Simple solids: what bags, straps, caps and street furniture are made of."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.people.rasteriser import Floats, Mesh

Points = npt.NDArray[np.float64]
Vector = Sequence[float] | Points


def rounded_box(size: Vector, roundness: float = 0.35, columns: int = 24, rows: int = 12) -> Mesh:
    """A box about the origin with half sides `size`; roundness 1 is an ellipsoid, near 0 has sharp edges."""
    around, up = np.meshgrid(np.linspace(-np.pi, np.pi, columns + 1), np.linspace(-np.pi / 2, np.pi / 2, rows + 1))

    def power(x: Points) -> Points:
        return np.asarray(np.sign(x) * np.abs(x.round(9)) ** roundness)

    level = power(np.cos(up))
    points = np.stack([level * power(np.sin(around)), power(np.sin(up)), level * power(np.cos(around))], axis=-1)
    uv = np.stack([around / (2 * np.pi) + 0.5, up / np.pi + 0.5], axis=-1)
    return grid(points.reshape(rows + 1, columns + 1, 3) * np.asarray(size), uv)


def tube(path: Points, radius: float | Points, sides: int = 6, flat: float = 1.0, across: Points | None = None) -> Mesh:
    """A tube along a path.

    Args:
        path: (N, 3) its middle.
        radius: decimetres, one or (N,).
        sides: corners of its section.
        flat: thickness over width: a strap is flat.
        across: (N, 3) the direction in which a strap is wide; None: any.

    Returns:
        The mesh; v of its texture coordinates runs along the path.
    """
    along = np.gradient(path, axis=0)
    along /= np.sqrt((along * along).sum(axis=1, keepdims=True)) + 1e-9
    if across is None:
        across = np.tile(np.array([0.31, 0.29, 0.9]), (len(path), 1))
    wide = across - along * (across * along).sum(axis=1, keepdims=True)
    wide /= np.sqrt((wide * wide).sum(axis=1, keepdims=True)) + 1e-9
    thick = np.cross(along, wide)
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    r = np.broadcast_to(np.asarray(radius, np.float64), (len(path),))[:, None, None]
    ring = wide[:, None] * np.cos(turn)[:, None] + thick[:, None] * (flat * np.sin(turn))[:, None]
    points = path[:, None] + r * ring
    u, v = np.meshgrid(turn / (2 * np.pi), np.linspace(0, 1, len(path)))
    return grid(points, np.stack([u, v], axis=-1))


def grid(points: Points, uv: Points) -> Mesh:
    """A sheet of (R, C, 3) points, each square of which becomes two triangles."""
    rows, columns = points.shape[:2]
    at = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    one = np.stack([at, at + 1, at + columns + 1], axis=1)
    two = np.stack([at, at + columns + 1, at + columns], axis=1)
    faces = np.concatenate([one, two]).astype(np.int32)
    return rigid(points.reshape(-1, 3), faces, uv.reshape(-1, 2))


def rigid(points: Points, faces: npt.NDArray[np.int32], uv: Points, bone: int = 0) -> Mesh:
    """A mesh that one bone moves."""
    vertices = np.ascontiguousarray(points.round(5), np.float32)
    bones = np.zeros((len(vertices), 4), np.int32)
    bones[:] = bone
    weights = np.zeros((len(vertices), 4), np.float32)
    weights[:, 0] = 1
    faces = np.ascontiguousarray(faces)
    return Mesh(vertices, bones, weights, faces, np.ascontiguousarray(uv.round(6), np.float32), faces)


def placed(mesh: Mesh, at: Vector, turn: Points | None = None, bone: int = 0) -> Mesh:
    """The mesh turned, then moved, then given to a bone."""
    points = mesh.vertices.astype(np.float64)
    if turn is not None:
        points = np.stack([(points[:, 0] * row[0] + points[:, 1] * row[1]) + points[:, 2] * row[2] for row in turn], 1)
    return rigid(points + np.asarray(at, np.float64), mesh.faces, mesh.uv.astype(np.float64), bone)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    faces, uv_faces, vertex, texture = [], [], 0, 0
    for mesh in meshes:
        faces.append(mesh.faces + vertex)
        uv_faces.append(mesh.uv_faces + texture)
        vertex += len(mesh.vertices)
        texture += len(mesh.uv)

    def stack(name: str) -> Floats:
        return np.ascontiguousarray(np.concatenate([getattr(mesh, name) for mesh in meshes]))

    return Mesh(
        stack("vertices"), stack("bones"), stack("weights"),  # type: ignore[arg-type]
        np.ascontiguousarray(np.concatenate(faces), np.int32), stack("uv"),
        np.ascontiguousarray(np.concatenate(uv_faces), np.int32),
    )  # fmt: skip
