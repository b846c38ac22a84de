"""The models that the package carries, by name, and the default models of earlier releases."""

import difflib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from reid_runtime.errors import BackendError, DamagedFileError, ReidRuntimeError
from reid_runtime.model_file.file import ModelFile, require_file


@dataclass(frozen=True)
class Packaged:
    """One model of the package.

    Attributes:
        name: What `Embedder.load` and `--model` call it.
        purpose: What it is for, in a few words.
        gflops: Operations of an image of 256x128, in billions; a multiply-add is two.
    """

    name: str
    purpose: str
    gflops: float

    @property
    def path(self) -> Path:
        """The ONNX file; ReidRuntimeError where it is gone."""
        path = Path(str(resources.files("reid_runtime") / "models")) / f"{self.name}.onnx"
        if not path.is_file():
            raise ReidRuntimeError(f"{path} is missing: the installation is damaged, reinstall it")
        return path


PACKAGED = {
    model.name: model
    for model in (
        Packaged("base", "the default", 1.97),
        Packaged("small", "half of its cost", 1.16),
        Packaged("tiny", "a tenth of its cost", 0.17),
    )
}
"""By name, the default first."""

FORMER_DEFAULTS = frozenset({"6bfa102e5e5e916a", "1d94525eb0ded55f", "82d4795564ba8c7e"})
"""Contract ids of MobileNetV2 as trained on Market-1501, in its three editions: the default before `base`."""


def model_path(model: str | os.PathLike[str] | None = None) -> Path:
    """The file of a packaged model's name, of a path, or of the default model for None."""
    if model is None:
        return default_model()
    return PACKAGED[model].path if isinstance(model, str) and model in PACKAGED else Path(model)


def find_model(model: str | os.PathLike[str] | None = None) -> Path:
    """As `model_path`, of a file that is there.

    Raises:
        BackendError: Where none is; for a name without a folder it says what the packaged models are called.
    """
    path = model_path(model)
    try:
        require_file(path)
    except DamagedFileError:
        raise
    except BackendError as error:
        if path.name != str(path):
            raise
        near = "".join(f"did you mean {name}? " for name in difflib.get_close_matches(path.stem, PACKAGED, 1))
        raise BackendError(f"{error}; {near}the packaged models are {', '.join(PACKAGED)}") from None
    return path


def packaged_of(contract_id: str) -> Path | None:
    """The file of the packaged model whose vectors have this contract id; None where it is none of theirs."""
    paths = (model.path for model in PACKAGED.values())
    return next((path for path in paths if ModelFile.open(path).contract.contract_id == contract_id), None)


def default_model() -> Path:
    """The file of `base`."""
    return PACKAGED["base"].path


def selftest_images() -> tuple[bytes, ...]:
    """PNG files of the few crops in the default model's self-test record: what a device is tried with."""
    record = ModelFile.open(default_model()).selftest()
    if record is None:
        raise ReidRuntimeError(f"{default_model()} has no self-test record: the installation is damaged, reinstall it")
    return record.images
