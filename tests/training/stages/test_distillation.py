"""A student learns what a teacher says of the same views; the teacher is asked once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnxruntime", reason="needs the extra cpu")

from reid_runtime import Embedder
from training.data.views import student_view, view_of
from training.recipe import Distillation
from training.run.record import read_metrics
from training.stages.base import StageInputs
from training.stages.distillation import distillation_stage
from training.stages.teacher import TeacherError, teacher_vectors

from ..tiny import RECIPE, make_crops, make_run, make_stage

pytestmark = pytest.mark.usefixtures("tiny_backbone")

PLAIN = Distillation(
    flip=False, window=(1, 1), aspect_jitter=0, shift=0, colour_jitter=0, vertical_cutmix=0, low_resolution=0, cut_out=0
)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("teacher-*")}


def test_teacher_and_student_see_the_same_view(tiny, tmp_path):
    crops = make_crops()
    vectors = teacher_vectors(tiny, crops, RECIPE, RECIPE.distillation, tmp_path).numpy()
    stage = make_stage("distillation", RECIPE, crops)
    assert vectors.shape == (2 * 36, 8)
    # Epoch 3 of 2 views shows view 1 again.
    rows = np.array([5, 30])
    targets = vectors[stage.target(rows, 3)]
    views = [view_of(crops, row, 1, RECIPE.distillation, RECIPE.seed) for row in rows]
    np.testing.assert_allclose(targets, tiny.embed(views, channel_order="rgb"), atol=1e-6)
    untouched = replace(RECIPE, distillation=replace(RECIPE.distillation, low_resolution=0.0, cut_out=0.0))
    plain = make_stage("distillation", untouched, crops)
    rule = plain.rule(3)
    shape = rule.shape(*crops.images[5].shape[:2])
    assert np.array_equal(plain.show(5, 3, rule), student_view(views[0], shape, 0, untouched.distillation, (0,)))
    seen = [stage.show(row, 3, rule) for row in range(36)]
    assert any(not np.array_equal(image, plain.show(row, 3, rule)) for row, image in enumerate(seen))


def test_a_view_depends_on_seed_view_and_row_alone():
    crops, choices = make_crops(), RECIPE.distillation
    images = {key: view_of(crops, key[0], key[1], choices, key[2]).tobytes() for key in np.ndindex(3, 3, 2)}
    assert images == {key: view_of(crops, key[0], key[1], choices, key[2]).tobytes() for key in np.ndindex(3, 3, 2)}
    assert len(set(images.values())) == len(images)


@pytest.mark.parametrize("choice", ["flip", "window", "aspect_jitter", "shift", "colour_jitter", "vertical_cutmix"])
def test_every_choice_of_a_view_is_one(choice):
    crops = make_crops()
    changed = replace(PLAIN, **{choice: (0.5, 0.6) if choice == "window" else True if choice == "flip" else 0.5})
    for row in range(6):
        assert np.array_equal(view_of(crops, row, 1, PLAIN, 1), crops.images[row])
    views = [view_of(crops, row, 1, changed, 1) for row in range(36)]
    assert any(not np.array_equal(view, image) for view, image in zip(views, crops.images, strict=True))
    if choice in ("flip", "colour_jitter", "vertical_cutmix"):
        assert [view.shape for view in views] == [image.shape for image in crops.images]
    if choice in ("colour_jitter", "vertical_cutmix"):
        assert np.array_equal(view_of(crops, 0, 0, changed, 1), crops.images[0]), "the first view is the mildest"


def test_vertical_cutmix_has_the_upper_part_of_one_image_and_the_lower_of_another_of_its_shape():
    crops = make_crops()
    crops = replace(crops, images=[np.full_like(image, 3 * row) for row, image in enumerate(crops.images)])
    changed = replace(PLAIN, vertical_cutmix=1.0)
    others = set()
    for seed in range(30):
        view = view_of(crops, 7, 2, changed, seed)
        assert (view[:14] == 21).all()
        other = int(view[-1, 0, 0]) // 3
        assert (view[26:] == 3 * other).all()
        assert crops.images[other].shape == crops.images[7].shape
        others.add(other)
    assert len(others) > 4


def test_only_the_student_sees_low_resolution_and_noise():
    view = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    small = student_view(view, (64, 32), 0.0, replace(PLAIN, low_resolution=1.0, low_resolution_scale=(0.1, 0.2)), (1,))
    assert np.array_equal(student_view(view, (64, 32), 0.0, PLAIN, (1,)), view)
    assert small.shape == view.shape
    assert small.std() < 0.3 * view.std()
    noisy = student_view(np.zeros_like(view), (64, 32), 0.8, PLAIN, (2,))
    assert 0 < np.count_nonzero(noisy.any(axis=2)) <= 0.64 * 64 * 32


def test_the_teacher_is_asked_once_and_its_files_are_refused_for_anything_else(tiny, tiny_model, tmp_path, monkeypatch):
    crops = make_crops()
    first = teacher_vectors(tiny, crops, RECIPE, RECIPE.distillation, tmp_path)
    kept = files(tmp_path)
    assert set(kept) == {"teacher-0.safetensors", "teacher-1.safetensors"}
    (tmp_path / "teacher-1.safetensors").unlink()  # as a kill in the second view leaves it
    asked = []
    embed = tiny.embed
    monkeypatch.setattr(tiny, "embed", lambda images, channel_order: asked.append(1) or embed(images, channel_order))
    assert torch.equal(teacher_vectors(tiny, crops, RECIPE, RECIPE.distillation, tmp_path), first)
    assert len(asked) == 1
    assert files(tmp_path) == kept

    def refused(model=tiny, crops=crops, **choices):
        recipe = replace(RECIPE, distillation=replace(RECIPE.distillation, **choices))
        with pytest.raises(TeacherError, match="another teacher, recipe or data"):
            teacher_vectors(model, crops, recipe, recipe.distillation, tmp_path)

    refused(colour_jitter=0.1)
    changed = make_crops()
    changed.images[0] = changed.images[0] // 2
    refused(crops=changed)
    other = Embedder.load(tiny_model)
    other.artefact_id = "sha256:other"
    refused(model=other)
    longer = replace(RECIPE, distillation=replace(RECIPE.distillation, epochs=50, learning_rate=1.0, cut_out=0.1))
    assert torch.equal(teacher_vectors(tiny, crops, longer, longer.distillation, tmp_path), first), (
        "what no view depends on may change"
    )
    (tmp_path / "teacher-0.safetensors").write_bytes(b"half")
    with pytest.raises(TeacherError, match="remove it"):
        teacher_vectors(tiny, crops, RECIPE, RECIPE.distillation, tmp_path)


def test_teacher_of_another_dimension_is_refused_with_a_remedy(tiny, tmp_path):
    recipe = replace(RECIPE, network=replace(RECIPE.network, dimension=16))
    with pytest.raises(TeacherError, match=r"set dimension = 8 in \[network\]"):
        teacher_vectors(tiny, make_crops(), recipe, recipe.distillation, tmp_path)


def test_a_student_learns_its_teachers_vectors(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("training.run.trainer.write_plots", lambda folder: None)
    recipe = replace(RECIPE, distillation=replace(RECIPE.distillation, epochs=20, learning_rate=0.02, low_resolution=0))
    crops = make_crops()
    run = make_run(tmp_path, "distillation", recipe, crops, minutes=1e9)
    kept = run.stage.crops
    vectors = teacher_vectors(tiny, kept, recipe, recipe.distillation, tmp_path)
    run.stage = distillation_stage(StageInputs(run.stage.network, kept, recipe, torch.device("cpu"), tmp_path), vectors)
    run.train()
    records = [record for record in read_metrics(tmp_path) if "loss" in record]
    assert records[-1]["agreement"] > 0.9 > records[0]["agreement"] + 0.3
