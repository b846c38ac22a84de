"""The text formats of the assets: meshes, fits of garments, changes of shape, still poses, skin weights."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.people.errors import PeopleError

Arrays = dict[str, npt.NDArray[Any]]


def read_mesh(path: Path) -> Arrays:
    """A Wavefront mesh, quads split into triangles.

    Args:
        path: the `.obj` file.

    Returns:
        `vertices` (V, 3) float32; `uv` (T, 2) float32; `faces` and `uv_faces` (F, 3) int32; `groups` (F,) int32,
        rows of `names`.
    """
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    uv_faces: list[list[int]] = []
    groups: list[int] = []
    names: list[str] = []
    group = 0
    for line in path.read_text("utf-8", "replace").splitlines():
        kind, _, rest = line.strip().partition(" ")
        fields = rest.split()
        if kind == "v":
            vertices.append([float(number) for number in fields[:3]])
        elif kind == "vt":
            uv.append([float(number) for number in fields[:2]])
        elif kind == "g":
            name = " ".join(fields)
            if name not in names:
                names.append(name)
            group = names.index(name)
        elif kind == "f":
            corners = [[*corner.split("/"), ""][:2] for corner in fields]
            at = [int(vertex) - 1 for vertex, _ in corners]
            uv_at = [int(texture) - 1 if texture else 0 for _, texture in corners]
            for k in range(1, len(at) - 1):
                faces.append([at[0], at[k], at[k + 1]])
                uv_faces.append([uv_at[0], uv_at[k], uv_at[k + 1]])
                groups.append(group)
    return {
        "vertices": np.array(vertices, np.float32).reshape(-1, 3),
        "uv": np.array(uv or [[0, 0]], np.float32),
        "faces": np.array(faces, np.int32).reshape(-1, 3),
        "uv_faces": np.array(uv_faces, np.int32).reshape(-1, 3),
        "groups": np.array(groups, np.int32),
        "names": np.array(names or [""]),
    }


def read_target(path: Path) -> Arrays:
    """A change of shape.

    Args:
        path: the `.target` file.

    Returns:
        `rows` (K,) int32 of the base mesh's vertices and `shifts` (K, 3) float32 in decimetres.
    """
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    lines = [fields for fields in lines if len(fields) == 4]
    return {
        "rows": np.array([int(fields[0]) for fields in lines], np.int32),
        "shifts": np.array([[float(f) for f in fields[1:]] for fields in lines], np.float32).reshape(-1, 3),
    }


def read_fit(path: Path) -> Arrays:
    """How a garment hangs on the base mesh.

    Args:
        path: the `.mhclo` file.

    Returns:
        `rows` (V, 3) int32 of base vertices, `weights` (V, 3) and `offsets` (V, 3) float32 for each vertex of the
        garment; `scales` (S, 4) float64: axis, two base vertices, the distance that offsets were measured at;
        `hidden` (K,) int32, base vertices beneath.
    """
    rows: list[list[int]] = []
    weights: list[list[float]] = []
    offsets: list[list[float]] = []
    scales: list[list[float]] = []
    hidden: set[int] = set()
    section = ""
    for line in path.read_text("utf-8", "replace").splitlines():
        fields = line.split()
        if not fields or fields[0] == "#":
            continue
        if fields[0] in ("x_scale", "y_scale", "z_scale"):
            scales.append(["xyz".index(fields[0][0]), *map(float, fields[1:4])])
        elif fields[0] in ("verts", "delete_verts", "weights"):
            section = fields[0]
        elif section == "verts" and fields[0].isdigit():
            if len(fields) == 1:
                rows.append([int(fields[0])] * 3)
                weights.append([1, 0, 0])
                offsets.append([0, 0, 0])
            elif len(fields) >= 9:
                rows.append([int(number) for number in fields[:3]])
                weights.append([float(number) for number in fields[3:6]])
                offsets.append([float(number) for number in fields[6:9]])
        elif section == "delete_verts":
            for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", line):
                hidden.update(range(int(first), int(last or first) + 1))
    return {
        "rows": np.array(rows, np.int32).reshape(-1, 3),
        "weights": np.array(weights, np.float32).reshape(-1, 3),
        "offsets": np.array(offsets, np.float32).reshape(-1, 3),
        "scales": np.array(scales, np.float64).reshape(-1, 4),
        "hidden": np.array(sorted(hidden), np.int32),
    }


def fitted_mesh(path: Path) -> str:
    """The name of the mesh that a `.mhclo` file fits."""
    match = re.search(r"^obj_file\s+(\S+)", path.read_text("utf-8", "replace"), re.MULTILINE)
    if match is None:
        raise PeopleError(f"{path} names no mesh; expected a line 'obj_file NAME': fetch the assets again")
    return match.group(1)


def read_pose(path: Path) -> Arrays:
    """One still pose of a `.bvh` file, turned from z up to y up.

    Args:
        path: the file.

    Returns:
        `bones` (B,) names and `rotations` (B, 3, 3) float64, of the bones that turn.
    """
    text = path.read_text()
    values = [float(number) for number in text.split("Frame Time")[1].split("\n")[1].split()]
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    bones, rotations, at = [], [], 0
    for bone, channels in re.findall(r"(?:ROOT|JOINT)\s+(\S+)\s*\{\s*OFFSET[^\n]*\s*CHANNELS\s+\d([^\n]*)", text):
        turn = np.eye(3)
        for channel in channels.split():
            if channel.endswith("rotation"):
                turn = turn @ rotation(channel[0].lower(), np.radians(values[at]))
            at += 1
        if np.abs(turn - np.eye(3)).max() > 1e-4:
            bones.append(bone)
            rotations.append(upright @ turn @ upright.T)
    return {"bones": np.array(bones or [""]), "rotations": np.array(rotations).reshape(-1, 3, 3)}


def read_skin_weights(path: Path, bones: list[str], vertices: int) -> Arrays:
    """How much each bone moves each vertex of the base mesh: `weights` (vertices, bones) float32, rows sum to 1."""
    weights = np.zeros((vertices, len(bones)), np.float32)
    for bone, pairs in json.loads(path.read_text())["weights"].items():
        for row, weight in pairs:
            weights[int(row), bones.index(bone)] += weight
    weights[weights.sum(axis=1) == 0, bones.index("root")] = 1
    return {"weights": weights / weights.sum(axis=1, keepdims=True)}


def rotation(axis: str, angle: float) -> npt.NDArray[np.float64]:
    """The (3, 3) rotation by `angle` radians about 'x', 'y' or 'z'."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(rows[axis], np.float64)
