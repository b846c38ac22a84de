"""Contract tests: what our code uses of TensorRT's API exists in the real bindings of 10, of 11, and of TensorRT-RTX.

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
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHECKER = Path(__file__).with_name("api_use.py")
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


def users_of_tensorrt():
    """Every file of ours that has to do with the module."""
    files = [*(ROOT / "reid_runtime").rglob("*.py"), *(ROOT / "export").rglob("*.py")]
    return sorted(path for path in files if re.search(r"\btrt\b|tensorrt", path.read_text()))


def check(module, files, environment):
    command = [sys.executable, str(CHECKER), module, *map(str, files)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module", params=["10", "11", "rtx"])
def real(request, tmp_path_factory):
    """check(files) against one real module."""
    if request.param == "rtx":
        if importlib.util.find_spec("tensorrt_rtx") is None:
            pytest.skip("no tensorrt_rtx: pip install tensorrt-rtx==1.7.1.116")
        return lambda files: check("tensorrt_rtx", files, {})
    bindings = Path(os.environ.get("REID_TENSORRT_BINDINGS", "absent"), request.param)
    if not bindings.is_dir():
        pytest.skip(f"no bindings of TensorRT {request.param}: see this file's first lines")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the libraries that the bindings import over")
    folder = tmp_path_factory.mktemp("libraries")
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _LOOKED_UP))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{request.param}"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)], check=True
        )
    environment = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(bindings)}
    return lambda files: check("tensorrt_bindings", files, environment)


def test_every_use_exists_with_its_signature(real):
    found = real(users_of_tensorrt())
    assert found.returncode == 0, found.stderr
    uses = set(found.stdout.split())
    # One from each thing that we do; had the checker lost the track of a type, its uses would be missing here.
    for one in (
        "Builder.build_serialized_network",
        "IBuilderConfig.add_optimization_profile",
        "IOptimizationProfile.set_shape",
        "OnnxParser.parse",
        "ParserError.node_name",
        "IProgressMonitor.step_complete",
        "Severity.ERROR",
        "Runtime.deserialize_cuda_engine",
        "ICudaEngine.create_execution_context",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.set_input_shape",
        "IOutputAllocator.notify_shape",
    ):
        assert one in uses, found.stdout


_WRONG = {
    "a name that the module lacks": ("trt.Bilder(log)", "Bilder does not exist"),
    "a flag that 11 lacks as a method": ("trt.Builder(log).make_network(0)", "Builder.make_network does not exist"),
    "an enumeration's value": ("use(trt.DataType.FLOAT33)", "DataType.FLOAT33 does not exist"),
    "too few arguments": ("trt.Builder(log).build_serialized_network(1)", "build_serialized_network takes"),
    "too many arguments": ("trt.Builder(log).create_builder_config(1)", "create_builder_config takes"),
    "an unknown keyword": ("context.set_input_shape('images', size=(1, 2))", "set_input_shape takes"),
    "a method two types further": (
        "runtime = trt.Runtime(log)\n    runtime.deserialize_cuda_engine(b'').create_execution_context().run()",
        "IExecutionContext.run does not exist",
    ),
    "a property that cannot be set": ("context.engine = 1", "IExecutionContext.engine cannot be set"),
    "a value of unknown type": ("anything.execute_async_v3(0)", "on a value whose type nothing says"),
    "a name by string": ("Held(context).do('execute_v4', 0)", "IExecutionContext.execute_v4 does not exist"),
    "arguments of a name by string": ("Held(context).do('execute_async_v3')", "execute_async_v3 takes"),
    "a method that TensorRT would call otherwise": (
        "class Mine(trt.IProgressMonitor):\n        def step_complete(self, phase_name):\n            return True",
        "step_complete takes",
    ),
    "a method that TensorRT would never call": (
        "class Mine(trt.IOutputAllocator):\n        def tell_shape(self, name, shape):\n            pass",
        "IOutputAllocator.tell_shape does not exist",
    ),
    "a method that only its docstring shows": (
        "class Mine(trt.IOutputAllocator):\n        def notify_shape(self, name):\n            pass",
        "notify_shape is called with",
    ),
}
_AROUND = """
class Held:
    def __init__(self, context: "tensorrt.IExecutionContext"):
        self.context = context

    def do(self, call, *arguments):
        getattr(self.context, call)(*arguments)

    def right(self):
        self.do("execute_async_v3", 0)


def wrong(trt: ModuleType, context: "tensorrt.IExecutionContext", anything, log):
    {}
"""


def test_a_right_caller_passes(real, tmp_path):
    path = tmp_path / "right.py"
    path.write_text(_AROUND.format("context.set_input_shape('images', shape=(1, 2))"))
    found = real([path])
    assert found.returncode == 0, found.stderr


def test_every_kind_of_wrong_caller_is_found(real, tmp_path):
    """All in one process, for each import of the bindings takes its time."""
    for number, (code, _) in enumerate(_WRONG.values()):
        (tmp_path / f"wrong{number}.py").write_text(_AROUND.format(code).replace("Held", f"Held{number}"))
    found = real(sorted(tmp_path.glob("wrong*.py")))
    assert found.returncode == 1
    for number, (kind, (_, said)) in enumerate(_WRONG.items()):
        lines = [line for line in found.stderr.splitlines() if line.startswith(f"wrong{number}.py:")]
        assert any(said in line for line in lines), (kind, said, lines)
