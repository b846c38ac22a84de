"""A small network learns the vectors that a better model, of any size, gives to the same views of the same images."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.resize import LongestSide, Pixels
from reid_runtime.io.atomic import atomic_write
from reid_runtime.scoring.labels import Integers
from training.config import as_plain
from training.data.cutout import largest_extent
from training.data.student_view import suffered, view_of
from training.data.training_set import TrainingCrops
from training.models.network import EmbeddingNetwork
from training.recipe import Recipe
from training.run.folder import run_folder
from training.stages.epochs import EpochStage
from training.stages.losses import TeacherVectors

NAME = "distillation"
_OF_THE_VIEWS = ("views", "flip", "window", "stretch", "move", "light", "chimera")


class TeacherError(ReidRuntimeError):
    """A teacher that does not fit, or vectors of another one."""


def teacher_vectors(teacher: Embedder, crops: TrainingCrops, recipe: Recipe, folder: Path) -> torch.Tensor:
    """(views x images, D): what the teacher says of each view, kept in `folder`, a file a view.

    A run that is killed meanwhile goes on with the first view that has no file. Raises TeacherError for files of
    another teacher, recipe or data, and for a teacher whose vectors are of another length than the recipe's; and
    what `run_folder` does.
    """
    if teacher.dimension != recipe.network.dimension:
        raise TeacherError(
            f"{teacher.contract.name}'s vectors have {teacher.dimension} numbers and the recipe's network "
            f"{recipe.network.dimension}: set dimension = {teacher.dimension} in [network]"
        )
    made_of = _digest(teacher, crops, recipe)
    views = range(recipe.distillation.views)
    with run_folder(folder):
        return torch.cat([_vectors_of(view, teacher, crops, recipe, folder, made_of) for view in views])


def _digest(teacher: Embedder, crops: TrainingCrops, recipe: Recipe) -> str:
    """Of everything that a view's vectors depend on."""
    choices = {name: value for name, value in as_plain(recipe.distillation).items() if name in _OF_THE_VIEWS}
    parts = [teacher.contract.contract_id, teacher.artefact_id, crops.digest, recipe.seed, choices]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _vectors_of(
    view: int, teacher: Embedder, crops: TrainingCrops, recipe: Recipe, folder: Path, made_of: str
) -> torch.Tensor:
    path = folder / f"teacher-{view}.safetensors"
    if path.exists():
        return _read(path, made_of)

    def shown() -> Iterator[Pixels]:
        for row in range(len(crops.images)):
            yield view_of(crops, row, view, recipe.distillation, recipe.seed)

    progress = tqdm(shown(), total=len(crops.images), desc=f"{teacher.contract.name}, view {view + 1}", disable=None)
    vectors = torch.from_numpy(teacher.embed(progress, channel_order="rgb"))
    with atomic_write(path) as beside:
        save_file({"vectors": vectors}, beside, {"made_of": made_of})
    return vectors


def _read(path: Path, made_of: str) -> torch.Tensor:
    try:
        with safe_open(path, "pt") as file:
            found = (file.metadata() or {}).get("made_of")
            vectors: torch.Tensor = file.get_tensor("vectors")
    except (OSError, SafetensorError) as error:
        raise TeacherError(f"{path} cannot be read ({error}); remove it, and the teacher is asked again") from error
    if found != made_of:
        raise TeacherError(
            f"{path} holds vectors of another teacher, recipe or data; choose another run folder, or remove its "
            "teacher-*.safetensors and what was trained on them"
        )
    return vectors


def distillation_stage(
    network: EmbeddingNetwork, crops: TrainingCrops, recipe: Recipe, device: torch.device, vectors: torch.Tensor
) -> EpochStage:
    """The stage over these images and `teacher_vectors`; `network` has the recipe's architecture, on `device`."""
    choices = recipe.distillation

    def show(row: int, epoch: int, rule: LongestSide) -> Pixels:
        view = view_of(crops, row, epoch % choices.views, choices, recipe.seed)
        extent = largest_extent(epoch / choices.epochs, choices.cut_out, recipe.augmentation.cut_out_schedule)
        # At the shape of the image that the view is of: a batch is of one shape, and views are nearly so.
        shape = rule.shape(*crops.images[row].shape[:2])
        return suffered(view, shape, extent, choices, (recipe.seed, epoch, row))

    def target(rows: Integers, epoch: int) -> Integers:
        return rows + (epoch % choices.views) * len(crops.images)

    sizes = (recipe.network.size,)
    objective = TeacherVectors(vectors)
    return EpochStage(
        NAME, recipe.network, network, objective, crops, recipe, choices, sizes, device, show, target
    )  # fmt: skip
