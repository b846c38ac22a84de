"""The model that the package carries."""

from importlib import resources
from pathlib import Path

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.model_file.file import ModelFile


def default_model() -> Path:
    """The one ONNX file that the package carries."""
    paths = sorted(Path(str(resources.files("reid_runtime") / "models")).glob("*.onnx"))
    if len(paths) != 1:
        raise ReidRuntimeError(
            f"expected one embedded model, found {len(paths)}: the installation is damaged, reinstall it"
        )
    return paths[0]


def selftest_images() -> tuple[bytes, ...]:
    """PNG files of the few crops in the default model's self-test record: what a device is tried with."""
    record = ModelFile.open(default_model()).selftest()
    if record is None:
        raise ReidRuntimeError(f"{default_model()} has no self-test record: the installation is damaged, reinstall it")
    return record.images
