"""A teacher's vectors of the views of training images: made once, and kept in the run folder."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import functional
from tqdm import tqdm

from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.resize import Pixels
from reid_runtime.io.atomic import atomic_write
from training.config import as_plain
from training.data.training_set import AS_TARGETS, TrainingCrops
from training.data.views import view_of
from training.recipe import Recipe, Views
from training.run_folder import run_folder
from training.stages.base import StageInputs

_DIGESTED = {
    "views": "views",
    "flip": "flip",
    "window": "window",
    "stretch": "aspect_jitter",
    "move": "shift",
    "light": "colour_jitter",
    "chimera": "vertical_cutmix",
}
"""The choices that a view depends on, under the names that the digest of earlier files has them by."""


class TeacherError(ReidRuntimeError):
    """A teacher that does not fit, or vectors of another one."""


def taught(inputs: StageInputs, choices: Views, mirrored: bool = False) -> tuple[torch.Tensor, str]:
    """(`teacher_vectors`, what the teacher adds to the data's terms of use); errors as there."""
    teacher = inputs.teacher
    if teacher is None:
        raise TeacherError("expected a teacher, found none: pass --teacher MODEL")
    vectors = teacher_vectors(teacher, inputs.crops, inputs.recipe, choices, inputs.folder, mirrored)
    return vectors, AS_TARGETS.format(teacher.contract.name)


def teacher_vectors(
    teacher: Embedder, crops: TrainingCrops, recipe: Recipe, choices: Views, folder: Path, mirrored: bool = False
) -> torch.Tensor:
    """(views x images, D): what the teacher says of each view, kept in `folder`, a file a view.

    mirrored: whether it is the mean of what it says of the view and of the view's mirror image, of unit length.

    A run that is killed meanwhile goes on with the first view that has no file. Raises TeacherError for files of
    another teacher, recipe or data, and for a teacher whose vectors are of another length than the recipe's; and
    what `run_folder` does.
    """
    if teacher.dimension != recipe.network.dimension:
        raise TeacherError(
            f"{teacher.contract.name}'s vectors have {teacher.dimension} numbers and the recipe's network "
            f"{recipe.network.dimension}: set dimension = {teacher.dimension} in [network]"
        )
    made_of = _digest(teacher, crops, recipe, choices, mirrored)
    with run_folder(folder):
        return torch.cat(
            [
                _vectors_of(view, teacher, crops, recipe, choices, folder, mirrored, made_of)
                for view in range(choices.views)
            ]
        )


def _digest(teacher: Embedder, crops: TrainingCrops, recipe: Recipe, choices: Views, mirrored: bool) -> str:
    """Of everything that a view's vectors depend on."""
    plain = as_plain(choices)
    seen = {name: plain[key] for name, key in _DIGESTED.items()}
    parts = [teacher.contract.contract_id, teacher.artefact_id, crops.digest, recipe.seed, seen]
    if mirrored:
        parts.append("mirrored")
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _vectors_of(
    view: int, teacher: Embedder, crops: TrainingCrops, recipe: Recipe, choices: Views, folder: Path, mirrored: bool,
    made_of: str,
) -> torch.Tensor:  # fmt: skip
    path = folder / f"teacher-{view}.safetensors"
    if path.exists():
        return _read(path, made_of)

    def shown() -> Iterator[Pixels]:
        for row in range(len(crops.images)):
            image = view_of(crops, row, view, choices, recipe.seed)
            yield image
            if mirrored:
                yield image[:, ::-1].copy()

    count = len(crops.images) * (2 if mirrored else 1)
    progress = tqdm(shown(), total=count, desc=f"{teacher.contract.name}, view {view + 1}", disable=None)
    vectors = torch.from_numpy(teacher.embed(progress, channel_order="rgb"))
    if mirrored:
        vectors = functional.normalize(vectors[::2] + vectors[1::2], dim=1)
    with atomic_write(path) as temporary:
        save_file({"vectors": vectors}, temporary, {"made_of": made_of})
    return vectors


def _read(path: Path, made_of: str) -> torch.Tensor:
    try:
        with safe_open(path, "pt") as file:
            stated = (file.metadata() or {}).get("made_of")
            vectors: torch.Tensor = file.get_tensor("vectors")
    except (OSError, SafetensorError) as error:
        raise TeacherError(f"{path} cannot be read ({error}); remove it, and the teacher is asked again") from error
    if stated != made_of:
        raise TeacherError(
            f"{path} holds vectors of another teacher, recipe or data; choose another run folder, or remove its "
            "teacher-*.safetensors and what was trained on them"
        )
    return vectors
