"""What an ablation's runs are scored on: people held out of training, or a data set's own query and gallery."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import EvalSet, eval_set_of
from reid_runtime.evaluation.eval_set import Entries
from reid_runtime.images.resize import ResizeRule
from reid_runtime.scoring.layouts.crops import CropSplits
from reid_runtime.scoring.layouts.registry import find_dataset, read_layout
from reid_runtime.scoring.ranking import Scores, score
from reid_runtime.vectors import Vectors
from training.data.training_set import MARKET_TRAIN, TrainingCrops
from training.models.embedding import embed_images
from training.models.network import EmbeddingNetwork
from training.recipe import Validation
from training.run.trainer import TrainingError
from training.run.validation import hold_out, rank_people

_AT_ONCE = 2048
"""Images of a data set that are in memory together."""


@dataclass(frozen=True)
class HeldOut:
    """People of the training split on whom no run is trained: nothing is chosen by a data set's own test."""

    crops: TrainingCrops
    name: str = "held-out"

    def score(self, network: EmbeddingNetwork, rule: ResizeRule) -> Scores:
        """Each image a query in turn."""
        return rank_people(network, self.crops, rule)

    def describe(self) -> str:
        """Whom it scores."""
        return (
            f"{len(self.crops.images):,} images of {self.crops.identities:,} people of the training split on whom "
            "no run was trained, the same for all runs; each image a query in turn"
        )


@dataclass(frozen=True)
class QueryAndGallery:
    """The query and the gallery of a data set."""

    eval_set: EvalSet
    name: str = "test"

    def score(self, network: EmbeddingNetwork, rule: ResizeRule) -> Scores:
        """Single query, by torch; raises ImageError for images that cannot be read."""
        query, gallery = (_embedded(network, items, rule) for items in (self.eval_set.query, self.eval_set.gallery))
        return score(query, self.eval_set.query, gallery, self.eval_set.gallery)

    def describe(self) -> str:
        """What it scores."""
        query, gallery = self.eval_set.query, self.eval_set.gallery
        method = self.eval_set.method
        return f"{self.eval_set.dataset}'s own {len(query):,} queries and gallery of {len(gallery):,}; {method}"


Evaluator = HeldOut | QueryAndGallery
"""What every run is scored on after its last update: the same images for all of them; `name` is as `--on` takes it."""


def _embedded(network: EmbeddingNetwork, items: Entries, rule: ResizeRule) -> Vectors:
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(items), _AT_ONCE):
        images = [views[0].load() for views in items.images[start : start + _AT_ONCE]]
        parts.append(embed_images(network, images, rule, device, "float32"))
    return np.concatenate(parts)


def hold_out_people(crops: TrainingCrops, share: float, seed: int) -> tuple[TrainingCrops, HeldOut]:
    """(those to train on, the evaluator); raises TrainingError where the share makes no two people."""
    kept, out = hold_out(crops, Validation(share=share), seed)
    if out is None:
        raise TrainingError(
            f"{share:g} of {crops.identities} people makes no two who can be found again: raise --held-out, or score "
            "the data set's own query and gallery with --on test"
        )
    return kept, HeldOut(out)


def query_and_gallery(root: Path, layout: str | None) -> QueryAndGallery:
    """The evaluator of a data set's folder; raises DatasetError where that has no query and gallery of its own."""
    if layout is None and (root / MARKET_TRAIN).is_dir():
        layout = "market1501"  # as what is trained on is found
    dataset, splits = (find_dataset(layout), find_dataset(layout).read(root)) if layout else read_layout(root)
    if not isinstance(splits, CropSplits) or splits.train is None:
        raise DatasetError(
            f"{root} ({dataset.name}) has no query and gallery besides what is trained on; leave out --on test, and "
            "people are held out of training"
        )
    return QueryAndGallery(eval_set_of(splits, dataset=dataset))
