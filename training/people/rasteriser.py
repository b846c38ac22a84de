"""The rasteriser in C, built once with the system's compiler, and the structures that it takes."""

import copy
import ctypes
import hashlib
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.people.assets import default_cache
from training.people.errors import PeopleError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

SOURCE = Path(__file__).with_name("rasteriser.c")
FLAGS = ("-O2", "-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", "-msse2", "-mfpmath=sse", "-shared", "-fPIC")
_F3, _P = ctypes.c_float * 3, ctypes.c_void_p


class Lens(ctypes.Structure):
    """A pinhole camera: rows of `turn` are its right, up and forward axes, `at` its place; pixels."""

    _fields_ = (
        ("turn", ctypes.c_float * 9), ("at", _F3), ("focal", ctypes.c_float), ("cx", ctypes.c_float),
        ("cy", ctypes.c_float),
    )  # fmt: skip


class _Layers(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_int), ("height", ctypes.c_int), ("inverse", _P), ("albedo", _P), ("normal", _P),
        ("gloss", _P), ("owner", _P),
    )  # fmt: skip


class _Surface(ctypes.Structure):
    _fields_ = (
        ("detail", _P), ("detail_width", ctypes.c_int), ("detail_height", ctypes.c_int), ("trim", _P),
        ("pattern", _P), ("pattern_width", ctypes.c_int), ("pattern_height", ctypes.c_int),
        ("scale_u", ctypes.c_float), ("scale_v", ctypes.c_float), ("offset_u", ctypes.c_float),
        ("offset_v", ctypes.c_float), ("trim_colour", _F3), ("gloss", ctypes.c_float), ("alpha", ctypes.c_int),
        ("owner", ctypes.c_int),
    )  # fmt: skip


class Light(ctypes.Structure):
    """A sun towards `direction`, soft light from six sides (x, -x, y, ...), and the sun's view of what stands in it."""

    _fields_ = (
        ("direction", _F3), ("sun", _F3), ("ambient", ctypes.c_float * 18), ("across", _F3), ("up", _F3),
        ("centre", _F3), ("radius", ctypes.c_float), ("size", ctypes.c_int), ("depth", _P),
    )  # fmt: skip


class Plane(ctypes.Structure):
    """An endless textured plane; `texture` is (size, size, 3) float32 in linear light, `scale` decimetres wide."""

    _fields_ = (
        ("point", _F3), ("normal", _F3), ("across", _F3), ("scale", ctypes.c_float),
        ("size", ctypes.c_int), ("texture", _P),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Surface:
    """What a part is covered with: a pattern that repeats, times the light and dark of the garment's own atlas."""

    pattern: Bytes
    """(h, w, 3) sRGB, repeated over the texture coordinates."""
    detail: Bytes | None = None
    """(h, w, 4): three factors, 128 is 1, and opacity; None: even and opaque."""
    trim: Bytes | None = None
    """(h, w) not 0 where `trim_colour` takes the pattern's stead."""
    trim_colour: tuple[float, float, float] = (0, 0, 0)
    scale: tuple[float, float] = (1, 1)
    """How often the pattern repeats over one unit of the texture coordinates."""
    offset: tuple[float, float] = (0, 0)
    gloss: float = 0
    alpha: int = 0
    """Opacities below are holes."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """V vertices in the rest pose, with the bones that move them, and F triangles."""

    vertices: Floats
    bones: Ints
    """(V, 4) rows of the skeleton's bones."""
    weights: Floats
    """(V, 4), rows sum to 1."""
    faces: Ints
    uv: Floats
    uv_faces: Ints
    cut: Floats | None = None
    """(V,) negative where there is nothing: hems end where it crosses 0."""


class Layers:
    """Depth, colour, normal and owner of each pixel, at twice the resolution of the image."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        shape = (2 * height, 2 * width)
        self.inverse = np.zeros(shape, np.float32)
        self.albedo = np.zeros((*shape, 3), np.float32)
        self.normal = np.empty((*shape, 3), np.float32)
        self.gloss = np.empty(shape, np.float32)
        self.owner = np.zeros(shape, np.uint8)
        self._bind()

    def _bind(self) -> None:
        width, height = self.width, self.height
        arrays = (self.inverse, self.albedo, self.normal, self.gloss, self.owner)
        self.struct = _Layers(2 * width, 2 * height, *(address(array) for array in arrays))

    def copy(self) -> "Layers":
        """The same pixels, in memory of their own."""
        other = copy.copy(self)
        for name in ("inverse", "albedo", "normal", "gloss", "owner"):
            setattr(other, name, getattr(self, name).copy())
        other._bind()
        return other


def address(array: npt.NDArray[Any] | None) -> ctypes.c_void_p:
    """Where an array lies in memory; a null pointer of None."""
    if array is None:
        return ctypes.c_void_p()
    if not array.flags.c_contiguous:
        raise ValueError("the rasteriser takes contiguous arrays alone")
    return ctypes.c_void_p(array.ctypes.data)


def doubled(lens: Lens) -> Lens:
    """The lens of an image of twice the size."""
    return Lens(lens.turn, lens.at, 2 * lens.focal, 2 * lens.cx, 2 * lens.cy)


def morph(vertices: Floats, rows: Ints, shifts: Floats, weight: float) -> None:
    """Add (K, 3) shifts times a weight to K of the vertices, in place."""
    library().morph(len(rows), address(rows), address(shifts), ctypes.c_float(weight), address(vertices))


def nearest(points: Floats, among: Floats) -> npt.NDArray[np.int64]:
    """(N,) the row of the nearest of `among` for each of `points`."""
    out = np.zeros(len(points), np.int64)
    points, among = np.ascontiguousarray(points), np.ascontiguousarray(among)
    library().nearest(len(points), address(points), len(among), address(among), address(out))
    return out


def skinned(mesh: Mesh, moves: Floats) -> Floats:
    """(V, 3) vertices moved by the (B, 3, 4) affine maps of the bones."""
    out = np.empty_like(mesh.vertices)
    args = map(address, (mesh.vertices, mesh.bones, mesh.weights, moves, out))
    library().skin(len(out), *args)
    return out


def normals(vertices: Floats, faces: Ints) -> Floats:
    """(V, 3) unit normals, the mean of the faces around by their area."""
    out = np.empty_like(vertices)
    library().normals(len(out), len(faces), address(faces), address(vertices), address(out))
    return out


def projected(vertices: Floats, lens: Lens) -> Floats:
    """(V, 3): column and row in pixels, and 1 / depth, 0 behind the camera."""
    out = np.empty_like(vertices)
    library().project(len(out), address(vertices), ctypes.byref(lens), address(out))
    return out


def draw(mesh: Mesh, surface: Surface, vertices: Floats, lens: Lens, layers: Layers, owner: int) -> None:
    """Rasterise a mesh whose vertices have been moved; `owner` is written to its pixels."""
    detail, pattern = surface.detail, surface.pattern
    struct = _Surface(
        address(detail), 0 if detail is None else detail.shape[1], 0 if detail is None else detail.shape[0],
        address(surface.trim), address(pattern), pattern.shape[1], pattern.shape[0], *surface.scale,
        *surface.offset, _F3(*surface.trim_colour), surface.gloss, surface.alpha, owner,
    )  # fmt: skip
    arrays = (
        mesh.faces, mesh.uv_faces, projected(vertices, lens), normals(vertices, mesh.faces), mesh.uv, mesh.cut,
    )  # fmt: skip
    library().draw(len(mesh.faces), *map(address, arrays), ctypes.byref(struct), ctypes.byref(layers.struct))


def cover(mesh: Mesh, vertices: Floats, light: Light, depth: Floats) -> None:
    """Enter a mesh into the sun's view, (size, size) nearness, which starts at -1e9."""
    arrays = map(address, (mesh.faces, vertices, mesh.cut))
    library().cover(len(mesh.faces), *arrays, ctypes.byref(light), address(depth))


def shade(lens: Lens, light: Light, layers: Layers) -> None:
    """Turn albedo into light, in place."""
    library().shade(ctypes.byref(lens), ctypes.byref(light), ctypes.byref(layers.struct))


def ground(width: int, height: int, lens: Lens, light: Light, feet: Floats) -> Floats:
    """(H, W, 2) shares of light on the ground behind each pixel: of the sun, and of the rest around (N, 2) `feet`."""
    out = np.empty((height, width, 2), np.float32)
    where = ctypes.byref(lens), ctypes.byref(light)
    library().ground(width, height, *where, len(feet), address(feet), address(out))
    return out


def planes(image: Floats, lens: Lens, light: Light, surfaces: list[Plane]) -> None:
    """Draw planes behind everything, into an (H, W, 3) image in linear light."""
    height, width = image.shape[:2]
    array = (Plane * len(surfaces))(*surfaces)
    library().planes(width, height, ctypes.byref(lens), ctypes.byref(light), len(surfaces), array, address(image))


def resolve(layers: Layers) -> tuple[Floats, Floats, Floats]:
    """(H, W, 3) light, (H, W) share of each pixel that is drawn, (H, W) share that belongs to owner 1."""
    shape = (layers.height, layers.width)
    light = np.empty((*shape, 3), np.float32)
    drawn, person = np.empty(shape, np.float32), np.empty(shape, np.float32)
    library().resolve(ctypes.byref(layers.struct), *map(address, (light, drawn, person)))
    return light, drawn, person


def develop(light: Floats, gain: Floats, lift: float, contrast: float) -> Floats:
    """(H, W, 3) of 0 to 255 in sRGB from linear light."""
    out = np.empty_like(light)
    levels = ctypes.c_float(lift), ctypes.c_float(contrast)
    library().develop(light.size // 3, address(light), address(gain), *levels, address(out))
    return out


def linear(image: Bytes) -> Floats:
    """Linear light, 0 to 1, from sRGB of any shape."""
    out = np.empty(image.shape, np.float32)
    library().linear(image.size, address(image), address(out))
    return out


def charted(uv: Floats, uv_faces: Ints, width: int, height: int) -> npt.NDArray[np.bool_]:
    """(H, W) texels of an atlas that the faces use, with a margin of about one."""
    out = np.zeros((height, width), np.uint8)
    library().charted(len(uv_faces), address(uv_faces), address(uv), width, height, address(out))
    return out.astype(np.bool_)


@cache
def library() -> ctypes.CDLL:
    """The compiled rasteriser, built at first use and kept by the digest of source, compiler and flags."""
    compiler = os.environ.get("CC", "cc")
    text = SOURCE.read_bytes() + " ".join((compiler, *FLAGS)).encode()
    built = default_cache() / f"rasteriser-{hashlib.sha256(text).hexdigest()[:24]}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        partial = built.with_suffix(f".{os.getpid()}.tmp")
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(partial), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or error
            raise PeopleError(
                f"the rasteriser could not be built with {compiler!r}: {reason}; set CC to a C compiler"
            ) from error
        os.replace(partial, built)
    return ctypes.CDLL(str(built))
