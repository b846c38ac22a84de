"""A draft of the contract of a third-party model: what its file says, and TODO for what no file says."""

from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.backends import Backend
from reid_runtime.backends.onnx import OnnxBackend, import_onnxruntime
from reid_runtime.backends.openvino import OpenVinoBackend, openvino_core
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.images.resize import RULES, FixedSize, rule_form, rule_to_json
from reid_runtime.model_file.contract import TODO, VERSION
from reid_runtime.model_file.file import weights_digest
from reid_runtime.model_file.formats import OPENVINO, TENSORRT, format_of
from reid_runtime.vectors import UNIT_TOLERANCE

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "u8": "uint8", "f32": "float32"}
"""The runtime's names for ONNX Runtime's and OpenVINO's."""
_ANY_SIDE = {"height": 256, "width": 128}
"""What is run where the file leaves a side free."""

Shape = tuple[int | None, ...]
"""The axes of a model's input, None for a free one."""


def draft(path: Path) -> dict[str, Any]:
    """The contract's JSON object for an ONNX or OpenVINO (.xml) file that carries none.

    Filled in is what the file says, or shows when it is run: layout, dtype, a fixed size, dimension, whether vectors
    have unit length, the weights' digest. What it cannot say (colour order, scale, mean, deviation, training data,
    terms) is a text that begins with TODO, which `Contract.from_json` refuses.

    Raises BackendError for a file that does not run, ContractError for an input that no contract can state.
    """
    file_format = format_of(path)
    if file_format is TENSORRT:
        raise BackendError(f"{path} is an engine without a sidecar: build it here with python -m export.to_tensorrt")
    backend: Backend = OpenVinoBackend(path) if file_format is OPENVINO else OnnxBackend(path, "cpu")
    shape, kind = _openvino_input(path) if file_format is OPENVINO else _onnx_input(path)
    if kind not in _DTYPES or len(shape) != 4:
        raise ContractError(
            f"{path}: expected an input of uint8 or float32 with four axes, found {kind} with {len(shape)}"
        )
    layout = _layout(path, shape)
    sides = dict(zip(("height", "width"), shape[2:] if layout == "NCHW" else shape[1:3], strict=True))
    dtype = _DTYPES[kind]
    dimension, unit = _output(path, backend, layout, dtype, sides)
    return {
        "version": VERSION,
        "name": path.stem,
        "resize": _resize(sides),
        "input": {"layout": layout, "dtype": dtype, "colour": f"{TODO}rgb or bgr", **_normalisation(dtype)},
        "unit_output": unit,
        "dimension": dimension,
        "metric": "cosine",
        "weights": weights_digest(path),
        "graph": f"{file_format.name} as found",
        "precision": {"kind": f"{TODO}float32, float16 or int8", "engine": None, "scheme": None},
        "trained_on": [
            {
                "data": f"{TODO}the data sets that the weights have seen, or unpublished",
                "terms": f"{TODO}the terms under which weights and data may be used, or unknown",
                "identities": f"{TODO}a number, 0 where it is unknown",
                "crops": f"{TODO}a number, 0 where it is unknown",
            }
        ],
        "scores": [],
        "parent": None,
        "drift": None,
        "inner": None,
        "last_layer": None,
    }


def _onnx_input(path: Path) -> tuple[Shape, str]:
    session = import_onnxruntime("cpu").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    model_input = session.get_inputs()[0]
    return tuple(side if isinstance(side, int) else None for side in model_input.shape), model_input.type


def _openvino_input(path: Path) -> tuple[Shape, str]:
    model_input = openvino_core().read_model(path).inputs[0]
    axes = tuple(side.get_length() if side.is_static else None for side in model_input.get_partial_shape())
    return axes, model_input.get_element_type().get_type_name()


def _layout(path: Path, shape: Shape) -> str:
    """Where the three colours lie; a file that does not say so exactly once has no layout that could be filled in."""
    planes, pixels = shape[1] == 3, shape[3] == 3
    if planes == pixels:
        raise ContractError(
            f"{path}: expected an input with 3 channels, second (NCHW) or last (NHWC) of four axes, found {shape}: "
            "models for one channel, or any other number, are not run; export it with a first layer that takes RGB"
        )
    return "NCHW" if planes else "NHWC"


def _output(path: Path, backend: Backend, layout: str, dtype: str, sides: dict[str, int | None]) -> tuple[int, bool]:
    """The dimension, and whether vectors have unit length, of two random images, one at a time."""
    height, width = (sides[name] or usual for name, usual in _ANY_SIDE.items())
    random = np.random.default_rng(0)
    unit = True
    for _ in range(2):
        image = random.uniform(0, 255, (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3))
        vectors = backend.run(image.astype(np.uint8) if dtype == "uint8" else image.astype(np.float32))
        if vectors.ndim != 2 or len(vectors) != 1:
            raise ContractError(f"{path}: expected an output of shape (1, D) for one image, found {vectors.shape}")
        unit = unit and bool(abs(np.linalg.norm(vectors) - 1) <= UNIT_TOLERANCE)
    return vectors.shape[1], unit


def _resize(sides: dict[str, int | None]) -> dict[str, Any] | str:
    height, width = sides["height"], sides["width"]
    if height is not None and width is not None:
        return rule_to_json(FixedSize(height, width))
    return f"{TODO}the file takes several sizes; {' or '.join(map(rule_form, RULES))}, as it was trained"


def _normalisation(dtype: str) -> dict[str, Any]:
    if dtype == "uint8":  # a contract has no other for whole numbers
        return {"scale": 1.0, "mean": [0.0, 0.0, 0.0], "deviation": [1.0, 1.0, 1.0]}
    return {
        "scale": f"{TODO}1.0 for pixels of 0 to 255, 0.00392156862745098 for 0 to 1",
        "mean": f"{TODO}three numbers in the order of colour, subtracted after the scale; [0, 0, 0] for none",
        "deviation": f"{TODO}three numbers in the order of colour, divided by at last; [1, 1, 1] for none",
    }
