"""From a file to a backend: an engine file once checked, or an ONNX file by its engine, out of the cache or built."""

import warnings
from dataclasses import replace
from pathlib import Path

from reid_runtime.backends.base import DEFAULT, Options
from reid_runtime.backends.cuda import open_cuda
from reid_runtime.backends.cuda.driver import find_gpu
from reid_runtime.backends.onnx import open_cuda as open_onnx_cuda
from reid_runtime.backends.tensorrt.backend import TensorRTBackend
from reid_runtime.backends.tensorrt.cache import EngineCache
from reid_runtime.backends.tensorrt.engine import Engine, read_engine, require_fit
from reid_runtime.backends.tensorrt.module import import_tensorrt
from reid_runtime.backends.tensorrt.pool import RefusedEngineError
from reid_runtime.errors import ContractError


def open_tensorrt(path: Path, options: Options = DEFAULT) -> TensorRTBackend:
    """An ONNX file on TensorRT, its engine found in the cache or built now, which takes minutes; or an engine file."""
    trt, cuda = import_tensorrt(), open_cuda()
    contract = options.contract
    fallback = None if options.fallback is None else open_onnx_cuda(options.fallback, Options(options.threads))

    def load(engine: Engine) -> TensorRTBackend:
        return TensorRTBackend(engine, cuda=cuda, cuda_graphs=options.cuda_graphs, fallback=fallback)

    if path.suffix == ".engine":
        engine = read_engine(path, options.trust_engine)
        if contract is not None:
            if engine.contract_text is not None:
                raise ContractError(f"{path} has its contract beside it; none must be stated")
            engine = replace(engine, contract_text=contract.to_json())
        require_fit(engine, trt, find_gpu())
        return load(engine)
    cache = EngineCache()
    with cuda.current():
        engine = cache.get_or_build(path, contract=contract)
        try:
            return load(engine)
        except RefusedEngineError as error:
            warnings.warn(f"{error}; building the engine of {path} again", stacklevel=3)
            return load(cache.get_or_build(path, contract=contract, fresh=True))
