"""Checkpoints: one safetensors file with the weights, the optimiser, the place in the run and the recipe.

safetensors holds tensors and strings, nothing that runs when it is opened. Writes are atomic: a kill
during one leaves the checkpoint before.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write
from reid_runtime.model_file.contract import TrainedOn
from training.config import as_plain, decode
from training.models.network import EmbeddingNetwork, fold_neck
from training.recipe import Architecture, Recipe, recipe_from

FORMAT = "reid-runtime-checkpoint-2"
_KEYS = {"format", "recipe", "network", "trained_on", "progress"}


class CheckpointError(ReidRuntimeError):
    """A file that is not a checkpoint of this project, or not of this version."""


@dataclass(frozen=True)
class Progress:
    """A place in a run."""

    stage: str
    """The stage's name; of post-processing, after no update, "whitening", "bn_calibration" or "average"; "none":
    untrained."""
    update: int
    """How many updates are done."""
    data: str
    """Digest of the training data."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    recipe: Recipe
    architecture: Architecture
    """The network's, as its stage has it: classification may have another dimension than the recipe's network."""
    trained_on: tuple[TrainedOn, ...]
    """Data set, terms of use and counts as they go into the contract: this stage's, then those it started from."""
    progress: Progress
    tensors: dict[str, torch.Tensor]
    """By name: `network.*`, and for a run that can be resumed `optimiser.*` and the stage's own `stage.*`."""

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under a prefix, without it."""
        return {key[len(prefix) + 1 :]: value for key, value in self.tensors.items() if key.startswith(prefix + ".")}

    def weights(self) -> dict[str, torch.Tensor]:
        """The network's tensors, without what a stage has only while it trains."""
        return fold_neck(self.part("network"))

    def network(self) -> EmbeddingNetwork:
        """The trained network, in evaluation mode."""
        network = build(self.architecture)
        try:
            network.load_state_dict(self.weights())
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint's tensors are not {self.architecture.backbone}'s: {error}"
            ) from error
        return network.eval()

    def having_seen(self, seen: TrainedOn) -> tuple[TrainedOn, ...]:
        """What it was trained on, and `seen`, which it may know already: the same data once, with what a teacher has
        added to their terms."""
        already = any(
            replace(other, terms=seen.terms) == seen and seen.terms in other.terms for other in self.trained_on
        )
        return self.trained_on if already else (seen, *self.trained_on)

    @property
    def weights_digest(self) -> str:
        """SHA-256 over the network's tensors by sorted name: name, dtype, shape, bytes."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"


def build(architecture: Architecture) -> EmbeddingNetwork:
    """A network with random weights."""
    return EmbeddingNetwork(
        architecture.backbone, architecture.dimension, architecture.pooling, architecture.activation
    )


def untrained(backbone: str, dimension: int) -> Checkpoint:
    """A checkpoint of random weights: what a backbone's export and speed are tried on before it is trained."""
    architecture = Architecture(backbone, dimension=dimension, size=256)
    tensors = {f"network.{key}": value for key, value in build(architecture).state_dict().items()}
    nothing = TrainedOn(data="nothing", terms="none", identities=0, crops=0)
    return Checkpoint(Recipe(network=architecture), architecture, (nothing,), Progress("none", 0, ""), tensors)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a kill during the writing leaves the one before."""
    metadata = {
        "format": FORMAT,
        "recipe": json.dumps(checkpoint.recipe.as_dict()),
        "network": json.dumps(as_plain(checkpoint.architecture)),
        "trained_on": json.dumps([as_plain(seen) for seen in checkpoint.trained_on]),
        "progress": json.dumps(as_plain(checkpoint.progress)),
    }
    with atomic_write(path) as temporary:
        save_file({key: value.detach().contiguous() for key, value in checkpoint.tensors.items()}, temporary, metadata)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file; raises CheckpointError with what was expected and found."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a .safetensors checkpoint of python -m training")
    with open(path, "rb") as file:
        head = file.read(9)
    # A safetensors file begins with the length of its JSON, in eight bytes that may look like a pickle's first two.
    if head[8:] != b"{" and head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
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
    version = metadata.get("format")
    if version != FORMAT:
        advice = (
            "it was written by an earlier version, whose recipes this one does not read: export it with that version"
            if str(version).startswith("reid-runtime-checkpoint-")
            else "weights alone are not a checkpoint"
        )
        raise CheckpointError(f"{path}: its format is {version!r}, expected {FORMAT!r}: {advice}")
    if set(metadata) != _KEYS:
        odd = sorted(set(metadata) ^ _KEYS)
        raise CheckpointError(f"{path}: unknown or missing fields {odd}; was it written by another version?")
    try:
        parts = {key: json.loads(metadata[key]) for key in _KEYS - {"format"}}
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: its metadata is not JSON: {error}") from error
    classification = parts["recipe"].get("classification") if isinstance(parts["recipe"], dict) else None
    if isinstance(classification, dict):
        classification.setdefault("classifier", "cosine")  # as it was before there was a choice
    seen = parts["trained_on"]
    if not isinstance(seen, list) or not seen:
        raise CheckpointError(f"{path}: 'trained_on' is {seen!r}, expected a list of objects")
    return Checkpoint(
        recipe_from(parts["recipe"], f"{path}: 'recipe'"),
        decode(Architecture, parts["network"], f"{path}: 'network'"),
        tuple(decode(TrainedOn, facts, f"{path}: 'trained_on'", CheckpointError) for facts in seen),
        decode(Progress, parts["progress"], f"{path}: 'progress'", CheckpointError),
        tensors,
    )
