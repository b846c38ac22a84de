"""The one place where tests time anything: a few ratios, in turn, with bounds that only a broken path misses.

Never an absolute time. The median of the rounds counts, and a first miss is measured once more, for other work may
run on the machine.
"""

import numpy as np
import pytest

from benchmarks.inputs import mixed_sizes, one_size
from benchmarks.timing import paired, ratio
from export.gate import EXAMPLES, read_crops
from reid_runtime import Embedder
from reid_runtime.embedder import default_model

ROUNDS = 7


def at_least(bound, calls, slower, faster):
    """Whether `faster` is `bound` times as fast as `slower`, at the second try if not at the first."""
    found = [ratio(paired(calls, ROUNDS, warmup=1), slower, faster)]
    if found[0] < bound:
        found.append(ratio(paired(calls, ROUNDS, warmup=1), slower, faster))
    assert found[-1] >= bound, f"{faster} is {found} times as fast as {slower}, expected {bound} or more"


@pytest.fixture(scope="module")
def crops():
    return read_crops(EXAMPLES)[1][:8]


@pytest.fixture(scope="module")
def model():
    """On one thread: two would wait for each other wherever something else runs."""
    return Embedder.load(default_model(), threads=1)


def test_mixed_sizes_are_not_slower_than_half_of_one_size(model, crops):
    same, mixed = one_size(crops, 12), mixed_sizes(crops, 12)
    calls = {"one size": lambda: model.embed(same, "rgb"), "mixed sizes": lambda: model.embed(mixed, "rgb")}
    at_least(0.5, calls, "one size", "mixed sizes")


def test_int8_is_not_slower_than_float32(model, crops, tmp_path):
    onnx = pytest.importorskip("onnx")
    from export.calibration import observe
    from export.quantise import CPU, Wiring, observed, quantised
    from reid_runtime.backends import open_backend

    graph = onnx.load(str(default_model()))
    pictures = one_size(crops, 4)
    seen = observe(graph, observed(graph, CPU), pictures)
    whole = tmp_path / "int8.onnx"
    onnx.save(quantised(graph, CPU, seen, 99.0, Wiring(graph).layers(CPU)), str(whole))
    batch, integers = np.stack(pictures), open_backend(whole, "cpu", 1)
    calls = {"float32": lambda: model.backend.run(batch), "int8": lambda: integers.run(batch)}
    at_least(1.1, calls, "float32", "int8")
