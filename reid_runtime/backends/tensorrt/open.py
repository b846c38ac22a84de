"""From a file to a backend: an engine file once checked, or an ONNX file by its engine, out of the cache or built."""

import warnings
from pathlib import Path

from reid_runtime.backends.base import DEFAULT, Backend, Options
from reid_runtime.backends.cuda import open_cuda
from reid_runtime.backends.cuda.driver import find_gpu
from reid_runtime.backends.onnx import open_cuda as open_onnx_cuda
from reid_runtime.backends.tensorrt.backend import TensorRTBackend
from reid_runtime.backends.tensorrt.cache import EngineCache
from reid_runtime.backends.tensorrt.engine import Engine, read_engine, require_fit
from reid_runtime.backends.tensorrt.module import import_tensorrt
from reid_runtime.backends.tensorrt.pool import RefusedEngineError
from reid_runtime.errors import ContractError
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.file import carried_contract
from reid_runtime.model_file.formats import TENSORRT


def open_tensorrt(file: ModelFile, options: Options = DEFAULT) -> TensorRTBackend:
    """An ONNX file on TensorRT, its engine found in the cache or built now, which takes minutes; or an engine file."""
    trt, cuda = import_tensorrt(), open_cuda()
    fallback = None if options.fallback is None else _open_fallback(options.fallback, file, options)

    def load(engine: Engine) -> TensorRTBackend:
        return TensorRTBackend(engine, cuda=cuda, cuda_graphs=options.cuda_graphs, fallback=fallback)

    if file.format is TENSORRT:
        engine = read_engine(file.path, options.trust_engine)
        require_fit(engine, trt, find_gpu())
        return load(engine)
    cache = EngineCache()
    with cuda.current():
        engine = cache.get_or_build(file)
        try:
            return load(engine)
        except RefusedEngineError as error:
            warnings.warn(f"{error}; building the engine of {file.path} again", stacklevel=3)
            return load(cache.get_or_build(file, fresh=True))


def _open_fallback(path: Path, file: ModelFile, options: Options) -> Backend:
    """ONNX Runtime CUDA; ContractError where vectors of two models would lie in one array."""
    fallback = ModelFile.open(path, file.contract if carried_contract(path) is None else None)
    engine, other = file.contract.contract_id, fallback.contract.contract_id
    if engine != other:
        raise ContractError(f"the fallback must be of the engine's model, {engine}; found one of {other}")
    return open_onnx_cuda(fallback, Options(options.threads))
