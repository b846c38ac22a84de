"""verify on servers that are wrong on purpose: each is told by its name, and one that is right passes."""

import json

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.images.resize import resize
from reid_runtime.model_file.packaged import model_path

from ...inference_server import ServedFunction, serving, serving_grpc
from ...models import CONTRACT, write_model

_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def rounded(rows):
    """Vectors in about 8 bits."""
    coarse = np.round(rows * 128) / 128
    return (coarse / np.linalg.norm(coarse, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("protocol", [serving, serving_grpc])
def test_right_server_passes(command, served, recorded, local, protocol):
    with protocol(served) as address:
        for words in ((), ("--reference", recorded)):
            run = command("verify", "--model", address, *words)
            assert (run.code, run.err) == (0, "")
            assert run.out.startswith(f"{address}\nartefact {local.artefact_id}\ncontract {CONTRACT.contract_id}")
            assert f"those of the record of {recorded if words else 'the server itself'}\nok" in run.out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda run: lambda images: run(images[..., ::-1]), "channel order: red and blue are exchanged"),
        (lambda run: lambda images: run(images / 255), "scale: it divides by 255 once more"),
        (
            lambda run: lambda images: run(255 * (images / 255 - _MEAN) / _DEVIATION),
            "normalisation twice: it subtracts imagenet's mean and divides by its deviation before the model does:",
        ),
        (
            lambda run: lambda images: run((images / 255 - _MEAN) / _DEVIATION),
            "normalisation twice: it subtracts imagenet's mean and divides by its deviation before the model does, in",
        ),
        (lambda run: lambda images: run(255 * _MEAN + images * _DEVIATION), "normalisation: imagenet's is left out"),
        (lambda run: lambda images: run(images[..., ::-1] / 255), "channel order, and scale: it divides by 255"),
        (lambda run: lambda images: rounded(run(images)), "precision: every vector is near the right one"),
        (lambda run: lambda images: run(images)[:, ::-1], "other weights, or an input that is changed"),
        (lambda run: lambda images: run(np.zeros_like(images)), "it gives one vector for all crops"),
        (lambda run: lambda images: run(images)[:, :3], "expected vectors"),
        (lambda run: lambda images: run(images) * 2, "the contract promises unit vectors"),
        (lambda run: lambda images: run(images) * np.float32(np.nan), "NaN"),
    ],
)
def test_what_drifts(command, served, recorded, of_floats, wrong, words):
    served.compute = lambda images: wrong(of_floats)(images).astype(np.float32)
    with serving(served) as address:
        run = command("verify", "--model", address, "--reference", recorded, "--json")
    (check,) = json.loads(run.out)["backends"]
    assert run.code == 1
    assert words in check["problem"]


def test_second_resize(command, served, recorded):
    compute = served.compute
    served.compute = lambda images: compute(np.stack([resize(image, (224, 224)) for image in images]))
    with serving(served) as address:
        run = command("verify", address, "--reference", recorded)
    assert run.code == 1
    assert "resize: it stretches to 224x224 once more" in run.out


def test_without_a_reference(command, served, of_floats):
    """What needs none is told, and how to have the rest."""
    for wrong, words in (
        (lambda images: of_floats(images[..., ::-1]), "channel order: red and blue are exchanged"),
        (lambda images: of_floats(images / 255), "scale and normalisation are tried with --reference FILE"),
    ):
        served.compute = wrong
        with serving(served) as address:
            assert words in command("verify", address).out
    served.parameters = {"reid_runtime.contract": served.parameters["reid_runtime.contract"]}
    with serving(served) as address:
        run = command("verify", address)
    assert run.code == 0
    assert "no record says which vectors are right" in run.out


def test_other_weights_of_the_package(command):
    """Not only other ones: whose they are."""
    base, tiny = (Embedder.load(name) for name in ("base", "tiny"))
    served = ServedFunction(tiny.backend.run, {"reid_runtime.contract": base.contract.to_json()})
    with serving(served) as address:
        run = command("verify", address)
    assert run.code == 1
    assert "right are those of the record of the packaged base" in run.out
    assert "other weights: these are the vectors of the packaged model tiny" in run.out


def test_reference_of_another_space(command, served, tmp_path):
    with serving(served) as address:
        run = command("verify", address, "--reference", "tiny")
        assert run.code == 1
        assert f"{model_path('tiny')} has the contract" in run.err
        assert command("verify", address, "--reference", write_model(tmp_path / "m.onnx")).code == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("kserve://h/m", "--device", "cpu"), "--device is for files"),
        (("kserve://h/m", "--model", "base"), "name the model: give one"),
        (("base", "--reference", "tiny"), "--reference is for servers"),
    ],
)
def test_usage(command, words, problem):
    run = command("verify", *words)
    assert run.code == 2
    assert problem in run.err


def test_explain_and_describe_read_files(command, tmp_path):
    for verb in (("describe", "kserve://h/m"), ("explain", __file__, "--model", "kserve://h/m")):
        run = command(*verb)
        assert run.code == 2
        assert "kserve://h/m is a server" in run.err
