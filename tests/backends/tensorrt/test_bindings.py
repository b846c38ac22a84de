"""Contract tests: what the fakes offer exists in the real bindings of TensorRT 10, of 11, and of TensorRT-RTX.

The bindings are 1.3 MB and want libraries of hundreds; they import as well over libraries of nothing but the nine
names that they look up. REID_TENSORRT_BINDINGS is a folder of folders, one a version, each filled by
`pip install --no-deps --target FOLDER/10 tensorrt_cu13_bindings==10.16.1.11`.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from .real_api import differences, fakes

ROOT = Path(__file__).parents[3]
_LOOKED_UP = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


def over_nothing(version, folder):
    """The environment in which the bindings of a version import, over stub libraries in `folder`."""
    bindings = Path(os.environ.get("REID_TENSORRT_BINDINGS", "absent"), version)
    if not bindings.is_dir():
        pytest.skip(f"no bindings of TensorRT {version}: see this file's first lines")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the libraries that the bindings import over")
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _LOOKED_UP))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{version}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(command, check=True)
    return {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(bindings)}


@pytest.mark.parametrize("version", ["10", "11", "rtx"])
def test_fakes_have_only_what_is_real(version, tmp_path):
    if version == "rtx" and importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("no tensorrt_rtx: pip install tensorrt-rtx==1.7.1.116")
    environment = {} if version == "rtx" else over_nothing(version, tmp_path)
    module = "tensorrt_rtx" if version == "rtx" else "tensorrt_bindings"
    command = [sys.executable, "-m", "tests.backends.tensorrt.real_api", module]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_class_is_looked_at():
    names = {kind.__name__ for kind in fakes()}
    assert {"Builder", "IBuilderConfig", "OnnxParser", "Runtime", "ICudaEngine", "IExecutionContext"} <= names
    assert {"IOutputAllocator", "IProgressMonitor", "ILogger", "DataType", "ParserError", "ITensor"} <= names


class Real:
    """As pybind11 has it: def called(self, one, two): is in an example only."""

    class Kind(Enum):
        FLOAT = 0

    def take(self, *arguments):
        """1. take(self: m.Real, name: str, sizes: tuple[int, int] = (1, 2)) -> bool

        2. take(self: m.Real) -> bool"""

    fixed = property(lambda self: 0)


def _fake(**members):
    return type("Real", (), members)


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (_fake(take=lambda self, name, sizes: 0, called=lambda self, one, two: 0, fixed=0), None),
        (_fake(take=lambda self: 0, Kind=Enum("Kind", ["FLOAT"])), None),
        (_fake(fix=0), "Real.fix does not exist"),
        (_fake(tell=lambda self: 0), "Real.tell does not exist"),
        (_fake(take=lambda self, title: 0), r"Real.take takes .*'name'.*, the fake \['title'\]"),
        (_fake(take=lambda self, name, sizes, more: 0), "Real.take takes"),
        (_fake(called=lambda self, one: 0), "Real.called takes"),
        (_fake(Kind=Enum("Kind", ["FLOAT", "FLOAT33"])), "Real.Kind.FLOAT33 does not exist"),
        (_fake(fixed=property(lambda self: 0, lambda self, value: None)), "Real.fixed cannot be set"),
    ],
)
def test_difference_is_found(fake, message):
    result = list(differences(Real, fake, "Real"))
    if message is None:
        assert result == []
    else:
        assert len(result) == 1
        assert re.search(message, result[0])
