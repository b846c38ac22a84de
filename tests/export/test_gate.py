"""The gate of artefacts: whatever it names makes it fail, with the crop or the measure in the message."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from export.gate import EvalInputs, Reference, check_parity, read_eval_inputs
from export.parity import ParityError
from reid_runtime.agreement import TOLERANCES
from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError, ReidRuntimeError

from .small import SIDE, SMALL, loaded, replace_constant, small_model, write_small

FLOAT16, INT8 = TOLERANCES["float16"], TOLERANCES["int8"]
DARK = 110
"""Mean value of a image."""


class Altered:
    """A backend whose vectors are changed on their way out: change(images, vectors)."""

    def __init__(self, backend, change):
        self._backend, self._change = backend, change
        self.name, self.device, self.max_batch_pixels = "altered", "cpu", backend.max_batch_pixels

    def run(self, images):
        return self._change(images, self._backend.run(images))


@pytest.fixture(scope="module")
def few(inputs):
    return EvalInputs(inputs.names[::4], inputs.crops[::4])


@pytest.fixture(scope="module")
def reference(parent, few):
    return Reference.on(loaded(parent), few)


def altered(parent, change):
    embedder = loaded(parent)
    return Embedder(Altered(embedder.backend, change), embedder.contract, parent)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def turned(vectors, degrees):
    """Every vector turned by so much, towards one that stands upright on it."""
    upright = np.roll(vectors, 1, axis=1)
    upright = unit(upright - (upright * vectors).sum(1, keepdims=True) * vectors)
    angle = np.deg2rad(degrees)
    return unit(np.cos(angle) * vectors + np.sin(angle) * upright)


def test_the_reference_passes_beside_itself(parent, reference, few):
    parity = check_parity(reference, loaded(parent), FLOAT16, few)
    assert (parity.crops.rows, parity.crops.largest_difference, parity.probes.rows) == (len(few.crops), 0.0, 90)
    assert parity.drift()["rank_agreement"] == 1.0


@pytest.mark.parametrize(("degrees", "kept"), [(1.0, FLOAT16), (9.0, INT8)])
def test_vectors_that_are_turned_too_far_fail_with_the_crop(degrees, kept, parent, reference, few):
    with pytest.raises(ParityError, match=rf"differs from the reference on {few.names[0]}: cosine 0\.9"):
        check_parity(reference, altered(parent, lambda images, vectors: turned(vectors, degrees)), kept, few)


def test_one_wrong_crop_among_all_is_named(parent, reference, few):
    shape = loaded(parent).contract.resize.shape(*few.crops[5].shape[:2])
    alone = [
        name
        for name, crop in zip(few.names, few.crops, strict=True)
        if loaded(parent).contract.resize.shape(*crop.shape[:2]) == shape
    ]

    def wrong(images, vectors):
        return -vectors if images.shape[1:3] == shape else vectors

    with pytest.raises(ParityError, match=f"reference on {alone[0]}: cosine -1"):
        check_parity(reference, altered(parent, wrong), INT8, few)


def nan(images, vectors):
    return np.full_like(vectors, np.nan)


def long(images, vectors):
    return vectors * 1.1


def mixed(images, vectors):
    return np.roll(vectors, 1, axis=0)


def squeezed(images, vectors):
    return vectors[0] if len(vectors) == 1 and images.shape[1:3] == (33, 33) else vectors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nan, "the artefact fails on .*NaN"),
        (long, "the artefact fails on .*unit vectors"),
        (mixed, "differs from the reference on [27] of 33x33"),
        (squeezed, r"gives \(16,\) for 1 of 33x33"),
    ],
)
def test_wrong_vectors_fail_the_coarsest_gate(change, said, parent, reference, few):
    with pytest.raises(ParityError, match=said):
        check_parity(reference, altered(parent, change), INT8, few)


def test_another_ranking_fails(parent, reference, few):
    strict = dataclasses.replace(INT8, rank_agreement=1.01)
    with pytest.raises(ParityError, match=r"ranks the 8 crops as the reference does in 100\.0% of cases"):
        check_parity(reference, loaded(parent), strict, few)


def test_a_reference_that_tells_nothing_apart_is_no_reference(tmp_path, few):
    """An artefact that ignored its input would pass beside it."""
    model = small_model()
    replace_constant(model, "projection.weight", lambda values: values * 1e-4)
    blind = loaded(write_small(tmp_path / "blind.onnx", model))
    with pytest.raises(ParityError, match="tells its 8 inputs apart by too little to judge by"):
        check_parity(Reference.on(blind, few), blind, INT8, few)


@pytest.fixture(scope="module")
def judged(labelled, few):
    """The crops that have another shape than the miniature's, and the miniature."""
    kept = [index for index, crop in enumerate(few.crops) if SMALL.resize.shape(*crop.shape[:2]) != (SIDE, SIDE // 2)]
    names, crops = (tuple(column[index] for index in kept) for column in (few.names, few.crops))
    return dataclasses.replace(read_eval_inputs(data=labelled, dataset="Miniature"), names=names, crops=crops)


def test_a_data_set_is_scored_and_compared(parent, judged):
    reference = Reference.on(loaded(parent), judged)
    parity = check_parity(reference, loaded(parent), INT8, judged)
    assert parity.changes["map_finite_sum"].value == parity.changes["map_trapezoid"].value == 0
    assert (parity.score.dataset, parity.score.rank_1) == ("Miniature", reference.evaluation.scores.summary().rank_1)
    drift = parity.drift()
    assert drift["map_finite_sum_change"] == drift["map_trapezoid_change"] == 0
    assert (drift["images"], drift["images_worst_cosine"]) == (9, pytest.approx(1))


def test_what_goes_wrong_on_the_data_set_alone_fails(parent, judged):
    def turned_over(images, vectors):
        """Of the miniature's crops, which are all of one shape, the darker ones."""
        dark = (images.shape[1:3] == (SIDE, SIDE // 2)) & (images.mean(axis=(1, 2, 3)) < DARK)
        return np.where(dark[:, None], -vectors, vectors)

    reference, candidate = Reference.on(loaded(parent), judged), altered(parent, turned_over)
    with pytest.raises(ParityError, match=r"on Miniature \d\d\.\d\d% of 9 vectors have a cosine of 0\.99 or more"):
        check_parity(reference, candidate, INT8, judged)


@pytest.mark.parametrize(("least", "passes"), [(0.01, False), (0.0, True)])
def test_map_that_changes_by_less_than_is_asked_fails(least, passes, parent, judged):
    """The change of a model beside itself is 0: too little where a gain of a point is asked for."""
    asked = dataclasses.replace(INT8, map_change=least)
    reference = Reference.on(loaded(parent), judged)
    if passes:
        assert check_parity(reference, loaded(parent), asked, judged).changes["map_trapezoid"].value == 0
        return
    with pytest.raises(ParityError, match=r"Miniature mAP \(finite-sum\) changes by \+0\.00 .* at least \+1\.00"):
        check_parity(reference, loaded(parent), asked, judged)


def test_a_folder_without_crops_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="two or more, found 0"):
        read_eval_inputs(tmp_path)


def test_a_crop_that_cannot_be_read_is_named(tmp_path, inputs):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(ReidRuntimeError, match=r"a\.png"):
        read_eval_inputs(tmp_path)


def test_a_name_without_a_data_set_is_refused():
    with pytest.raises(DatasetError, match="--called Market-1501"):
        read_eval_inputs(dataset="Market-1501")
