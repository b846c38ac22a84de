"""python -m export.to_triton: a model repository of Triton Inference Server, with the contract in its configuration."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import click
import numpy as np

from reid_runtime.backends.onnx import import_onnxruntime, session_ports
from reid_runtime.backends.openvino import import_openvino, openvino_core
from reid_runtime.backends.remote.statement import ARTEFACT_KEY
from reid_runtime.backends.tensorrt.engine import read_engine
from reid_runtime.backends.tensorrt.profiles import Profile
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, ContractError, ReidRuntimeError, StorageError
from reid_runtime.images.decode import load_image
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import resized
from reid_runtime.install import install_line
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import METADATA_KEY, Contract
from reid_runtime.model_file.file import artefact_digest, carried_contract
from reid_runtime.model_file.formats import ONNX, OPENVINO, TENSORRT
from reid_runtime.model_file.packaged import selftest_images
from reid_runtime.model_file.selftest import METADATA_KEY as SELFTEST_KEY
from reid_runtime.model_file.selftest import SelfTest, text_digest
from reid_runtime.verification import run_selftest

Backend = Literal["onnxruntime", "openvino", "tensorrt", "python"]
"""Triton's backends: of its own container the first three; "python" runs ONNX Runtime, and Triton as pip has it."""
_FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml", "tensorrt": "model.plan", "python": "model.py"}
"""What each backend looks for in the folder of a version."""
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "float16": "TYPE_FP16"}
_DELAY = 500
"""Microseconds that the dynamic batcher waits for more images: little beside a forward pass, and enough for requests
that were sent together."""


@dataclass(frozen=True)
class Served:
    """What goes into the repository, before a backend gives it its form."""

    path: Path
    """The file that the server runs."""
    contract: Contract
    text: str
    """The contract's JSON, byte for byte as the file carries it: the record is bound to it."""
    record: SelfTest | None
    shape: tuple[int | None, ...]
    """Of the input, None for a free axis."""
    names: tuple[str, str]
    """Of input and output."""
    profiles: tuple[Profile, ...] = ()
    """Of an engine."""


def read_served(model: Path, stated: Path | None = None, record_of: Path | None = None) -> Served:
    """What a model file says of itself.

    Args:
        model: An ONNX file, OpenVINO's .xml or a TensorRT engine with its sidecar.
        stated: A contract's JSON file, for a model that carries none.
        record_of: The ONNX file that an engine or .xml was made of, whose self-test record it then carries too.

    Returns:
        The model as it is served.

    Raises:
        BackendError: For a file that is damaged, or does not load.
        ContractError: As `ModelFile.open` has it, and for a `record_of` of another embedding space.
    """
    file = ModelFile.open(model, stated)
    text = carried_contract(model) or file.contract.to_json()
    record, contract = file.selftest(), file.contract
    if record_of is not None:
        parent = ModelFile.open(record_of)
        if parent.contract.contract_id != contract.contract_id:
            raise ContractError(
                f"{record_of} has the contract {parent.contract.contract_id}, {model} {contract.contract_id}: it is "
                "no record of it"
            )
        record = parent.selftest()
    if record is not None:  # the contract of an engine tells its drift besides
        record = replace(record, contract=text_digest(text))
    shape: tuple[int | None, ...]
    output = contract.output or "embeddings"
    if file.format is TENSORRT:
        engine = read_engine(model)
        if engine.origin is not None and engine.origin.package != "tensorrt":
            raise BackendError(
                f"{model} was built by {engine.origin.package}, and Triton runs TensorRT's engines alone"
            )
        shape = (None, None, None, 3) if contract.input.layout == "NHWC" else (None, 3, None, None)
        return Served(model, contract, text, record, shape, ("images", output), engine.profiles)
    if file.format is OPENVINO:
        import_openvino()
        ports = openvino_core().read_model(model)
        sides = ports.inputs[0].get_partial_shape()
        shape = tuple(side.get_length() if side.is_static else None for side in sides)
        outputs = tuple(min(each.get_names(), default=output) for each in ports.outputs)
        return Served(model, contract, text, record, shape, (ports.inputs[0].get_any_name(), _one(outputs, output)))
    try:
        session = import_onnxruntime("cpu").InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BackendError(f"{model}: ONNX Runtime cannot load it: {error}") from error
    port, outputs = session_ports(session, model)
    return Served(model, contract, text, record, port.shape, (port.name, _one(outputs, output)))


def _one(outputs: tuple[str, ...], output: str) -> str:
    return output if output in outputs else outputs[0]


def configuration(served: Served, name: str, backend: Backend, artefact_id: str, *, batch: int, instances: int) -> str:
    """The text of config.pbtxt, printed from Triton's own schema; MissingBackendError without tritonclient."""
    try:
        from google.protobuf import text_format
        from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup
    except ImportError as error:
        raise ReidRuntimeError(
            f"tritonclient has Triton's schema and is missing ({error}): {install_line('remote')}"
        ) from error
    contract, fixed = served.contract, served.shape[0]
    # Triton adds the axis of the batch itself, where batches may have any size.
    batched = fixed is None
    sides = [-1 if side is None else side for side in (served.shape[1:] if batched else served.shape)]
    config = ModelConfig(name=name, backend=backend, max_batch_size=batch if batched else 0)
    config.default_model_filename = _FILES[backend]
    config.input.add(name=served.names[0], data_type=_TYPES[contract.input.dtype], dims=sides)
    rows = [contract.dimension] if batched else [fixed, contract.dimension]
    config.output.add(name=served.names[1], data_type="TYPE_FP32", dims=rows)
    if batched:
        config.dynamic_batching.max_queue_delay_microseconds = _DELAY
    group = config.instance_group.add(count=instances)
    group.kind = ModelInstanceGroup.KIND_GPU if backend == "tensorrt" else ModelInstanceGroup.KIND_CPU
    if backend == "onnxruntime":
        group.kind = ModelInstanceGroup.KIND_AUTO
    group.profile.extend(str(number) for number in range(len(served.profiles)))
    for number, crop in enumerate(_crops(served) if batched else []):
        warmup = config.model_warmup.add(name=f"crop {number}", batch_size=1)
        tensor = warmup.inputs[served.names[0]]
        tensor.data_type = config.input[0].data_type
        tensor.dims.extend(crop.shape[1:])
        tensor.input_data_file = f"crop-{number}"
    parameters = {METADATA_KEY: served.text, ARTEFACT_KEY: artefact_id}
    if served.record is not None:
        parameters[SELFTEST_KEY] = served.record.to_json()
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    return str(text_format.MessageToString(config))


def write_repository(
    served: Served, repository: Path, name: str, backend: Backend, *, batch: int, instances: int, force: bool = False
) -> Path:
    """Write REPOSITORY/NAME: config.pbtxt, contract.json, warmup/ and 1/ with the model.

    Returns:
        The model's folder, which is there whole or not at all.

    Raises:
        StorageError: For a folder that is there already, or cannot be written.
        BackendError: For a backend that does not run such a file, or a conversion that gives other vectors.
    """
    folder = repository / name
    if folder.exists() and not force:
        raise StorageError(f"{folder} is there already: --force replaces it")
    suffix = {"openvino": (ONNX.suffix, OPENVINO.suffix), "tensorrt": (TENSORRT.suffix,)}.get(backend, (ONNX.suffix,))
    if served.path.suffix not in suffix:
        build = "; python -m export.to_tensorrt builds engines" if backend == "tensorrt" else ""
        raise BackendError(f"{served.path}: Triton's {backend} backend is given {' or '.join(suffix)} files{build}")
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=repository) as temporary:
        made = Path(temporary) / name
        version = made / "1"
        version.mkdir(parents=True)
        runs = _write_model(served, version, backend)
        text = configuration(served, name, backend, artefact_digest(runs), batch=batch, instances=instances)
        (made / "config.pbtxt").write_text(text, encoding="utf-8")
        (made / "contract.json").write_text(served.text, encoding="utf-8")
        (made / "warmup").mkdir()
        for number, crop in enumerate(_crops(served) if served.shape[0] is None else []):
            (made / "warmup" / f"crop-{number}").write_bytes(crop.tobytes())
        if folder.exists():
            folder.rename(Path(temporary) / "before")
        made.rename(folder)
    return folder


def _write_model(served: Served, version: Path, backend: Backend) -> Path:
    """The files of one version; gives the one whose bytes are the artefact."""
    if backend == "openvino" and served.path.suffix == ONNX.suffix:
        return _converted(served, version / _FILES[backend])
    target = version / ("model.onnx" if backend == "python" else _FILES[backend])
    shutil.copyfile(served.path, target)
    if backend == "openvino":
        shutil.copyfile(OPENVINO.weights(served.path), OPENVINO.weights(target))
    if backend == "python":
        shutil.copyfile(Path(__file__).parent / "triton" / "model.py", version / "model.py")
    return target


def _converted(served: Served, target: Path) -> Path:
    """An ONNX file as OpenVINO's own, if it gives the same vectors here."""
    openvino = import_openvino()
    openvino.save_model(openvino_core().read_model(served.path), target, compress_to_fp16=False)
    if served.record is not None:
        file = ModelFile.open(target) if carried_contract(target) else ModelFile.open(target, served.contract)
        check = run_selftest(Embedder.load(file, device="openvino"), served.record)
        if not check.ok:
            raise BackendError(f"{served.path}: OpenVINO's form of it gives other vectors: {check}")
    return target


def _crops(served: Served) -> list[np.ndarray]:
    """The self-test's crops as the model takes them, each a batch of one, that an engine's profiles hold."""
    images = selftest_images() if served.record is None else served.record.images
    contract = served.contract
    crops = [
        to_model_input(resized(load_image(image), contract.resize)[np.newaxis], contract.input) for image in images
    ]
    if not served.profiles:
        return crops
    axes = slice(1, 3) if contract.input.layout == "NHWC" else slice(2, 4)
    return [crop for crop in crops if any(each.holds((each.optimum[0], *crop.shape[axes])) for each in served.profiles)]


@click.command()
@click.argument("model", type=ModelPath())
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The repository.")
@click.option("--name", help="The model's name on the server.  [the file's]")
@click.option("--backend", type=click.Choice(get_args(Backend)), help="Of Triton.  [by the file: .onnx, .xml, .engine]")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="The largest batch.")
@click.option("--instances", type=click.IntRange(min=1), default=1, show_default=True, help="Copies that run at once.")
@click.option(
    "--contract", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="States the contract of a model that carries none (JSON).",
)  # fmt: skip
@click.option(
    "--record-of", type=ModelPath(),
    help="The ONNX file that an engine or .xml was made of: its self-test record goes along.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the model in the repository.")
def main(
    model: Path,
    output: Path,
    name: str | None,
    backend: Backend | None,
    batch: int,
    instances: int,
    contract: Path | None,
    record_of: Path | None,
    force: bool,
) -> None:
    """Write a Triton model repository with MODEL, a file or base, small or tiny.

    The graph takes uint8 images of any size, so no model for pre-processing stands before it. The contract, the
    artefact id and the self-test record are in the configuration's parameters, where kserve://HOST:PORT/NAME and
    `reid-runtime verify` find them. Backends onnxruntime, openvino and tensorrt are those of Triton's container;
    python runs the ONNX file on ONNX Runtime in Triton's Python backend.
    """
    served = read_served(model, contract, record_of)
    by_file: dict[str, Backend] = {OPENVINO.suffix: "openvino", TENSORRT.suffix: "tensorrt"}
    chosen = backend or by_file.get(served.path.suffix, "onnxruntime")
    if served.profiles:
        batch = min(batch, max(each.maximum[0] for each in served.profiles))
    folder = write_repository(
        served, output, name or served.path.stem, chosen, batch=batch, instances=instances, force=force
    )
    record = "without a self-test record" if served.record is None else "with its self-test record"
    click.echo(f"wrote {folder}: {chosen}, contract {served.contract.contract_id}, {record}")


if __name__ == "__main__":
    run(main)
