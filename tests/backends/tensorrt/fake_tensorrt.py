"""A fake `tensorrt` of version 10 and 11 over the fake GPU: it computes with numpy, and enforces TensorRT's rules.

Sources, by short name:
- runtime.h: the C++ reference of NvInferRuntime.h, class and method named,
  https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/c-api/namespacenvinfer1.html
- python: the Python reference, https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/
- guide: the developer guide, https://docs.nvidia.com/deeplearning/tensorrt/latest/, section named

What TensorRT answers with False or None and a line in its log, the fake answers so; what it leaves undefined raises
RuleBrokenError, for on a GPU it might go unnoticed.
"""

import threading
import types
import weakref
from enum import Enum, IntEnum

import numpy as np

from ..cuda.fake import RuleBrokenError, Work

BLOB = b"an engine of the fake"


class FakeTensorRT(types.ModuleType):
    """The module, for one engine: input `images` of uint8, output `embeddings` by `embed`, and `profiles`."""

    class ILogger:
        class Severity(Enum):
            INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def log(self, severity, msg):
            raise NotImplementedError

    class IOutputAllocator:
        def __init__(self):
            self.ready = True

        def reallocate_output_async(self, tensor_name, memory, size, alignment, stream):
            raise NotImplementedError

        def notify_shape(self, tensor_name, shape):
            raise NotImplementedError

    class TensorIOMode(IntEnum):
        NONE, INPUT, OUTPUT = range(3)

    class DataType(IntEnum):
        FLOAT, HALF, INT8, INT32, BOOL, UINT8 = range(6)

    def __init__(self, cuda, profiles, embed, shape=(-1, -1, -1, 3), dtype="UINT8", output="FLOAT"):
        super().__init__("tensorrt")
        self.__version__ = "11.4.0.106"
        self.cuda, self.profiles, self.embed, self.shape = cuda, profiles, embed, shape
        self.dtypes = {"images": self.DataType[dtype], "embeddings": self.DataType[output]}
        self.contexts = []
        self.engines = []
        """Weak references to every one that was made."""
        self.announced = None
        """The output's shape as it is told, where that is another than an engine of ours has."""
        self.logger = None
        self.Runtime = lambda logger: Runtime(self, logger)
        self.Builder = None  # only its name is looked at

    def fails(self, call, words="injected"):
        """Count a call; where it is the one to fail, say so in the log as TensorRT does."""
        if self.cuda.faults.hit(call):
            self.log(f"{call}: {words}")
            return True
        return False

    def log(self, message):
        self.logger.log(self.ILogger.Severity.ERROR, message)


class Runtime:
    def __init__(self, trt, logger):
        self.trt, self._engine = trt, lambda: None
        trt.logger = logger
        if trt.fails("Runtime"):
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def deserialize_cuda_engine(self, serialized_engine):
        """python, Runtime.deserialize_cuda_engine: None on failure."""
        if bytes(serialized_engine) != BLOB:
            self.trt.log("Error Code 1: Serialization (Serialization assertion magicTagRead == magicTag failed.)")
            return None
        if self.trt.fails("deserialize_cuda_engine"):
            return None
        engine = ICudaEngine(self.trt)
        self.trt.engines.append(weakref.ref(engine))
        self._engine = weakref.ref(engine)
        return engine

    def __del__(self):
        """runtime.h, IRuntime::deserializeCudaEngine: destroying the runtime before its engines is undefined."""
        if self._engine() is not None:
            self.trt.cuda.violations.append("the runtime was destroyed before its engine")


class ICudaEngine:
    num_io_tensors = 2

    def __init__(self, trt):
        self.trt, self._contexts = trt, weakref.WeakSet()

    def get_tensor_name(self, index):
        return ("images", "embeddings")[index]

    def get_tensor_mode(self, name):
        return self.trt.TensorIOMode.INPUT if name == "images" else self.trt.TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        return self.trt.shape if name == "images" else (-1, 8)

    def get_tensor_dtype(self, name):
        return self.trt.dtypes[name]

    @property
    def num_optimization_profiles(self):
        return len(self.trt.profiles)

    def get_tensor_profile_shape(self, name, profile_index):
        planes = self.trt.shape[1] == 3
        return [(n, 3, h, w) if planes else (n, h, w, 3) for n, h, w in self.trt.profiles[profile_index]]

    def create_execution_context(self):
        """python, ICudaEngine.create_execution_context: None on failure. Profile 0 is selected (runtime.h,
        IExecutionContext::setOptimizationProfileAsync)."""
        if self.trt.fails("create_execution_context"):
            return None
        context = IExecutionContext(self.trt)
        self._contexts.add(context)
        self.trt.contexts.append(weakref.ref(context))
        return context

    def __del__(self):
        """runtime.h, ~ICudaEngine: destroying an engine before its contexts is undefined."""
        if len(self._contexts):
            self.trt.cuda.violations.append("the engine was destroyed before its contexts")


class IExecutionContext:
    def __init__(self, trt):
        self.trt, self._cuda = trt, trt.cuda
        self._profile, self._switch = 0, None
        self._shape = self._allocator = self._thread = self._last = self._captured = None
        self._addresses = {"images": 0, "embeddings": 0}
        self._warm = None

    def _enter(self, keep):
        """guide, 'Thread Safety': a context may be used by one thread at a time. From the statement of a shape to the
        enqueue that uses it, it is in use."""
        here = threading.get_ident()
        if self._thread not in (None, here):
            raise RuleBrokenError("an execution context is used by two threads at once")
        self._thread = here if keep else None
        # guide, 'CUDA Graphs': modifying the context that a graph was captured from makes running the graph undefined.
        if self._captured is not None and not self._cuda.is_capturing(self._captured[0]):
            works = self._captured[1]
            if any(works is graph.works for graph in self._cuda.graphs.values()):
                raise RuleBrokenError("a context is used while a graph that was captured from it lives")

    def set_optimization_profile_async(self, profile_index, stream_handle):
        """runtime.h, setOptimizationProfileAsync: before the shapes, which it makes invalid; it may copy on the stream,
        which must be synchronised with that of the enqueue. python: RuntimeError on failure."""
        self._enter(keep=False)
        if self.trt.fails("set_optimization_profile_async") or not 0 <= profile_index < len(self.trt.profiles):
            raise RuntimeError("Error in set optimization profile async.")
        self._profile, self._shape = profile_index, None
        self._switch = self._cuda.mark(stream_handle)
        return True

    def set_input_shape(self, name, shape):
        """runtime.h, setInputShape: False for another name, or a shape outside the profile."""
        self._enter(keep=True)
        if self.trt.fails("set_input_shape"):
            return False
        low, _, high = self.trt.profiles[self._profile]
        given = (shape[0], *(shape[2:] if self.trt.shape[1] == 3 else shape[1:3]))
        inside = all(a <= value <= b for a, value, b in zip(low, given, high, strict=True))
        if name != "images" or len(shape) != 4 or not inside:
            self.trt.log(f"IExecutionContext::setInputShape: Error Code 3: {shape} is outside of [{low}, {high}]")
            return False
        self._shape = tuple(shape)
        return True

    def set_tensor_address(self, name, memory):
        """runtime.h, setTensorAddress: False for another name; at least 256-byte alignment."""
        self._enter(keep=True)
        if self.trt.fails("set_tensor_address"):
            return False
        if name not in self._addresses:
            self.trt.log(f"setTensorAddress: no tensor is called {name}")
            return False
        if memory % 256:
            raise RuleBrokenError(f"address {memory:#x} is not aligned to 256 bytes")
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name, output_allocator):
        """runtime.h, setOutputAllocator: False for another name. python: the base class must be initialised."""
        self._enter(keep=False)
        if self.trt.fails("set_output_allocator"):
            return False
        if not getattr(output_allocator, "ready", False):
            raise RuleBrokenError("an output allocator did not call IOutputAllocator.__init__")
        if name != "embeddings":
            self.trt.log(f"setOutputAllocator: {name} is no output")
            return False
        self._allocator = output_allocator
        return True

    def execute_async_v3(self, stream_handle):
        """runtime.h, enqueueV3, setTensorAddress and IOutputAllocator: see the messages."""
        stream = stream_handle
        self._enter(keep=False)
        if self.trt.fails("execute_async_v3"):
            return False
        if stream == 0:
            raise RuleBrokenError("enqueueV3 on the default stream, which it warns of")
        if self._shape is None:
            self.trt.log("IExecutionContext::enqueueV3: Error Code 3: images has no shape")
            return False
        if not self._addresses["images"]:
            self.trt.log("IExecutionContext::enqueueV3: Error Code 3: Address is not set for input tensor images.")
            return False
        if self._switch is not None and self._cuda.pending(self._switch) and self._switch.stream != stream:
            raise RuleBrokenError("enqueued before the switch of the profile has come, on another stream")
        if self._last is not None and self._cuda.pending(self._last) and self._last.stream != stream:
            raise RuleBrokenError("a context is enqueued on two streams at once")
        capturing = self._cuda.is_capturing(stream)
        if capturing and self._warm != self._shape:
            # guide, 'CUDA Graphs': enqueue once before the capture, to do what a change of shape leaves to be done.
            self.trt.log("Error Code 2: Internal Error (operation not permitted when stream is capturing)")
            return False
        shape = self._shape
        dtype = np.uint8 if self.trt.dtypes["images"] == self.trt.DataType.UINT8 else np.float32
        read = int(np.prod(shape)) * np.dtype(dtype).itemsize
        images = self._cuda.array(self._addresses["images"], read).view(dtype).reshape(shape)
        result = self._output(shape[0], stream)
        if result is None:
            return False
        address, output = result

        embed = self.trt.embed  # not self: a graph must not keep its context

        def compute():
            output[:] = embed(images)

        self._cuda.queue(stream, Work(compute, ((self._addresses["images"], read), (address, output.nbytes))))
        if capturing:
            self._captured = (stream, self._cuda._captured[stream])
        else:
            self._warm, self._last = shape, self._cuda.mark(stream)
        return True

    def _output(self, batch, stream):
        """runtime.h, IOutputAllocator: the size is always positive; null means that there is no memory; the shape is
        told before enqueueV3 returns. Without one, the output needs an address."""
        width = self.trt.embed(np.zeros((1, *(4 if side == -1 else side for side in self.trt.shape[1:])), np.uint8))
        size = 4 * batch * width.shape[1]
        address = self._addresses["embeddings"]
        if self._allocator is not None:
            try:
                address = self._allocator.reallocate_output_async("embeddings", address, size, 256, stream)
            except RuleBrokenError:
                raise
            except Exception as error:
                print(f"[ERROR] Exception caught in reallocateOutputAsync(): {error}")  # as the bindings do
                address = 0
        if not address:
            self.trt.log("IExecutionContext::enqueueV3: Error Code 3: Address is not set for output tensor embeddings.")
            return None
        if address % 256:
            raise RuleBrokenError(f"output address {address:#x} is not aligned to 256 bytes")
        output = self._cuda.array(address, size).view(np.float32).reshape(batch, -1)
        if self._allocator is not None:
            self._allocator.notify_shape("embeddings", self.trt.announced or output.shape)
        return address, output

    def __del__(self):
        """runtime.h, enqueueV3: what the inference uses must stay until the stream has been synchronised."""
        if self._last is not None and self._cuda.pending(self._last):
            self._cuda.violations.append("a context was destroyed while its inference was queued")
