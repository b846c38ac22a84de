"""The rasteriser against numpy, on a sheet, a hole, a hem, two layers, a shadow; and the same bytes always."""

import ctypes
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from training.people import patterns, rasteriser, solids
from training.people.errors import PeopleError
from training.people.rasteriser import Layers, Lens, Light, Mesh, Surface

SIZE = 32
TURN = (1, 0, 0, 0, 1, 0, 0, 0, -1)
"""A camera that looks along -z, y up."""


def lens():
    return Lens(TURN, (0, 0, 10), 16.0, SIZE / 2, SIZE / 2)


def sheet(z=0.0, half=5.0, cut=None):
    """A square that faces the camera, (0, 0) to (1, 1) of its texture."""
    points = np.array([[-half, half, z], [half, half, z], [-half, -half, z], [half, -half, z]])
    mesh = solids.rigid(
        points, np.array([[0, 2, 1], [1, 2, 3]], np.int32), np.array([[0, 1], [1, 1], [0, 0], [1, 0.0]])
    )
    return mesh if cut is None else Mesh(**{**mesh.__dict__, "cut": np.asarray(cut, np.float32)})


def light(direction=(0.0, 0.0, 1.0), sun=0.0, soft=1.0):
    depth = np.full((64, 64), -1e9, np.float32)
    across, up = ((1.0, 0, 0), (0, 1.0, 0)) if direction[2] else ((1.0, 0, 0), (0, 0, -1.0))
    struct = Light(direction, (sun,) * 3, (soft,) * 18, across, up, (0, 0, 0), 12.0, 64, rasteriser.address(depth))
    return struct, depth


def drawn(*parts, layers=None):
    layers = layers or Layers(SIZE, SIZE)
    for owner, (mesh, surface) in enumerate(parts, 1):
        rasteriser.draw(mesh, surface, mesh.vertices, rasteriser.doubled(lens()), layers, owner)
    return layers


RED = Surface(patterns.plain((255, 0, 0)))
BLUE = Surface(patterns.plain((0, 0, 255)))


def test_a_sheet_covers_what_perspective_says():
    layers = drawn((sheet(), RED))
    covered = layers.inverse > 0
    np.testing.assert_allclose(layers.inverse[covered], 0.1, rtol=1e-5)  # ten decimetres away
    assert covered.sum() == 32 * 32  # ten decimetres at focal length 32 and depth 10, in a doubled image
    np.testing.assert_allclose(layers.normal[covered], np.tile([0, 0, 1.0], (covered.sum(), 1)), atol=1e-6)
    np.testing.assert_allclose(layers.albedo[covered], np.tile([1.0, 0, 0], (covered.sum(), 1)), atol=2e-3)


def test_the_nearer_of_two_is_seen_whatever_the_order():
    near, far = (sheet(z=2.0, half=2.0), BLUE), (sheet(), RED)
    one, two = drawn(far, near), drawn(near, far)
    np.testing.assert_array_equal(one.albedo, two.albedo)
    assert one.albedo[SIZE, SIZE, 2] > 0.9
    assert one.albedo[SIZE - 14, SIZE, 0] > 0.9


def test_opacity_below_the_threshold_is_a_hole():
    detail = np.full((4, 4, 4), 128, np.uint8)
    detail[:2, :, 3] = 0
    layers = drawn((sheet(), Surface(RED.pattern, detail, alpha=100)))
    rows = np.flatnonzero((layers.inverse > 0).any(axis=1))
    assert rows.min() == SIZE  # the upper half is open
    assert len(rows) == 16


def test_a_hem_is_where_the_cut_crosses_zero():
    layers = drawn((sheet(cut=[3, 3, -1, -1]), RED))  # three quarters of the way down
    rows = np.flatnonzero((layers.inverse > 0).any(axis=1))
    assert len(rows) == 24


def test_detail_darkens_and_trim_has_its_own_colour():
    detail = np.full((4, 4, 4), 64, np.uint8)
    trim = np.zeros((4, 4), np.uint8)
    trim[:, 2:] = 1
    layers = drawn((sheet(), Surface(RED.pattern, detail, trim, (0, 255, 0))))
    left, right = layers.albedo[SIZE, SIZE - 8], layers.albedo[SIZE, SIZE + 8]
    assert left[0] == pytest.approx(0.214, abs=4e-3)  # half of sRGB's range
    assert left[1] == right[0] == 0
    assert right[1] == pytest.approx(0.214, abs=4e-3)


def test_a_pattern_repeats_by_its_scale():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, 4:] = 255
    layers = drawn((sheet(), Surface(stripes, scale=(4, 1))))
    row = layers.albedo[SIZE, SIZE - 16 : SIZE + 16, 0] > 0.2
    assert np.count_nonzero(np.diff(row.astype(int))) == 7


def test_skinning_is_the_weighted_sum_of_the_bones_maps():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(50, 3)).astype(np.float32)
    bones = rng.integers(0, 5, (50, 4)).astype(np.int32)
    weights = rng.dirichlet(np.ones(4), 50).astype(np.float32)
    moves = rng.normal(size=(5, 3, 4)).astype(np.float32)
    mesh = Mesh(vertices, bones, weights, np.zeros((0, 3), np.int32), np.zeros((1, 2), np.float32), bones[:0, :3])
    homogeneous = np.concatenate([vertices, np.ones((50, 1))], axis=1)
    expected = np.einsum("vk,vkij,vj->vi", weights, moves[bones], homogeneous)
    np.testing.assert_allclose(rasteriser.skinned(mesh, moves), expected, rtol=1e-4, atol=1e-5)


def test_normals_of_an_ellipsoid_point_outwards():
    ball = solids.rounded_box([2, 2, 2], 1.0, 48, 24)
    normals = rasteriser.normals(ball.vertices, ball.faces)
    inner = np.abs(ball.vertices[:, 1]) < 1.5  # not the poles and their slivers
    seam = np.abs(np.arctan2(ball.vertices[:, 0], ball.vertices[:, 2])) > 3
    cosine = (normals * ball.vertices / 2).sum(axis=1)[inner & ~seam]
    assert np.abs(cosine).min() > 0.99
    assert len(np.unique(np.sign(cosine))) == 1


def test_the_nearest_point_is_that_of_numpy():
    rng = np.random.default_rng(1)
    points, among = (rng.normal(size=(n, 3)).astype(np.float32) for n in (40, 90))
    expected = ((points[:, None] - among) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(rasteriser.nearest(points, among), expected)


def test_the_sun_leaves_a_shadow_on_what_is_behind():
    struct, depth = light(sun=1.0, soft=0.2)
    wall, board = sheet(z=-2.0, half=9.0), sheet(z=0.0, half=2.0)
    for mesh in (wall, board):
        rasteriser.cover(mesh, mesh.vertices, struct, depth)
    layers = drawn((wall, RED))  # the board itself is not drawn: its shadow is
    rasteriser.shade(rasteriser.doubled(lens()), struct, layers)
    middle, corner = layers.albedo[SIZE, SIZE, 0], layers.albedo[12, 12, 0]
    assert middle == pytest.approx(0.2, abs=0.02)
    assert corner == pytest.approx(1.2, abs=0.02)


def test_the_ground_is_dark_under_feet_and_in_the_shadow():
    struct, depth = light(direction=(0.0, 1.0, 0.0), sun=1.0)
    roof = solids.placed(sheet(half=2.0), [0, 6, 0], np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))
    rasteriser.cover(roof, roof.vertices, struct, depth)
    down = Lens((1, 0, 0, 0, 0, -1, 0, -1, 0), (0, 20.0, 0), 32.0, SIZE / 2, SIZE / 2)
    shares = rasteriser.ground(SIZE, SIZE, down, struct, np.array([[4.0, 0.0]], np.float32))
    assert shares[16, 16, 0] == 0
    assert shares[16, 2, 0] == 1
    assert shares[16, 22, 1] < 0.6
    assert shares[16, 8, 1] > 0.95


def test_pixels_are_shared_between_what_covers_them():
    layers = Layers(1, 1)
    layers.inverse[:] = [[0.1, 0.1], [0.1, 0.0]]
    layers.owner[:] = [[1, 2], [1, 0]]
    layers.albedo[:] = 0.8
    image, any_, person = rasteriser.resolve(layers)
    np.testing.assert_allclose(image, 0.6, rtol=1e-6)
    assert any_[0, 0] == 0.75
    assert person[0, 0] == 0.5


def test_developing_encodes_as_srgb_does():
    values = np.linspace(0.02, 0.55, 30, dtype=np.float32)
    image = np.repeat(values, 3).reshape(1, 30, 3)
    levels = rasteriser.develop(image, np.ones(3, np.float32), 0.0, 1.0)[0, :, 0]
    np.testing.assert_allclose(levels, 255 * (1.055 * values ** (1 / 2.4) - 0.055), atol=1.0)
    back = rasteriser.linear(levels.round().astype(np.uint8))
    np.testing.assert_allclose(back, values, atol=0.01)


def scene():
    """Boxes with patterns in sun and soft light: bytes of the light and of their depth."""
    struct, depth = light(sun=0.8, soft=0.5)
    layers = Layers(SIZE, SIZE)
    rng = np.random.default_rng(5)
    cloth = Surface(patterns.woven(rng, np.ones(18)), scale=(3, 3), gloss=0.1)
    for k in range(4):
        box = solids.placed(solids.rounded_box([1.5, 2, 1], 0.4), [k - 2, 0.3 * k, -k])
        rasteriser.cover(box, box.vertices, struct, depth)
        rasteriser.draw(box, cloth, box.vertices, rasteriser.doubled(lens()), layers, k + 1)
    rasteriser.shade(rasteriser.doubled(lens()), struct, layers)
    return layers.albedo.tobytes() + layers.inverse.tobytes() + depth.tobytes()


def test_the_same_bytes_on_a_machine_without_newer_instructions():
    plain = {
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
        "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX2_Usable,-FMA_Usable",
    }
    code = f"import hashlib; from {__name__} import scene; print(hashlib.sha256(scene()).hexdigest())"
    other = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **plain, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert other.stdout.strip() == hashlib.sha256(scene()).hexdigest()


def test_the_flags_keep_the_order_of_arithmetic():
    assert "-ffp-contract=off" in rasteriser.FLAGS
    assert not {"-ffast-math", "-Ofast", "-march=native"} & set(rasteriser.FLAGS)


def test_a_compiler_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("REID_PEOPLE_CACHE", str(tmp_path))
    with pytest.raises(PeopleError, match=r"no-such-compiler.*set CC"):
        rasteriser.library.__wrapped__()
    assert isinstance(rasteriser.library(), ctypes.CDLL)
