"""Whitening, learnt: vectors are scaled so that one person's images differ alike in all directions.

Training leaves some directions in which images of one person vary much (light, pose, the camera) and others in which
they hardly do; the cosine counts all of them alike. Dividing by the within-person deviation counts each by how well
it can be trusted. After Mikolajczyk and Matas, Improving descriptors for fast tree matching by optimal linear
projection, 2007, on whole images Radenović et al., Fine-tuning CNN image retrieval with no human annotation, 2018.
Their rotation, which changes no cosine, and their leaving out of directions are not taken over; nor is their centring,
which, coming after the unit length, the fully connected layer could not take in.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.model_file.contract import TrainedOn
from reid_runtime.scoring.labels import Integers
from reid_runtime.vectors import Vectors
from training.data.training_set import TrainingCrops
from training.models.embedding import embed_images
from training.run.checkpoint import Checkpoint, Progress
from training.run.cpu import keep_freed_memory

NAME = "whitening"
SHRINKAGE = 0.05


class WhiteningError(ReidRuntimeError):
    """Pictures from which nothing can be learnt of how one person's differ."""


def within_person(vectors: Vectors, people: Integers) -> npt.NDArray[np.float64]:
    """(D, D): the covariance of (N, D) vectors around their own person's mean.

    Raises WhiteningError where nobody has two images, or all images of each are the same.
    """
    inverse, counts = np.unique(people, return_inverse=True, return_counts=True)[1:]
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, inverse, vectors.astype(np.float64))
    around = vectors - (sums / counts[:, None])[inverse]
    # A person with one image is their own mean, and adds nothing; each other's mean costs one degree of freedom.
    freedom = len(vectors) - len(counts)
    if not np.isfinite(around).all():
        raise WhiteningError("expected finite vectors, found others: the checkpoint is of a run that diverged")
    covariance: npt.NDArray[np.float64] = around.T @ around / max(1, freedom)
    if freedom == 0 or not np.trace(covariance) > 0:
        raise WhiteningError(
            f"expected people with two different images or more, found {len(counts)} people in {len(vectors)} "
            "images, none of whom differs from themselves"
        )
    return covariance


def whitener(covariance: npt.NDArray[np.float64], shrinkage: float) -> npt.NDArray[np.float64]:
    """(D, D), symmetric: the inverse square root of the covariance, to each of whose eigenvalues `shrinkage` times
    their mean is added: directions in which the training images hardly differ, others may."""
    values, directions = np.linalg.eigh(covariance)
    values = values.clip(0) + shrinkage * values.mean()
    matrix: npt.NDArray[np.float64] = (directions / np.sqrt(values)) @ directions.T
    # Lengths are divided away after it; so the layer's weights stay about as large as they were.
    scaled: npt.NDArray[np.float64] = matrix * np.sqrt(len(values)) / np.linalg.norm(matrix)
    return scaled


def whiten(
    checkpoint: Checkpoint,
    crops: TrainingCrops,
    terms: str,
    size: int | None,
    shrinkage: float,
    device: torch.device,
) -> Checkpoint:
    """The checkpoint with a whitened fully connected layer, after what all of `crops` say, which it may know or not.

    `size` is the longest side in pixels that its images have from now on, None is as before. Raises WhiteningError.
    """
    architecture = checkpoint.architecture
    if size is not None:
        architecture = replace(architecture, size=size, area=0)
    network = checkpoint.network()
    if device.type == "cpu":
        keep_freed_memory()
    vectors = embed_images(network.to(device), crops.images, architecture.rule, device, "float32")
    matrix = whitener(within_person(vectors, crops.people), shrinkage)
    checkpoint = with_matrix(replace(checkpoint, architecture=architecture), matrix)
    seen = TrainedOn(crops.name, terms, crops.identities, len(crops.images))
    return replace(
        checkpoint,
        trained_on=checkpoint.having_seen(seen),
        progress=Progress(NAME, 0, crops.digest),
    )


def with_matrix(checkpoint: Checkpoint, matrix: npt.NDArray[np.float64]) -> Checkpoint:
    """The checkpoint whose vectors are multiplied by a (D, D) matrix before they become of unit length.

    Its last linear layer takes it in; where that is followed by PReLU, another one comes behind it.
    """
    architecture = checkpoint.architecture
    tensors = {f"network.{name}": tensor for name, tensor in checkpoint.weights().items()}
    change = torch.from_numpy(matrix)
    if architecture.activation == "prelu":
        tensors["network.activation.0.weight"] = tensors.pop("network.activation.weight")
        tensors["network.activation.1.weight"] = change.float()
        return replace(checkpoint, architecture=replace(architecture, activation="prelu, linear"), tensors=tensors)
    last = ["activation.1.weight"] if architecture.activation != "none" else ["projection.weight", "projection.bias"]
    for name in last:
        tensors[f"network.{name}"] = (change @ tensors[f"network.{name}"].double()).float()
    return replace(checkpoint, tensors=tensors)
