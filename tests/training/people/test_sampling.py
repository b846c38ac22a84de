"""What chance decides: bodies, outfits, cloth, cameras; reproducible, and as varied as it claims."""

from collections import Counter

import numpy as np
import pytest

from training.people import cameras, colours, patterns, solids, wardrobe
from training.people.accessories import Dressed, strap
from training.people.body import sample_shape
from training.people.rasteriser import Lens

SEEDS = range(400)


def shapes():
    return [sample_shape(np.random.default_rng([seed])) for seed in SEEDS]


def test_bodies_follow_from_the_seed_and_differ():
    assert shapes() == shapes()
    assert len(set(shapes())) == len(SEEDS)
    sexes = Counter(shape.sex for shape in shapes())
    assert min(sexes.values()) > 150


def test_the_targets_of_a_body_sum_to_one_in_each_family():
    for shape in shapes():
        origin = sum(
            weight for name, weight in shape.targets if name.split("-")[0] in ("caucasian", "asian", "african")
        )
        build = sum(w for name, w in shape.targets if name.startswith("universal") and "averagemuscle" in name)
        assert origin == pytest.approx(1, abs=1e-4)
        assert build == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("sex", ["male", "female"])
def test_outfits_are_of_many_kinds(sex):
    outfits = [wardrobe.sample_outfit(np.random.default_rng([seed]), sex) for seed in SEEDS]
    assert outfits == [wardrobe.sample_outfit(np.random.default_rng([seed]), sex) for seed in SEEDS]
    kinds = Counter(tuple(piece.garment for piece in outfit.pieces) for outfit in outfits)
    assert len(kinds) > 150
    assert kinds.most_common(1)[0][1] < len(SEEDS) * 0.06
    bags = Counter(outfit.bag for outfit in outfits)
    assert set(bags) == {None, *wardrobe.BAGS}
    worn = {piece.garment for outfit in outfits for piece in outfit.pieces}
    assert worn.isdisjoint({*wardrobe.DRESSES, "miniskirt", "wrap"}) == (sex == "male")


def test_hats_are_worn_over_hair_that_they_fit():
    for seed in SEEDS:
        outfit = wardrobe.sample_outfit(np.random.default_rng([seed]), "female")
        assert outfit.hat is None or outfit.hair in wardrobe.TIGHT_HAIR


def striped():
    image = np.full((128, 128, 3), 200, np.uint8)
    image[(np.arange(128) // 8) % 2 == 0] = 40
    return image


def test_even_cloth_and_stripes_are_cloth():
    rng = np.random.default_rng(0)
    folds = (120 + 10 * np.sin(np.arange(128) / 9))[:, None, None] + rng.integers(-9, 10, (128, 128, 1))
    assert patterns.is_cloth(np.broadcast_to(folds, (128, 128, 3)).astype(np.uint8), even=True)
    assert patterns.is_cloth(striped(), even=True)


def test_a_motif_and_a_gap_are_not():
    motif = np.full((128, 128, 3), 60, np.uint8)
    motif[40:60, 30:50] = motif[40:60, 60:64] = motif[44:48, 70:100] = 230
    assert not patterns.is_cloth(motif, even=True)
    gap = np.full((128, 128, 3), 60, np.uint8)
    gap[40:, 40:110] = 220
    assert not patterns.is_cloth(gap, even=True)
    assert not patterns.is_cloth(gap, even=False)


def test_a_pattern_all_over_is_cloth_where_patterns_are_allowed():
    dots = np.full((128, 128, 3), 60, np.uint8)
    y, x = np.mgrid[:128, :128]
    dots[(x % 16 - 8) ** 2 + (y % 16 - 8) ** 2 < 20] = 220
    assert patterns.is_cloth(dots, even=False)
    assert not patterns.is_cloth(dots, even=True)


def test_patterns_repeat_without_a_seam():
    for seed in range(30):
        noise = patterns.smooth_noise(np.random.default_rng(seed), 8)
        step = np.abs(np.diff(noise, axis=1)).max()
        assert np.abs(noise[:, 0] - noise[:, -1]).max() <= step + 1e-9


def test_colours_stay_within_what_an_image_holds():
    rng = np.random.default_rng(3)
    for _ in range(300):
        for colour in (
            colours.cloth(rng, colours.TOP),
            colours.hair(rng, 0.5, 0.8),
            colours.skin(rng, (0.2, 0.3, 0.5)),
        ):
            assert all(0 <= value <= 255 for value in colour)


def test_a_strap_lies_on_the_body_and_is_closed():
    turn, height = np.meshgrid(np.linspace(0, 2 * np.pi, 60), np.linspace(-3, 3, 40))
    body = np.stack([1.5 * np.sin(turn), height, np.cos(turn)], -1).reshape(-1, 3).astype(np.float32)
    weights = np.tile(np.array([1, 0, 0, 0], np.float32), (len(body), 1))
    dressed = Dressed(body, np.full((len(body), 4), 7, np.int32), weights, np.zeros(len(body), np.float32))
    inside = np.zeros(3)
    mesh = strap(dressed, inside, np.array([0, 1.0, 0.001]), inside, 0.4, -9)
    reach = (mesh.vertices[:, 0] / 1.5) ** 2 + mesh.vertices[:, 2] ** 2
    assert reach.min() > 0.98
    assert reach.max() < 1.6
    assert (mesh.bones == 7).all()


def test_cameras_differ_between_sites_and_are_the_same_within_one():
    assert cameras.camera(100, 2) == cameras.camera(149, 2)
    assert cameras.camera(100, 2) != cameras.camera(150, 2)
    assert cameras.camera(100, 2) != cameras.camera(100, 3)


def test_boxes_have_square_pixels_and_many_shapes():
    points = np.array([[-0.05, -0.2, 1], [0.07, 0.25, 1]], np.float32)
    shapes_, heights = [], []
    for seed in range(300):
        camera = cameras.camera(seed * cameras.SITE, 0)
        box = cameras.boxed(points, camera, np.random.default_rng(seed), 256)
        across, down = (box.right - box.left) / box.width, (box.bottom - box.top) / box.height
        assert across == pytest.approx(down, rel=1e-6)
        framed = box.framed(Lens((1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 0), 1.0, 0.0, 0.0))
        assert framed.cx + framed.focal * box.right == pytest.approx(box.width, abs=1e-2)
        assert framed.cy + framed.focal * box.bottom == pytest.approx(box.height, abs=1e-2)
        shapes_.append(box.height / box.width)
        heights.append(box.height)
    assert max(heights) <= 256
    assert np.percentile(heights, 10) < 120
    assert np.percentile(shapes_, 90) / np.percentile(shapes_, 10) > 1.3


def test_solids_are_closed_by_their_faces():
    box = solids.rounded_box([1, 2, 3])
    assert np.abs(box.vertices).max(axis=0).tolist() == pytest.approx([1, 2, 3], abs=1e-4)
    both = solids.joined([box, solids.placed(box, [10, 0, 0])])
    assert len(both.faces) == 2 * len(box.faces)
    assert both.faces.max() == 2 * len(box.vertices) - 1
