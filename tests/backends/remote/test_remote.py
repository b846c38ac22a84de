"""A model on a server: the same rows as here, several batches at once, and what a server may do wrong is an error."""

import dataclasses
import itertools
import re
import threading
from contextlib import ExitStack

import numpy as np
import pytest

from reid_runtime import BackendError, ContractError, Embedder
from reid_runtime.backends.remote.statement import ARTEFACT_KEY
from reid_runtime.install import install_line
from reid_runtime.model_file.contract import METADATA_KEY
from reid_runtime.model_file.selftest import METADATA_KEY as SELFTEST_KEY

from ...inference_server import serving, serving_grpc, slowly
from ...models import CONTRACT, FOREIGN, stated_for, write_model
from ...sample_images import sample_image

IMAGES = [sample_image(64, 4 * seed + 4, seed) for seed in range(16)]  # of as many shapes, after the resize too
BOTH = pytest.mark.parametrize("protocol", [serving, serving_grpc])


@BOTH
def test_rows_are_those_of_this_machine(served, local, protocol):
    with protocol(served) as address:
        embedder = Embedder.load(address)
        assert np.array_equal(embedder.embed(IMAGES, "rgb"), local.embed(IMAGES, "rgb"))
        rows = embedder.embed_boxes(IMAGES[0], [(0, 0, 4, 64), (0, 0, 3, 9), (5, 5, 5, 5)], "rgb")
    assert not rows[2].any()
    assert (embedder.artefact_id, embedder.contract) == (local.artefact_id, local.contract)
    assert (embedder.backend.name, embedder.backend.device) == ("kserve function", "remote")
    assert str(embedder.address) == address


@BOTH
def test_requests_overlap(served, protocol):
    with protocol(served) as address:
        embedder = Embedder.load(address)
        meeting, batches = threading.Barrier(4), iter(IMAGES)

        def wait_for_three_more():  # but for the question after the batches, whether the model is still the same
            if next(batches, None) is not None:
                meeting.wait(60)

        served.before = wait_for_three_more
        embedder.embed(IMAGES, "rgb")
        assert served.together == 4


def test_batches_no_larger_than_the_server_takes(served, local):
    served.most = 3
    sizes = []
    compute = served.compute
    served.compute = lambda images: sizes.append(len(images)) or compute(images)
    with serving(served) as address:
        rows = Embedder.load(address).embed([IMAGES[0]] * 8, "rgb")
    assert max(sizes) == 3
    assert np.array_equal(rows, local.embed([IMAGES[0]] * 8, "rgb"))


def test_batches_of_one_size(served, local):
    """Of a graph with a fixed first side: fuller batches are cut, others filled up, and no other is ever sent."""
    compute, sizes = served.compute, set()
    served.inputs, served.outputs = (("images", "UINT8", (4, -1, -1, 3)),), (("embeddings", "FP32", (4, -1)),)
    served.compute = lambda images: sizes.add(len(images)) or compute(images)
    with serving(served) as address:
        rows = Embedder.load(address).embed(IMAGES[:6], "rgb")
    assert np.array_equal(rows, local.embed(IMAGES[:6], "rgb"))
    assert sizes == {4}


def test_contract_beside_the_metadata_is_read(served, local):
    """As MLServer has it, which has no configuration."""
    served.has_config = False
    with serving(served) as address:
        assert Embedder.load(address).contract == local.contract


def test_stated_contract(served, local, tmp_path):
    """For a server that states none; the artefact id is then of its vectors, and of nothing else."""
    served.parameters = {}
    path = tmp_path / "stated.json"
    path.write_text(local.contract.to_json())
    with serving(served) as address, serving_grpc(served) as other:
        with pytest.raises(ContractError, match="states no contract, so nobody knows"):
            Embedder.load(address)
        ids = {Embedder.load(each, contract=path).artefact_id for each in (address, other, address)}
        assert ids != {local.artefact_id}
        compute = served.compute
        served.compute = lambda images: -compute(images)
        ids.add(Embedder.load(address, contract=path).artefact_id)
    assert len(ids) == 2


def test_floats_in_planes(tmp_path):
    """A third-party model: planes of float BGR go over, vectors of any length come back."""
    model = write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw")
    stated = tmp_path / "stated.json"
    stated.write_text(stated_for(model, FOREIGN).to_json())
    here = Embedder.load(model, contract=stated)
    from ...inference_server import ServedFunction

    served = ServedFunction(here.backend.run, inputs=(("images", "FP32", (-1, 3, -1, -1)),))
    with serving(served) as address:
        rows = Embedder.load(address, contract=stated).embed(IMAGES[:3], "rgb")
    assert np.array_equal(rows, here.embed(IMAGES[:3], "rgb"))


def test_another_id_is_refused(served, tmp_path):
    path = tmp_path / "other.json"
    other = dataclasses.replace(CONTRACT, graph="another")
    path.write_text(other.to_json())
    with (
        serving(served) as address,
        pytest.raises(ContractError, match=f"states the contract {CONTRACT.contract_id}, and {other.contract_id} was"),
    ):
        Embedder.load(address, contract=path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (METADATA_KEY, "{", "the contract is not JSON"),
        (ARTEFACT_KEY, "mine", "expected sha256:"),
        (SELFTEST_KEY, "{}", "the self-test record's version is None"),
    ],
)
def test_damaged_statement(served, key, value, words):
    served.parameters[key] = value
    with serving(served) as address, pytest.raises((ContractError, BackendError), match=words):
        Embedder.load(address)


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ({"inputs": (("images", "FP32", (-1, -1, -1, 3)),)}, "takes FP32 .*, and the contract says UINT8 NHWC"),
        ({"inputs": (("images", "UINT8", (-1, 3, -1, -1)),)}, r"takes UINT8 \[-1, 3, -1, -1\], and the contract says"),
        ({"inputs": (("a", "UINT8", ()), ("b", "FP32", ()))}, "one input, the images, found a, b"),
        ({"outputs": (("embeddings", "FP32", (-1, 2)),)}, "embeddings has 2 numbers, and the contract says 8"),
        ({"outputs": (("a", "FP32", ()), ("b", "FP32", ()))}, "has the outputs a, b"),
    ],
)
def test_model_of_another_form(served, ports, words):
    with serving(dataclasses.replace(served, **ports)) as address, pytest.raises(BackendError, match=words):
        Embedder.load(address)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda rows: rows[:, :3], r"expected finite vectors|expected vectors"),
        (lambda rows: rows * np.nan, "NaN"),
        (lambda rows: rows * 2, "unit vectors"),
        (lambda rows: (rows * 100).astype(np.uint8), "expected a tensor .* of floats as output, found uint8"),
        (lambda rows: rows[:0], "expected finite vectors|expected vectors"),
        (lambda rows: rows[:, None, :, None].repeat(2, axis=3), "expected"),
    ],
    ids=["dimension", "nan", "length", "kind", "no rows", "axes"],
)
@pytest.mark.parametrize("when", ["at once", "later"])
@BOTH
def test_wrong_answers(served, wrong, words, when, protocol):
    """When it is opened, and in the middle of a job."""
    compute = served.compute
    with protocol(served) as address, ExitStack() as stack:
        if when == "later":
            embedder = Embedder.load(address)
        served.compute = lambda images: wrong(compute(images))
        stack.enter_context(pytest.raises(BackendError, match=words))
        if when == "at once":
            embedder = Embedder.load(address)
        embedder.embed(IMAGES[:5], "rgb")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda run: lambda images: run(images[..., ::-1]), r"verify --model .* says what drifts"),
        (lambda run: lambda images: run(images)[::-1], "mix up the rows"),
        (lambda run: lambda images: run(images[:1]).repeat(len(images), axis=0), "mix up the rows"),
    ],
    ids=["not the record's", "backwards", "the first for all"],
)
def test_other_vectors_are_refused_at_once(served, wrong, words):
    served.compute = wrong(served.compute)
    with serving(served) as address, pytest.raises(BackendError, match=words):
        Embedder.load(address)


@pytest.mark.parametrize(
    ("protocol", "away", "refusal"),
    [
        (serving, (503, "busy"), (400, "no such shape")),
        (serving_grpc, ("UNAVAILABLE", "busy"), ("INVALID_ARGUMENT", "no such shape")),
    ],
)
def test_retried_requests(served, local, protocol, away, refusal):
    """A batch that nobody answered, twice; never one that was refused."""
    with protocol(served) as address:
        embedder = Embedder.load(address)
        answers = [away, away]
        served.before = lambda: answers.pop() if answers else None
        assert np.array_equal(embedder.embed(IMAGES[:1], "rgb"), local.embed(IMAGES[:1], "rgb"))
        served.before, before = lambda: refusal, served.requests
        with pytest.raises(BackendError, match="no such shape"):
            embedder.embed(IMAGES[:1], "rgb")
        assert served.requests == before + 1
        served.before = lambda: away
        with pytest.raises(BackendError, match=r"busy.*asked 3 times"):
            embedder.embed(IMAGES[:1], "rgb")


def test_refused_whenever_the_server_is_back(served, monkeypatch):
    with serving(served) as address:
        backend = Embedder.load(address).backend
        ready = itertools.cycle([False, True])
        monkeypatch.setattr(backend._client, "is_ready", lambda: next(ready))
        monkeypatch.setattr(backend, "_crop", None)
        served.before = lambda: (400, "no such shape")
        with pytest.raises(BackendError, match="no such shape"):
            backend.run(np.zeros((1, 8, 8, 3), np.uint8))


@BOTH
def test_slow_answer(served, protocol):
    with protocol(served) as address:
        embedder = Embedder.load(f"{address}?timeout=0.2")
        served.before = slowly(0.5)
        with pytest.raises(BackendError, match="asked 3 times"):
            embedder.embed(IMAGES[:1], "rgb")


def test_absent_server(served):
    with serving(served) as address:
        gone = address.replace("/reid", "/other")
        with pytest.raises(BackendError, match=r"unknown model.*; is a server there, with a model of this name\?"):
            Embedder.load(gone)
        embedder = Embedder.load(f"{address}?patience=0.3")
    with pytest.raises(BackendError, match=r"waited 0\.3 s for the server to come back"):
        embedder.embed(IMAGES[:1], "rgb")
    with pytest.raises(BackendError, match="is a server there"):
        Embedder.load(address)


@pytest.mark.parametrize("change", ["weights", "statement", "version"])
def test_server_that_becomes_another(served, change):
    """In the middle of a stream, where it answers all the while: no row of the window in which it changed is given."""
    with serving(served) as address:
        embedder = Embedder.load(address)
        compute, start, given = served.compute, served.requests, []

        def replaced(images):
            if served.requests < start + 3:
                return compute(images)
            if change == "statement":
                served.parameters = served.parameters | {ARTEFACT_KEY: f"sha256:{'1' * 64}"}
                return compute(images)
            if change == "version":
                served.version = "2"
            return np.roll(compute(images), 1, axis=1)

        served.compute = replaced
        with pytest.raises(BackendError, match=r"another .* than .* opened: rows of both must not mix"):
            given += embedder.stream(IMAGES, "rgb", low_latency=False)
        assert given == []


def test_server_that_restarts(served, local):
    """Its connections break in mid-job; it comes back on the same port, as it was or as another."""
    with serving(served) as address:
        embedder = Embedder.load(f"{address}?patience=5")
        results = iter(embedder.stream(iter(IMAGES * 3), "rgb"))
        first = [next(results) for _ in range(5)]
    with serving(served, port=embedder.address.port):
        rows = np.stack([each.vector for each in [*first, *results]])
        assert np.array_equal(rows, local.embed(IMAGES * 3, "rgb"))
    compute = served.compute
    served.compute = lambda images: -compute(images)
    with (
        serving(served, port=embedder.address.port),
        pytest.raises(BackendError, match="another vector of one crop than when it was opened"),
    ):
        embedder.embed(IMAGES, "rgb")


@pytest.mark.parametrize("options", [{"device": "cuda"}, {"device": "openvino"}, {"cuda_graphs": 2}])
def test_the_server_decides_where_it_runs(options):
    with pytest.raises(BackendError, match="the server decides what the model runs on"):
        Embedder.load("kserve://127.0.0.1:1/reid", **options)


def test_missing_package(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "reid_runtime.backends.remote.http", None)
    with pytest.raises(BackendError, match="tritonclient is needed and missing .*" + re.escape(install_line("remote"))):
        Embedder.load("kserve://127.0.0.1:1/reid")
