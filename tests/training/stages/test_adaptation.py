"""Adaptation: the aspect of the view itself, the mirror's vectors, and the closed form."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnxruntime", reason="needs the extra cpu")

from torch import nn
from torch.nn import functional

from reid_runtime.images.resize import Area
from training.data.views import view_of
from training.models.embedding import pool_images
from training.stages.adaptation import refit
from training.stages.losses import TeacherVectors
from training.stages.teacher import TeacherError, teacher_vectors

from ..tiny import RECIPE, make_crops, make_stage

pytestmark = pytest.mark.usefixtures("tiny_backbone")

CPU = torch.device("cpu")
WIDE = replace(
    RECIPE,
    network=replace(RECIPE.network, area=600, step=4),
    adaptation=replace(RECIPE.adaptation, aspect_jitter=0.5, window=(0.5, 1.2)),
)


def test_an_image_has_the_shape_that_the_rule_gives_for_its_view():
    crops = make_crops()
    stage = make_stage("adaptation", WIDE, crops)
    assert stage.rule(0) == Area(600, 4)
    shapes = set()
    for row in range(0, 36, 5):
        for epoch in range(2):
            view = view_of(crops, row, epoch, WIDE.adaptation, WIDE.seed)
            shown = stage.show(row, epoch, stage.rule(epoch))
            assert shown.shape[:2] == stage.rule(epoch).shape(*view.shape[:2])
            shapes.add(shown.shape)
    assert len(shapes) > 4, "bad boxes have many aspects"
    for measures in stage.accumulate_each_update(0):  # batches of one shape can be made of them
        assert np.isfinite(measures.loss)


def test_the_teachers_vector_is_the_mean_of_the_views_and_its_mirrors(tiny, tmp_path):
    crops = make_crops()
    vectors = teacher_vectors(tiny, crops, RECIPE, RECIPE.adaptation, tmp_path, mirrored=True)
    views = [view_of(crops, row, 1, RECIPE.adaptation, RECIPE.seed) for row in (0, 35)]
    for vector, view in zip(vectors[[36, 71]], views, strict=True):
        both = tiny.embed([view, view[:, ::-1].copy()], channel_order="rgb").sum(axis=0)
        np.testing.assert_allclose(vector, both / np.linalg.norm(both), atol=1e-6)
    with pytest.raises(TeacherError, match="another teacher, recipe or data"):
        teacher_vectors(tiny, crops, RECIPE, RECIPE.adaptation, tmp_path)


@pytest.mark.parametrize("activation", ["none", "prelu"])
def test_the_closed_form_finds_a_layer_that_gives_the_targets_and_else_stays(activation):
    recipe = replace(RECIPE, network=replace(RECIPE.network, activation=activation))
    crops = make_crops()
    stage = make_stage("adaptation", recipe, crops)
    network, choices = stage.network, recipe.adaptation
    views = [view_of(crops, row, view, choices, recipe.seed) for view in range(2) for row in range(36)]
    pooled = pool_images(network, views, recipe.network.rule, CPU)
    torch.manual_seed(3)
    other = nn.Linear(16, 8)
    with torch.no_grad():
        targets = functional.normalize(network.activation(other(pooled)), dim=1)
    old = network.projection.weight.detach().clone()

    def fitted(ridge):
        with torch.no_grad():
            network.projection.weight.copy_(old)
        strength = replace(recipe, adaptation=replace(choices, ridge=ridge))
        cosine = refit(network, crops, strength, CPU, targets)
        return cosine, float((network.projection.weight.detach() - old).norm())

    loose, held, fixed = fitted(1e-7), fitted(0.1), fitted(1e6)
    assert loose[0] > 0.98
    assert loose[0] > held[0] > fixed[0]
    assert loose[1] > held[1] > fixed[1]
    assert fixed[1] < 1e-3


def test_relations_are_the_difference_of_a_batchs_similarities():
    random = torch.Generator().manual_seed(0)
    vectors, targets = (functional.normalize(torch.randn(5, 4, generator=random), dim=1) for _ in range(2))
    cosine = (vectors * targets).sum(1).mean()
    for weight in (0.0, 2.0):
        loss, agreement = TeacherVectors(targets, weight)(vectors, torch.arange(5))
        relations = (vectors @ vectors.T - targets @ targets.T).abs().mean()
        assert agreement == pytest.approx(cosine.item())
        assert loss.item() == pytest.approx((1 - cosine + weight * relations).item(), rel=1e-6)
    turned = torch.linalg.qr(torch.randn(4, 4, generator=random))[0]
    loss, agreement = TeacherVectors(targets, 1.0)(targets @ turned, torch.arange(5))
    assert loss.item() == pytest.approx(1 - agreement.item(), abs=1e-6), "a turn keeps all similarities"
