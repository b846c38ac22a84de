"""What the export's tests share: a small parent, training crops, and a labelled miniature."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs an ONNX Runtime")

from PIL import Image

from export.gate import EXAMPLES, read_crops, read_eval_inputs
from reid_runtime.cli import run
from tests.miniature import write_market

from .small import write_small


@pytest.fixture(scope="session")
def parent(tmp_path_factory):
    """A small float32 export, whole."""
    return write_small(tmp_path_factory.mktemp("parent") / "small.onnx")


@pytest.fixture(scope="session")
def inputs():
    return read_eval_inputs()


@pytest.fixture(scope="session")
def training(tmp_path_factory):
    """A folder of 64 different training crops: the examples, and the same mirrored and darkened."""
    folder = tmp_path_factory.mktemp("set") / "train"
    folder.mkdir()
    for number, crop in enumerate(read_crops(EXAMPLES)[1]):
        for name, pixels in (("a", crop), ("b", (crop[:, ::-1] * 0.8).astype(np.uint8))):
            small = Image.fromarray(pixels)
            small.thumbnail((64, 64))
            small.save(folder / f"{number:02}{name}.png")
    return folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """A miniature in Market-1501's layout."""
    folder = tmp_path_factory.mktemp("labelled") / "miniature"
    write_market(folder, identities=4, cameras=2, views=1)
    return folder


@pytest.fixture
def export(in_process):
    """`python -m export.STEP`, in this process: export("to_fp16", *arguments) gives a Run."""

    def call(step, *arguments):
        main = import_module(f"export.{step}").main
        return in_process(partial(run, main), f"export.{step}", *arguments)

    return call
