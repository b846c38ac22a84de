"""A TensorRT whose builder takes no time: it keeps the real one's documented rules, and notes what it is told.

It stands for the full TensorRT 10 and 11, whose builders need a GPU. What TensorRT-RTX can be asked for real is not
asked here.
"""

import threading
import types
import weakref

from ..cuda.fake import Faults


class BrokenRuleError(AssertionError):
    """The caller did what TensorRT's documentation forbids."""


class Counted:
    """Its methods are counted as they are called, and one call can be made to fail, as the bindings do: by raising."""

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if isinstance(found, types.MethodType) and not name.startswith("_") and self.trt.faults.hit(name):
            raise RuntimeError(f"{name}: injected")
        return found


class ILogger:
    class Severity:
        INTERNAL_ERROR, ERROR, WARNING = range(3)


class IProgressMonitor:
    pass


class Enumeration:
    def __init__(self, **values):
        vars(self).update(values)


class Profile(Counted):
    def __init__(self, trt):
        self.trt = trt

    def set_shape(self, name, low, best, high):
        self.shapes = (name, low, best, high)


class TimingCache(Counted):
    def __init__(self, trt, content):
        self.trt, self.content = trt, content

    def serialize(self):
        return self.content + b"+"


class Config(Counted):
    def __init__(self, trt):
        self.trt, self.profiles, self.cleared, self.pools = trt, [], [], {}
        self.timings, self.monitor = None, None

    def clear_flag(self, flag):
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool] = size

    def create_timing_cache(self, content):
        return None if content == b"damaged" else TimingCache(self.trt, content)

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


class Network(Counted):
    num_inputs = num_outputs = 1

    def __init__(self, trt, flags):
        self.trt, self.flags, self.parsed = trt, flags, False

    def get_input(self, index):
        self._require_parsed()
        return Enumeration(name="images", shape=self.trt.shape, dtype=self.trt.DataType.UINT8)

    def get_output(self, index):
        self._require_parsed()
        return Enumeration(name="embeddings", shape=(-1, 8), dtype=self.trt.output)

    def _require_parsed(self):
        if not self.parsed:
            raise BrokenRuleError("a tensor of a network that has none yet")


class Parser(Counted):
    num_errors = 0

    def __init__(self, network, log):
        self.trt, self.network = network.trt, network

    def parse(self, content):
        self.network.parsed = True
        return True


class Builder(Counted):
    def __init__(self, trt, log):
        trt.threads.append(threading.get_ident())
        if trt.broken:
            # pybind's words where createInferBuilder gives nothing, as without a GPU
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.trt = trt

    def create_network(self, flags):
        return Network(self.trt, flags)

    def create_builder_config(self):
        self.trt.config = Config(self.trt)
        return self.trt.config

    def create_optimization_profile(self):
        return Profile(self.trt)

    def build_serialized_network(self, network, config):
        # "Specify that every tensor in the network has a data type defined in the network": without it TensorRT 10
        # chooses precisions by builder flags, which 11 has no more.
        # https://docs.nvidia.com/deeplearning/tensorrt/api/python_api/infer/Core/Builder.html
        if network.flags != 1 << self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED:
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
    trt.ILogger, trt.IProgressMonitor, trt.OnnxParser = ILogger, IProgressMonitor, Parser
    trt.BuilderFlag, trt.MemoryPoolType = Enumeration(TF32="tf32"), Enumeration(WORKSPACE="workspace")
    trt.NetworkDefinitionCreationFlag = Enumeration(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    trt.DataType = Enumeration(UINT8="uint8", FLOAT="float", HALF="half")
    trt.Builder = lambda log: Builder(trt, log)
    trt.threads, trt.config, trt.faults = [], None, Faults()
    trt.broken, trt.refuses_profiles, trt.gives_plan = False, False, True
    trt.shape, trt.output = (-1, -1, -1, 3), trt.DataType.FLOAT
    vars(trt).update(changes)
    return trt
