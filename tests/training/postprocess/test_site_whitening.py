"""Whitening by a site's tracks: where it helps it is taken in, where it does not nothing is written."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.images.resize import LongestSide
from reid_runtime.jobs import Embeddings, write_embeddings
from training.__main__ import main
from training.models.embedding import embed_images
from training.postprocess.site_whitening import SiteError, applied, site_whitened, site_whitening
from training.run.checkpoint import untrained, write_checkpoint

from ...models import CONTRACT
from ..tiny import make_crops

pytestmark = pytest.mark.usefixtures("tiny_backbone")


def site(nuisance, weights="", people=24, frames=12):
    """Two tracks of each person, all in the same frames; the last four numbers say nothing of who it is."""
    random = np.random.default_rng(0)
    own = np.zeros((people, 8))
    own[:, :4] = random.normal(size=(people, 4))
    whose = np.tile(np.repeat(np.arange(people), 2), frames)
    noise = random.normal(size=(len(whose), 8)) * ([0.3] * 4 + [nuisance] * 4)
    vectors = own[whose] + noise
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    contract = replace(CONTRACT, dimension=8, weights=weights or CONTRACT.weights)
    count, ones = len(whose), np.ones(len(whose), np.int32)
    return Embeddings(
        np.array([str(row) for row in range(count)]), vectors, ones, ones, np.full(count, ""),
        contract.to_json(), contract.contract_id, "sha256:ab",
        identity=whose.astype(np.str_), camera=np.full(count, "1"),
        track=np.tile(np.arange(2 * people), frames).astype(np.str_),
        frame=np.repeat(np.arange(frames) * 30, 2 * people),
    )  # fmt: skip


def people(rows):
    return rows.identity.astype(np.int64)


def test_what_tells_nobody_apart_counts_less():
    rows = site(nuisance=1.5)
    whitening = site_whitening(rows, people(rows))
    assert whitening.helps
    assert np.mean(whitening.after) < np.mean(whitening.before) - 0.08
    weights = np.linalg.norm(whitening.matrix, axis=0)
    assert weights[:4].min() > 2 * weights[4:].max()


def test_where_all_directions_are_alike_nothing_is_gained():
    rows = site(nuisance=0.3)
    rows.embedding[:] = np.random.default_rng(1).permutation(rows.embedding)
    assert not site_whitening(rows, people(rows)).helps


@pytest.mark.parametrize("activation", ["none", "prelu", "prelu, linear"])
def test_the_last_layer_takes_it_in(activation):
    torch.manual_seed(0)
    plain = untrained("tiny", 8)
    before = replace(plain, architecture=replace(plain.architecture, activation=activation))
    tensors = dict(plain.tensors)
    if activation == "prelu":
        tensors["network.activation.weight"] = torch.tensor([0.3])
    if activation == "prelu, linear":
        tensors |= {
            "network.activation.0.weight": torch.tensor([0.3]),
            "network.activation.1.weight": torch.randn(8, 8),
        }
    before = replace(before, tensors=tensors)
    after, whitening = site_whitened(before, site(1.5, before.weights_digest), "ours")
    crops, device = make_crops(light=40), torch.device("cpu")
    old, new = (
        embed_images(each.network(), crops.images, LongestSide(40), device, "float32") for each in (before, after)
    )
    assert new == pytest.approx(applied(old, whitening.matrix), abs=1e-5)
    assert after.weights_digest != before.weights_digest
    assert (after.trained_on[0].data, after.trained_on[0].terms) == ("tracks of the site", "ours")


def test_vectors_of_another_model_and_what_does_not_help_are_refused(tmp_path):
    torch.manual_seed(0)
    before = untrained("tiny", 8)
    with pytest.raises(SiteError, match="the vectors are of weights"):
        site_whitened(before, site(1.5), "ours")
    with pytest.raises(SiteError, match="at least eight people"):
        site_whitening(few := site(1.5, people=4), people(few))
    rows = site(0.3, before.weights_digest)
    rows.embedding[:] = np.random.default_rng(1).permutation(rows.embedding)
    write_embeddings(tmp_path / "x.npz", rows)
    write_checkpoint(tmp_path / "x.safetensors", before)
    words = ["site-whiten", "x.safetensors", "x.npz", "-o", "y.safetensors", "--terms", "ours"]
    with pytest.raises(SiteError, match="nothing is gained, so nothing is written"):
        main([str(tmp_path / word) if "." in word else word for word in words], standalone_mode=False)
    assert not (tmp_path / "y.safetensors").exists()
