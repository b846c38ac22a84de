"""What ranges may be measured on, and what is refused."""

import shutil

import numpy as np
import pytest

pytest.importorskip("onnxruntime")


from export.calibration import VIEWS, Activations, CalibrationError, collect_ranges, draw
from export.gate import read_eval_inputs
from reid_runtime.errors import ImageError
from reid_runtime.images.resize import resize

from ..sample_images import encode, sample_image
from .small import example_crops, outputs, small_model


def test_the_draw_is_seeded_and_recorded(training):
    one, same, other = draw(training, 40, 1), draw(training, 40, 1), draw(training, 40, 2)
    assert one.names == same.names != other.names
    assert one.digest == same.digest != other.digest
    assert len(set(one.names)) == 40
    assert str(one) == "40 crops of train, seed 1"
    complete = draw(training, 1000, 1)
    assert sorted(complete.names) == sorted(path.name for path in training.iterdir())


def test_some_crops_are_held_back_from_the_ranges(training):
    from .small import SMALL

    ranged, held = draw(training, 64, 0).resized(SMALL.resize)
    assert (len(ranged), len(held)) == (56, 8 * VIEWS)
    assert not {crop.tobytes() for crop in ranged} & {crop.tobytes() for crop in held}


def test_each_of_those_is_shown_as_other_cameras_might_have_it(training):
    from .small import SMALL

    sample = draw(training, 64, 0)
    _, held = sample.resized(SMALL.resize)
    _, again = sample.resized(SMALL.resize)
    assert [view.tobytes() for view in held] == [view.tobytes() for view in again]
    for number in range(8):
        crop = sample.images[8 * number]
        as_it_is, *others = held[VIEWS * number : VIEWS * (number + 1)]
        assert (as_it_is == resize(crop, SMALL.resize.shape(*crop.shape[:2]))).all()
        assert len({view.tobytes() for view in (as_it_is, *others)}) == VIEWS


@pytest.mark.parametrize("name", ["query", "bounding_box_test", "gt_bbox", "gallery", "bbox_test", "test"])
def test_folders_of_queries_and_galleries_are_refused(name, training, tmp_path):
    folder = tmp_path / name
    shutil.copytree(training, folder)
    with pytest.raises(CalibrationError, match="queries or of a gallery"):
        draw(folder, 40, 0)
    (tmp_path / "train").symlink_to(folder)
    with pytest.raises(CalibrationError, match="queries or of a gallery"):
        draw(tmp_path / "train", 40, 0)
    nested = tmp_path / "everything"
    shutil.copytree(training, nested / name / "0001")
    with pytest.raises(CalibrationError, match=r"is of a query or gallery"):
        draw(nested, 40, 0)


def test_of_a_data_set_the_training_split_is_taken(labelled, training, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(labelled, folder)
    for number, path in enumerate(sorted(training.iterdir())):
        shutil.copy(path, folder / "bounding_box_train" / f"{number + 100:04}_c1s1_000000_00.png")
    sample = draw(folder, 40, 0)
    assert {name.split("/")[0] for name in sample.names} == {"bounding_box_train"}
    assert str(sample) == "40 crops of set's training split, seed 0"
    shutil.rmtree(folder / "bounding_box_train")
    with pytest.raises(CalibrationError, match="has no training crops"):
        draw(folder, 40, 0)


def test_a_query_under_another_name_is_refused(labelled, training, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(training, folder)
    query = next((labelled / "query").iterdir())
    shutil.copy(query, folder / "innocent.jpg")
    inputs = read_eval_inputs(data=labelled)
    with pytest.raises(CalibrationError, match=r"innocent\.jpg is also a query or gallery image"):
        draw(folder, 1000, 0, inputs.task)
    assert len(draw(training, 1000, 0, inputs.task).names) == 64


def write_many(folder, images):
    folder.mkdir()
    for number, pixels in enumerate(images):
        (folder / f"{number}.png").write_bytes(encode(pixels, "PNG"))
    return folder


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (64, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([np.full((64, 32, 3), 128, np.uint8)] * 5, "at least 32 training crops, found 5"),
        ([np.full((64, 32, 3), grey, np.uint8) for grey in range(60, 160)], "32 different crops .* found 0"),
        ([sample_image(seed=seed % 9) for seed in range(60)], "32 different crops .* found 9"),
        ([noise(seed) for seed in range(60)], "all alike"),
    ],
    ids=["five grey", "a hundred grey", "nine again and again", "noise"],
)
def test_crops_that_say_nothing_are_refused(images, said, tmp_path):
    with pytest.raises(CalibrationError, match=said):
        draw(write_many(tmp_path / "crops", images), 512, 0)


def test_activations_are_measured(training):
    model, crops = small_model(), [crop[0] for crop in example_crops()[:3]]
    seen = collect_ranges(model, ["c", "raw"], crops)
    values = [outputs(model, "c", crop[None]) for crop in crops]
    np.testing.assert_allclose(seen.low["c"], [value.min() for value in values], rtol=1e-6)
    np.testing.assert_allclose(seen.high["c"], [value.max() for value in values], rtol=1e-6)
    np.testing.assert_allclose(
        seen.means["c"], np.mean([v.mean((0, 2, 3)) for v in values], axis=0), rtol=1e-4, atol=1e-6
    )
    assert seen.means["raw"].shape == (16,)
    assert seen.limits("c", 100) == (seen.low["c"].min(), seen.high["c"].max())
    low, high = seen.limits("c", 90)
    assert seen.low["c"].min() < low < high < seen.high["c"].max()


def test_the_crops_that_ranges_clip_are_found():
    """Of each tensor the furthest by the range's width, those furthest outside first, each once."""
    plain = np.linspace(0.9, 1, 101, dtype=np.float32)
    wide, narrow, low = (plain.copy() for _ in range(3))
    wide[7], narrow[7], narrow[20], low[50] = 3, 1.1, 1.5, -2
    seen = Activations(
        {"wide": 0 * wide, "narrow": 0 * wide, "low": low}, {"wide": wide, "narrow": narrow, "low": plain}, {}
    )
    assert seen.overflowing(95, 8) == [50, 7, 20]
    assert seen.overflowing(95, 2) == [50, 7]
    assert seen.overflowing(100, 8) == []


def test_pictures_that_cannot_be_read_are_named(training, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(training, folder)
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        draw(folder, 1000, 0)
