"""Checkpoints: one safetensors file with the weights, the optimiser, the place in the run and the recipe.

safetensors holds tensors and strings, nothing that runs when it is opened. A checkpoint is written beside and
renamed, so that a kill during the writing leaves the one before.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.files import whole_file
from training.network import EmbeddingNetwork
from training.recipe import Recipe, read_recipe, recipe_from

FORMAT = "reid-runtime-checkpoint-1"
_KEYS = {"format", "recipe", "trained_on", "progress"}


class CheckpointError(ReidRuntimeError):
    """A file that is not a checkpoint of this project, or not of this version."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    recipe: Recipe
    trained_on: dict[str, Any]
    """Data set, split, terms of use and counts, as they go into the contract."""
    progress: dict[str, int]
    """Place in the run: `epoch` and `batch` are the next to be done, `identities` the number of classes."""
    tensors: dict[str, torch.Tensor]
    """By name: `network.*`, and for a run that is not over `objective.*` and `optimiser.*`."""

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under a prefix, without it."""
        return {key[len(prefix) + 1 :]: value for key, value in self.tensors.items() if key.startswith(prefix + ".")}

    def network(self) -> EmbeddingNetwork:
        """The trained network, in evaluation mode."""
        network = EmbeddingNetwork(self.recipe.backbone, self.recipe.dimension)
        try:
            network.load_state_dict(self.part("network"))
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint's tensors are not {self.recipe.backbone}'s: {error}") from error
        return network.eval()

    @property
    def weights_digest(self) -> str:
        """SHA-256 over the network's tensors by sorted name: name, dtype, shape, bytes."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.part("network").items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"


def untrained(backbone: str, dimension: int) -> Checkpoint:
    """A checkpoint of random weights: what a backbone's export and speed are tried on before it is trained."""
    recipe = replace(
        read_recipe(Path(__file__).parent / "recipes" / "default.toml"), backbone=backbone, dimension=dimension
    )
    network = EmbeddingNetwork(backbone, dimension)
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    trained_on = {"data": "nothing", "terms": "none", "identities": 0, "crops": 0}
    return Checkpoint(recipe, trained_on, {"epoch": 0, "batch": 0, "identities": 0}, tensors)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a kill during the writing leaves the one before."""
    metadata = {
        "format": FORMAT,
        "recipe": json.dumps(checkpoint.recipe.as_dict()),
        "trained_on": json.dumps(checkpoint.trained_on),
        "progress": json.dumps(checkpoint.progress),
    }
    with whole_file(path) as beside:
        save_file({key: value.detach().contiguous() for key, value in checkpoint.tensors.items()}, beside, metadata)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file; raises CheckpointError with what was expected and found."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a .safetensors checkpoint of python -m training")
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise CheckpointError(
            f"{path} is a pickle (.pt, .pth), which can run code when it is opened; expected a safetensors checkpoint "
            "written by python -m training"
        )
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  not a dict
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or a truncated one: {error}") from error
    found = metadata.get("format")
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: its format is {found!r}, expected {FORMAT!r}: weights alone are not a checkpoint"
        )
    if set(metadata) != _KEYS:
        odd = sorted(set(metadata) ^ _KEYS)
        raise CheckpointError(f"{path}: unknown or missing fields {odd}; was it written by another version?")
    try:
        recipe, trained_on, progress = (json.loads(metadata[key]) for key in ("recipe", "trained_on", "progress"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: its metadata is not JSON: {error}") from error
    for key, found, expected in (
        ("trained_on", trained_on, {"data": str, "terms": str, "identities": int, "crops": int}),
        ("progress", progress, {"epoch": int, "batch": int, "identities": int}),
    ):
        if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != expected:
            raise CheckpointError(f"{path}: {key!r} is {found!r}, expected the keys {', '.join(expected)}")
    if not isinstance(recipe, dict):
        raise CheckpointError(f"{path}: 'recipe' is {recipe!r}, expected an object")
    return Checkpoint(recipe_from(recipe, str(path)), trained_on, progress, tensors)
