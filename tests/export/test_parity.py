"""The gate itself: each thing that it names makes it fail."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extras train and export")

import torch

import training.models.network
from export import to_onnx
from export.parity import BATCHES, SIZES, ParityError, probes, require_parity
from reid_runtime import BackendError
from reid_runtime.agreement import TOLERANCES
from training.models.base import Backbone
from training.run.checkpoint import untrained


def reference(images):
    """Vectors that depend on every image's own mean colour and position of brightness."""
    pixels = images.astype(np.float64)
    facts = np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2)), pixels[:, 0].mean(1), pixels[:, :, 0].mean(1)], 1)
    vectors = facts - 100
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_probes_cover_sizes_batches_and_differ_within_a_batch():
    seen = [batch.shape for _, batch in probes()]
    assert len(seen) == len(SIZES) * len(BATCHES) >= 24
    assert {shape[0] for shape in seen} == {1, 2, 7}
    for _, batch in probes():
        assert all((batch[0] != other).any() for other in batch[1:])


def test_the_reference_agrees_with_itself():
    agreement = require_parity(reference, reference, TOLERANCES["float32"].probes)
    assert (agreement.rows, agreement.largest_difference) == (90, 0.0)


def bgr(images):
    return reference(images[..., ::-1])


def not_a_number(images):
    vectors = reference(images)
    if images.shape[1:3] == (301, 167):
        vectors[-1, 3] = np.nan
    return vectors


def first_row_for_all(images):
    return np.repeat(reference(images)[:1], len(images), axis=0)


def squeezed(images):
    return np.squeeze(reference(images))


def frozen(images):
    if images.shape[1] != 256:
        raise BackendError("expected height 256")
    return reference(images)


def drifting(images):
    return reference(images) + np.float32(3e-5)


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (bgr, "differs from the reference on 1 of 33x33"),
        (not_a_number, "301x167: cosine nan"),
        (first_row_for_all, "differs from the reference on 2 of 33x33"),
        (squeezed, r"gives \(12,\) for 1 of 33x33"),
        (frozen, "fails on 1 of 33x33"),
        (drifting, "largest difference"),
    ],
)
def test_failure_names_the_probe(candidate, said):
    with pytest.raises(ParityError, match=said):
        require_parity(reference, candidate, TOLERANCES["float32"].probes)


def test_an_export_that_fails_the_gate_leaves_no_file(tmp_path, monkeypatch):
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, stride=4, padding=2), torch.nn.ReLU())
    monkeypatch.setattr(training.models.network, "backbone", lambda name: Backbone(name, 8, lambda: trunk, dict))
    exported = to_onnx.export_graph

    def other_weights(network):
        with torch.no_grad():
            network.projection.bias += 0.05
        graph = exported(network)
        with torch.no_grad():
            network.projection.bias -= 0.05
        return graph

    monkeypatch.setattr(to_onnx, "export_graph", other_weights)
    with pytest.raises(ParityError, match="differs from the reference"):
        to_onnx.export_checkpoint(untrained("one layer", 16), tmp_path / "model.onnx", "wrong")
    assert list(tmp_path.iterdir()) == []
