"""A draft of the contract of a third-party model: what its file says or shows, and TODO for what no file says."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.backends.base import Backend
from reid_runtime.backends.onnx import OnnxBackend, import_onnxruntime, session_ports
from reid_runtime.backends.openvino import OpenVinoBackend, import_openvino, openvino_core, output_name
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import RULES, Filter, FixedSize, rule_form, rule_to_json
from reid_runtime.model_file.contract import TODO, VERSION
from reid_runtime.model_file.external import kind_of_weights
from reid_runtime.model_file.file import weights_digest
from reid_runtime.model_file.formats import OPENVINO, TENSORRT, format_of
from reid_runtime.vectors import UNIT_TOLERANCE

_DTYPES = {
    "tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16",
    "u8": "uint8", "f32": "float32", "f16": "float16",
}  # fmt: skip
"""The runtime's names for ONNX Runtime's and OpenVINO's."""
_SIZES = ((256, 128), (256, 256), (224, 224), (384, 128), (128, 64), (384, 192), (224, 112), (288, 144))
"""(height, width) that are tried where the file leaves a side free; transformers run at one alone."""
_KINDS = {"f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}
"""Of the weights, by OpenVINO's names of them."""
_MOST_OUTPUTS = 8

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_NONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
PRESETS: Mapping[str, InputFormat] = {
    "imagenet-rgb": InputFormat("NCHW", "float32", "rgb", 1 / 255, *_IMAGENET),
    "imagenet-bgr": InputFormat("NCHW", "float32", "bgr", 1 / 255, _IMAGENET[0][::-1], _IMAGENET[1][::-1]),
    "clip-rgb": InputFormat("NCHW", "float32", "rgb", 1 / 255, *_CLIP),
    "half-rgb": InputFormat("NCHW", "float32", "rgb", 1 / 255, *_HALF),
    "unit-rgb": InputFormat("NCHW", "float32", "rgb", 1 / 255, *_NONE),
    "raw-rgb": InputFormat("NCHW", "float32", "rgb", 1.0, *_NONE),
    "raw-bgr": InputFormat("NCHW", "float32", "bgr", 1.0, *_NONE),
}
"""How the inputs of most models are prepared, by the names that `describe --preset` takes: ImageNet's and CLIP's means
and deviations, 0.5 and 0.5 (values from -1 to 1), 0 to 1, and pixels of 0 to 255. Layout and type are the file's.
"""

Shape = tuple[int | None, ...]
"""The axes of a model's input, None for a free one."""


def draft(
    path: Path, preset: str | None = None, size: tuple[int, int] | None = None, by: Filter = "bilinear"
) -> dict[str, Any]:
    """The contract's JSON object for an ONNX or OpenVINO (.xml) file that carries none.

    Filled in is what the file says, or shows when it is run: layout, dtype, a fixed size, dimension, whether vectors
    have unit length, precision, the weights' digest. What it cannot say (colour order, scale, mean, deviation, unless
    they are one of PRESETS; the size, unless it is given) is a text that begins with TODO, which `Contract.from_json`
    refuses.

    Raises BackendError for a file that does not run, ContractError for an input that no contract can state.
    """
    file_format = format_of(path)
    if file_format is TENSORRT:
        raise BackendError(f"{path} is an engine without a sidecar: build it here with python -m export.to_tensorrt")
    shape, kind, outputs = _openvino_ports(path) if file_format is OPENVINO else _onnx_ports(path)
    if kind not in _DTYPES or len(shape) != 4:
        raise ContractError(
            f"{path}: expected an input of uint8, float32 or float16 with four axes, found {kind} with {len(shape)}"
        )
    layout, dtype = _layout(path, shape), _DTYPES[kind]
    fixed = shape[2:] if layout == "NCHW" else shape[1:3]
    sizes = [size] if size else [*_SIZES]
    sides = [*dict.fromkeys((fixed[0] or height, fixed[1] or width) for height, width in sizes)]
    usable: dict[str, tuple[int, bool]] = {}
    for name in outputs[:_MOST_OUTPUTS]:
        backend = (
            OpenVinoBackend(path, output=name) if file_format is OPENVINO else OnnxBackend(path, "cpu", output=name)
        )
        try:
            sides, usable[name] = _try(path, backend, layout, dtype, sides)
        except (BackendError, ContractError):
            if len(outputs) == 1:
                raise
    if not usable:
        raise ContractError(f"{path}: none of its outputs {', '.join(outputs)} is (N, D) floats for N images")
    dimensions, units = ({each[axis] for each in usable.values()} for axis in (0, 1))
    values = {
        "version": VERSION,
        "name": path.stem,
        "resize": _resize(fixed, sides, size is not None, by),
        "input": _input(layout, dtype, preset),
        "unit_output": units.pop() if len(units) == 1 else f"{TODO}whether vectors have unit length, true or false",
        "dimension": dimensions.pop() if len(dimensions) == 1 else f"{TODO}numbers of a vector",
        "metric": "cosine",
        "weights": weights_digest(path),
        "graph": f"{file_format.name} as found",
        "precision": {"kind": _kind(path), "engine": None, "scheme": None},
        "trained_on": [{"data": "unknown", "terms": "unknown", "identities": 0, "crops": 0}],
        "scores": [],
        "parent": None,
        "drift": None,
        "inner": None,
        "last_layer": None,
    }
    if len(outputs) > 1:
        kinds = (f"{name} ({each[0]} numbers{', unit length' * each[1]})" for name, each in usable.items())
        values["output"] = (
            next(iter(usable)) if len(usable) == 1 else f"{TODO}that of the vectors, {' or '.join(kinds)}"
        )
    return values


def _kind(path: Path) -> str:
    if format_of(path) is not OPENVINO:
        return kind_of_weights(path)
    model = openvino_core().read_model(path)
    sizes: Counter[str] = Counter()
    for each in model.get_ops():
        if each.get_type_name() == "Constant":
            name = each.get_element_type().get_type_name()
            sizes[_KINDS.get(name, "float32")] += each.get_byte_size()
    return max(sizes, key=lambda kind: sizes[kind], default="float32")


def _onnx_ports(path: Path) -> tuple[Shape, str, list[str]]:
    """The input's shape and kind, and the names of the outputs."""
    try:
        session = import_onnxruntime("cpu").InferenceSession(
            str(path), providers=["CPUExecutionProvider"], enable_fallback=0
        )
        port, outputs = session_ports(session, path)
    except BackendError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BackendError(f"{path}: ONNX Runtime cannot load it: {error}") from error
    return port.shape, port.kind, [*outputs]


def _openvino_ports(path: Path) -> tuple[Shape, str, list[str]]:
    import_openvino()
    try:
        model = openvino_core().read_model(path)
    except Exception as error:  # OpenVINO raises plain RuntimeError, and others
        raise BackendError(f"{path}: OpenVINO cannot load it: {error}") from error
    if len(model.inputs) != 1:
        raise BackendError(f"{path}: expected one input, found {len(model.inputs)}")
    axes = tuple(side.get_length() if side.is_static else None for side in model.inputs[0].get_partial_shape())
    return axes, model.inputs[0].get_element_type().get_type_name(), [output_name(each) for each in model.outputs]


def _layout(path: Path, shape: Shape) -> str:
    """Where the three colours lie; a file that does not say so exactly once has no layout that could be filled in."""
    planes, pixels = shape[1] == 3, shape[3] == 3
    if planes == pixels:
        raise ContractError(
            f"{path}: expected an input with 3 channels, second (NCHW) or last (NHWC) of four axes, found {shape}: "
            "models for one channel, or any other number, are not run; export it with a first layer that takes RGB"
        )
    return "NCHW" if planes else "NHWC"


def _try(
    path: Path, backend: Backend, layout: str, dtype: str, sides: list[tuple[int, int]]
) -> tuple[list[tuple[int, int]], tuple[int, bool]]:
    """The sizes, of these, that run, at most two; the dimension; and whether random images' vectors have unit length.

    Raises the first size's error where none runs.
    """
    ran: list[tuple[int, int]] = []
    first_error: Exception | None = None
    dimension, unit = 0, True
    for height, width in sides:
        random = np.random.default_rng(0)
        shape = (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
        try:
            for _ in range(2):
                vectors = backend.run(random.uniform(0, 255, shape).astype(dtype))
                if vectors.ndim != 2 or len(vectors) != 1:
                    raise ContractError(f"{path}: expected an output (1, D) for one image, found {vectors.shape}")
                unit = unit and bool(abs(np.linalg.norm(vectors) - 1) <= UNIT_TOLERANCE)
        except (BackendError, ContractError) as error:
            first_error = first_error or error
            continue
        dimension = vectors.shape[1]
        ran.append((height, width))
        if len(ran) == 2:
            break
    if not ran and first_error is not None:
        raise first_error
    return ran, (dimension, unit)


def _resize(fixed: Shape, ran: list[tuple[int, int]], is_given: bool, by: Filter) -> dict[str, Any] | str:
    if is_given or None not in fixed or len(ran) == 1:
        height, width = ran[0]
        return rule_to_json(FixedSize(height, width, by))
    return f"{TODO}the file takes several sizes; {' or '.join(map(rule_form, RULES))}, as it was trained"


def _input(layout: str, dtype: str, preset: str | None) -> dict[str, Any]:
    ours = {"layout": layout, "dtype": dtype}
    if preset is not None:
        values = asdict(PRESETS[preset]) | ours
        if dtype == "uint8":  # a contract has no other for whole numbers
            values |= {"scale": 1.0, "mean": _NONE[0], "deviation": _NONE[1]}
        return values
    colour = {"colour": f"{TODO}rgb or bgr"}
    if dtype == "uint8":
        return ours | colour | {"scale": 1.0, "mean": list(_NONE[0]), "deviation": list(_NONE[1])}
    return ours | colour | {
        "scale": f"{TODO}1.0 for pixels of 0 to 255, 0.00392156862745098 for 0 to 1",
        "mean": f"{TODO}three numbers in the order of colour, subtracted after the scale; [0, 0, 0] for none",
        "deviation": f"{TODO}three numbers in the order of colour, divided by at last; [1, 1, 1] for none",
    }  # fmt: skip
