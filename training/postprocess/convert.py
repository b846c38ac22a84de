"""Checkpoints of Open Model Zoo's person-reidentification-retail networks, which then take images of any size."""

from pathlib import Path

from reid_runtime.model_file.contract import TrainedOn
from training.models.openvino_ir import read_retail
from training.recipe import Architecture, Recipe
from training.run.checkpoint import Checkpoint, Progress, build

SIZE = 256
"""Longest side in pixels: that of the images that they were made for."""
TERMS = "Apache-2.0, as Open Model Zoo publishes the weights; what they were trained on is not published"


def converted(path: Path) -> Checkpoint:
    """The checkpoint of an .xml; at 256x128 its network gives the vectors of the original, made of unit length.

    Raises OpenVINOWeightsError for another network.
    """
    retail = read_retail(path)
    architecture = Architecture(
        retail.backbone, pooling="spatial", activation="prelu", dimension=len(retail.projection["bias"]), size=SIZE
    )
    network = build(architecture)
    parts = (("trunk", retail.trunk), ("pooling", retail.pooling), ("projection", retail.projection))
    tensors = {f"{part}.{name}": tensor for part, own in parts for name, tensor in own.items()}
    network.load_state_dict(tensors | {"activation.weight": retail.slope})
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    seen = TrainedOn(f"{path.stem}'s own, unpublished", TERMS, 0, 0)
    return Checkpoint(Recipe(network=architecture), architecture, (seen,), Progress("none", 0, ""), state)
