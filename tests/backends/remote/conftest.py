"""A served model that is the small one, its own file beside it, and the wrong ones that are made of it."""

import dataclasses

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.backends.onnx import OnnxBackend
from reid_runtime.backends.remote.statement import ARTEFACT_KEY
from reid_runtime.images.model_input import InputFormat
from reid_runtime.model_file.onnx import read_metadata

from ...inference_server import ServedFunction
from ...models import CONTRACT, write_model
from ...recorded import write_recorded

pytest.importorskip("tritonclient.http", reason="needs the extra remote")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The small model with a record."""
    return write_recorded(tmp_path_factory.mktemp("served") / "recorded.onnx")


@pytest.fixture(scope="session")
def local(recorded):
    return Embedder.load(recorded)


@pytest.fixture(scope="session")
def of_floats(tmp_path_factory):
    """The same weights behind an input of floats: a function of (N, H, W, 3) that sees what a wrong server makes."""
    like = dataclasses.replace(CONTRACT, input=InputFormat(dtype="float32"))
    run = OnnxBackend(write_model(tmp_path_factory.mktemp("floats") / "floats.onnx", None, like=like), "cpu").run
    return lambda images: run(np.ascontiguousarray(images, np.float32))


@pytest.fixture
def served(recorded, local):
    """It as a server has it, with all that the file carries; a test changes what it wants to be wrong."""
    return ServedFunction(local.backend.run, dict(read_metadata(recorded)) | {ARTEFACT_KEY: local.artefact_id})
