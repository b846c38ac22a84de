"""The last step of a build on demand: the engine gives the vectors of its ONNX file's self-test, or is not kept."""

from contextlib import closing
from dataclasses import replace

import numpy as np

from reid_runtime.agreement import compare, min_cosine
from reid_runtime.backends.cuda.driver import NoGpuError, find_gpu
from reid_runtime.backends.tensorrt.backend import TensorRTBackend
from reid_runtime.backends.tensorrt.engine import Engine
from reid_runtime.errors import BackendError
from reid_runtime.images.decode import load_image
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import resized
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.selftest import SelfTest

NOT_RUN = "not run: "


def check_engine(engine: Engine, file: ModelFile, selftest: SelfTest | None) -> Engine:
    """The engine with what came of its file's self-test, or why there was none.

    Each crop goes in as the smallest batch that the profiles take and as the one that they are tuned for. Raises
    BackendError where the engine cannot run them, or gives other vectors than verify allows on this backend.
    """
    assert engine.origin is not None
    path, contract = file.path, file.contract
    if selftest is None:
        return _with_check(engine, f"{NOT_RUN}its ONNX file has no self-test record")
    try:
        find_gpu()
    except NoGpuError:
        return _with_check(engine, f"{NOT_RUN}no GPU")
    counts = sorted({size[0] for profile in engine.profiles for size in (profile.minimum, profile.optimum)})
    try:
        with closing(TensorRTBackend(engine)) as backend:
            expected, results = [], []
            for image, vector in zip(selftest.images, selftest.vectors, strict=True):
                pixels = resized(load_image(image), contract.resize)
                for count in counts:
                    rows = backend.run(to_model_input(np.stack([pixels] * count), contract.input))
                    expected += [vector] * count
                    results.append(rows)
            seen = compare(np.stack(expected), np.concatenate(results))
            least = min_cosine(contract.precision, backend.device)
    except (BackendError, ValueError) as error:
        raise BackendError(f"{path}: the engine that was just built does not run, and is not kept: {error}") from error
    if not seen.worst_cosine >= least:  # NaN is none
        raise BackendError(
            f"{path}: the engine that was just built on {backend.name} gives other vectors than the file's "
            f"self-test record, and is not kept: expected cosines of at least {least}, found {seen.worst_cosine:.7f}; "
            "use another version of TensorRT, or device 'cuda'"
        )
    return _with_check(engine, f"{len(selftest.images)} crops, least cosine {seen.worst_cosine:.7f}")


def _with_check(engine: Engine, parity: str) -> Engine:
    assert engine.origin is not None
    return replace(engine, origin=replace(engine.origin, parity=parity))
