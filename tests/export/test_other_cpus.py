"""The INT8 file for CPUs gives one vector on all of them: here on one without VNNI, whose products can saturate."""

import dataclasses
import platform
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from export.calibration import collect_ranges
from export.gate import EXAMPLES, read_crops
from export.quantise import CPU, GraphIndex, quantise, ranged_tensors
from reid_runtime.images.resize import resize
from reid_runtime.model_file.packaged import model_path

QEMU = shutil.which("qemu-x86_64")

# ONNX Runtime and numpy alone: each import takes its time on a processor that is played.
SCRIPT = """
import sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
for model in sys.argv[2:]:
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (vectors,) = session.run(None, {"images": numpy.load(sys.argv[1])})
    numpy.save(model + ".npy", vectors)
"""


@pytest.mark.skipif(QEMU is None, reason="needs qemu-user: qemu-x86_64")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="plays this machine's own Python on an older processor")
def test_a_packaged_model_in_7_bits_is_the_same_on_a_haswell_and_would_not_be_in_8(tmp_path):
    crops = [resize(crop, (64, 32)) for crop in read_crops(EXAMPLES)[1][:8]]
    np.save(tmp_path / "crops.npy", np.stack(crops[:2]))
    parent = onnx.load(str(model_path("tiny")))
    seen = collect_ranges(parent, ranged_tensors(parent, CPU), crops)
    layers = GraphIndex(parent).layers(CPU)[2:]
    for name, scheme in (("7", CPU), ("8", dataclasses.replace(CPU, weight_limit=127))):
        onnx.save(quantise(parent, scheme, seen, 95, layers), str(tmp_path / name))
    (tmp_path / "run.py").write_text(SCRIPT)

    def run(*machine):
        done = subprocess.run(
            [*machine, sys.executable, tmp_path / "run.py", tmp_path / "crops.npy", tmp_path / "7", tmp_path / "8"],
            capture_output=True,
            text=True,
            check=False,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        return [np.load(tmp_path / f"{name}.npy").astype(np.float64) for name in "78"]

    here, there = run(), run(QEMU, "-cpu", "Haswell")
    seven, eight = ((one * other).sum(axis=1).min() for one, other in zip(here, there, strict=True))
    assert seven >= 0.9999
    if "vnni" in _flags():
        assert eight < 0.9999, "with 8-bit weights the products saturate: the test would not see it if they did not"


def _flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return ""
