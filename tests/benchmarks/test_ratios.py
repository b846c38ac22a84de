"""The one place where tests time anything: a few ratios, in turn, with bounds that only a broken path misses.

Never an absolute time. The median of the rounds counts, and a first miss is measured once more, for other work may
run on the machine.
"""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.inputs import mixed_sizes, one_size
from benchmarks.timing import paired, ratio
from export.gate import EXAMPLES, read_crops
from reid_runtime import Embedder
from reid_runtime.backends.onnx import OnnxBackend
from reid_runtime.embedder import default_model
from reid_runtime.images.resize import resize

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


@pytest.fixture(scope="module")
def integers(model, crops, tmp_path_factory):
    """The default model with every layer in integers, on one thread: as fast as one that passes its gate, or faster."""
    onnx = pytest.importorskip("onnx", reason="needs the extra dev")
    from export.calibration import observe
    from export.quantise import CPU, Wiring, observed, quantised

    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    graph, rule = onnx.load(default_model()), model.contract.resize
    pictures = [resize(crop, rule.shape(*crop.shape[:2])) for crop in crops]
    seen = observe(graph, observed(graph, CPU), pictures)
    onnx.save(quantised(graph, CPU, seen, 95, Wiring(graph).layers(CPU)), path)
    return OnnxBackend(path, "cpu", threads=1)


def test_int8_is_not_slower_than_float32(model, integers, crops):
    """A CPU without instructions for such products need not be faster."""
    about = Path("/proc/cpuinfo")
    if not about.is_file() or not any(flag in about.read_text() for flag in ("vnni", "amx_int8", "asimddp")):
        pytest.skip("this CPU is not known to multiply integers faster")
    batch = np.stack(one_size(crops, 4))
    calls = {"float32": lambda: model.backend.run(batch), "int8": lambda: integers.run(batch)}
    at_least(1.1, calls, "float32", "int8")
