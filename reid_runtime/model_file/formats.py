"""The formats of model files: the one place that knows a file by its suffix, and how each carries its metadata."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from reid_runtime.errors import DamagedFileError
from reid_runtime.model_file import onnx
from reid_runtime.model_file.contract import METADATA_KEY

DIGEST_KEY = "digest"
"""The key under which a TensorRT engine's sidecar holds the digest of the engine."""


@dataclass(frozen=True)
class Format:
    """A kind of model file."""

    name: str
    suffix: str
    read_metadata: Callable[[Path], Mapping[str, str]]
    """What a file carries beside the model; raises DamagedFileError."""
    weights: Callable[[Path], Path] = lambda path: path
    """The file in which the weights lie, for a format of two files."""


def sidecar_path(engine: Path) -> Path:
    """The JSON beside an engine, which has no room for it: `model.engine` → `model.engine.json`."""
    return engine.with_name(f"{engine.name}.json")


def _openvino_metadata(path: Path) -> dict[str, str]:
    """What OpenVINO keeps of an ONNX file's metadata, where it reads that: net/rt_info/framework/KEY, `value`."""
    metadata: dict[str, str] = {}
    parents: list[str] = []
    try:
        for event, element in ElementTree.iterparse(path, ("start", "end")):
            if event == "start":
                if parents == ["net", "rt_info", "framework"]:
                    metadata[element.tag] = element.get("value", "")
                parents.append(element.tag)
            else:
                parents.pop()
                element.clear()
    except (ElementTree.ParseError, OSError, UnicodeError) as error:
        raise DamagedFileError(f"{path} is damaged or no OpenVINO model: {error}; fetch or convert it again") from error
    return metadata


def _engine_metadata(path: Path) -> dict[str, str]:
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return {}
    try:
        values = json.loads(sidecar.read_text(encoding="utf-8"))
        contract = json.dumps(values["contract"], sort_keys=True, ensure_ascii=False)
        return {METADATA_KEY: contract, DIGEST_KEY: str(values["digest"])}
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise DamagedFileError(f"{sidecar} is no engine's sidecar: {error!r}; build the engine again") from error


ONNX = Format("ONNX", ".onnx", onnx.read_metadata)
OPENVINO = Format("OpenVINO IR", ".xml", _openvino_metadata, lambda path: path.with_suffix(".bin"))
TENSORRT = Format("TensorRT engine", ".engine", _engine_metadata)
FORMATS = (ONNX, OPENVINO, TENSORRT)


def format_of(path: Path) -> Format:
    """The format of a file by its suffix; one that no format has is taken for ONNX."""
    return next((each for each in FORMATS if each.suffix == path.suffix), ONNX)
