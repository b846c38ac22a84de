"""From a file to a backend: an engine file once checked, or an ONNX file by its engine, out of the cache or built."""

import warnings
from dataclasses import replace
from pathlib import Path

from reid_runtime.backends.base import Backend
from reid_runtime.backends.cuda import open_cuda
from reid_runtime.backends.cuda.driver import find_gpu
from reid_runtime.backends.tensorrt.backend import TensorRTBackend
from reid_runtime.backends.tensorrt.cache import EngineCache
from reid_runtime.backends.tensorrt.engine import Engine, read_engine, require_fit
from reid_runtime.backends.tensorrt.module import import_tensorrt
from reid_runtime.backends.tensorrt.pool import RefusedEngineError
from reid_runtime.errors import ContractError
from reid_runtime.model_file.contract import Contract


def open_tensorrt(
    path: Path,
    *,
    contract: Contract | None = None,
    trust_engine: bool = False,
    graphs: int = 0,
    fallback: Backend | None = None,
) -> TensorRTBackend:
    """An ONNX file on TensorRT, its engine found in the cache or built now, which takes minutes; or an engine file.

    contract: stated for a file that has none. trust_engine: take an engine file that nothing vouches for; an
    engine is code, and whoever made it decides what this process does. graphs, fallback: as TensorRTBackend has them.
    """
    trt, cuda = import_tensorrt(), open_cuda()

    def opened(engine: Engine) -> TensorRTBackend:
        return TensorRTBackend(engine, cuda=cuda, graphs=graphs, fallback=fallback)

    if path.suffix == ".engine":
        engine = read_engine(path, trust_engine)
        if contract is not None:
            if engine.contract_text is not None:
                raise ContractError(f"{path} has its contract beside it; none must be stated")
            engine = replace(engine, contract_text=contract.to_json())
        require_fit(engine, trt, find_gpu())
        return opened(engine)
    cache = EngineCache()
    with cuda.current():
        engine = cache.get_or_build(path, contract=contract)
        try:
            return opened(engine)
        except RefusedEngineError as error:
            warnings.warn(f"{error}; building the engine of {path} again", stacklevel=3)
            return opened(cache.get_or_build(path, contract=contract, fresh=True))
