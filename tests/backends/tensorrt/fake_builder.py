"""A TensorRT whose builder takes no time: it keeps the real one's documented rules, and notes what it is told.

It stands for the full TensorRT 10 and 11, whose builders need a GPU. What TensorRT-RTX can be asked for real is not
asked here.
"""

import threading
import types
import weakref
from dataclasses import dataclass
from enum import Enum, IntEnum

from ..cuda.fake import Faults


class BrokenRuleError(AssertionError):
    """The caller did what TensorRT's documentation forbids."""


class Counted:
    """Its methods are counted as they are called, and one call can be made to fail, as the bindings do: by raising."""

    def __getattribute__(self, name):
        method = super().__getattribute__(name)
        if isinstance(method, types.MethodType) and not name.startswith("_") and self.trt.faults.hit(name):
            raise RuntimeError(f"{name}: injected")
        return method


class ILogger:
    class Severity(Enum):
        INTERNAL_ERROR, ERROR, WARNING = range(3)

    def log(self, severity, msg):
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError

    def step_complete(self, phase_name, step):
        raise NotImplementedError

    def phase_finish(self, phase_name):
        raise NotImplementedError


class BuilderFlag(Enum):
    TF32 = "tf32"


class MemoryPoolType(Enum):
    WORKSPACE = "workspace"


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class DataType(Enum):
    UINT8, FLOAT, HALF = "uint8", "float", "half"

    def __str__(self):
        return self.value


@dataclass(frozen=True)
class ITensor:
    name: str
    shape: tuple
    dtype: DataType


class ParserError:
    def node_name(self):
        return "Sharpen sharp"

    def node_operator(self):
        return "Sharpen"

    def desc(self):
        return "no such operator"


class IOptimizationProfile(Counted):
    def __init__(self, trt):
        self.trt = trt

    def set_shape(self, input, min, opt, max):  # TensorRT's own names
        self.shapes = (input, min, opt, max)


class ITimingCache(Counted):
    def __init__(self, trt, content):
        self.trt, self.content = trt, content

    def serialize(self):
        return self.content + b"+"


class IBuilderConfig(Counted):
    def __init__(self, trt):
        self.trt, self.profiles, self.cleared, self.pools = trt, [], [], {}
        self.timings = self.monitor = self.level = None

    builder_optimization_level = property(lambda self: self.level, lambda self, level: setattr(self, "level", level))

    def clear_flag(self, flag):
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool] = pool_size

    def create_timing_cache(self, serialized_timing_cache):
        return None if serialized_timing_cache == b"damaged" else ITimingCache(self.trt, serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        # "ignore_mismatch: whether or not to allow using a cache that contains different CUDA device property":
        # such timings were measured on something else.
        # https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Core/BuilderConfig.html
        if ignore_mismatch:
            raise BrokenRuleError("timings of another GPU are allowed")
        if cache is None:
            raise TypeError("incompatible function arguments")  # what pybind does with None
        if cache.content == b"another GPU's":
            return False
        self.timings = cache
        return True

    def get_timing_cache(self):
        return self.timings

    def add_optimization_profile(self, profile):
        # "-1 if the input is not valid"
        if self.trt.refuses_profiles:
            return -1
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    @property
    def progress_monitor(self):
        return self.monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor):
        # "The lifetime of the IProgressMonitor must exceed the lifetime of all TensorRT objects that use it."
        # https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Core/ProgressMonitor.html
        self.monitor = weakref.proxy(monitor)


class INetworkDefinition(Counted):
    num_inputs = num_outputs = 1

    def __init__(self, trt, flags):
        self.trt, self.flags, self.parsed = trt, flags, False

    def get_input(self, index):
        self._require_parsed()
        return ITensor("images", self.trt.shape, DataType.UINT8)

    def get_output(self, index):
        self._require_parsed()
        return ITensor("embeddings", (-1, 8), self.trt.output)

    def _require_parsed(self):
        if not self.parsed:
            raise BrokenRuleError("a tensor of a network that has none yet")


class OnnxParser(Counted):
    def __init__(self, network, logger):
        self.trt, self.network = network.trt, network

    @property
    def num_errors(self):
        return len(self.trt.errors)

    def get_error(self, index):
        return self.trt.errors[index]

    def parse(self, model):
        self.network.parsed = True
        return not self.trt.errors


class Builder(Counted):
    def __init__(self, trt, logger):
        trt.threads.append(threading.get_ident())
        if trt.broken:
            # pybind's words where createInferBuilder gives nothing, as without a GPU
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.trt = trt

    def create_network(self, flags):
        return INetworkDefinition(self.trt, flags)

    def create_builder_config(self):
        self.trt.config = IBuilderConfig(self.trt)
        return self.trt.config

    def create_optimization_profile(self):
        return IOptimizationProfile(self.trt)

    def build_serialized_network(self, network, config):
        # "Specify that every tensor in the network has a data type defined in the network": without it TensorRT 10
        # chooses precisions by builder flags, which 11 has no more.
        # https://docs.nvidia.com/deeplearning/tensorrt/api/python_api/infer/Core/Builder.html
        if network.flags != 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED:
            raise BrokenRuleError("the network is not strongly typed")
        # "This function must be called at least once if the network has dynamic or shape input tensors."
        if not config.profiles:
            raise BrokenRuleError("no optimization profile")
        config.monitor.phase_start("Building engine", None, 2)
        goes_on = config.monitor.step_complete("Building engine", 0)
        config.monitor.phase_finish("Building engine")
        return b"plan" if goes_on and self.trt.gives_plan else None


def fake_tensorrt(**changes):
    """The module; `config` is then what was asked of the builder."""
    trt = types.ModuleType("tensorrt")
    trt.__version__ = "11.4.0.106"
    for kind in (ILogger, IProgressMonitor, OnnxParser, BuilderFlag, MemoryPoolType, NetworkDefinitionCreationFlag):
        setattr(trt, kind.__name__, kind)
    trt.DataType, trt.Builder = DataType, lambda logger: Builder(trt, logger)
    trt.threads, trt.config, trt.faults, trt.errors = [], None, Faults(), []
    trt.broken, trt.refuses_profiles, trt.gives_plan = False, False, True
    trt.shape, trt.output = (-1, -1, -1, 3), DataType.FLOAT
    vars(trt).update(changes)
    return trt
