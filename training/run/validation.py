"""People of the training split who are kept out of training, and scored as any data set is."""

import numpy as np

from reid_runtime.images.resize import ResizeRule
from reid_runtime.scoring.labels import Labels
from reid_runtime.scoring.ranking import Scores, has_answer, score
from training.data.training_set import TrainingCrops
from training.models.embedding import embed_images
from training.models.network import EmbeddingNetwork
from training.recipe import Validation

_PEOPLE = 7
"""Sets this draw apart from the others of a seed."""


def hold_out(crops: TrainingCrops, choices: Validation, seed: int) -> tuple[TrainingCrops, TrainingCrops | None]:
    """(those to train on, those held out), the same for the same seed and data; None where the share makes no two.

    Only people who can be found again are held out: with images under two cameras, or, where there is one camera
    only, with two images. Never all of them: of the others nobody could learn what stays the same in a person.
    """
    labels = _labels(crops)
    findable = np.unique(crops.people[has_answer(labels, labels)])
    count = round(choices.share * crops.identities)
    if count < 2 or len(findable) < count or crops.identities - count < 2:
        return crops, None
    chosen = np.random.default_rng((seed, _PEOPLE)).permutation(findable)[:count]
    out = np.isin(crops.people, chosen)
    if np.unique(crops.people[~out], return_counts=True)[1].max() < 2:
        return crops, None
    return crops.where(~out), crops.where(out)


def score_people(network: EmbeddingNetwork, crops: TrainingCrops, rule: ResizeRule) -> dict[str, float]:
    """mAP (finite-sum) and rank-1, fractions, of `rank_people`."""
    summary = rank_people(network, crops, rule).summary()
    return {"held_out_map": summary.map_finite_sum, "held_out_rank_1": summary.rank_1}


def rank_people(network: EmbeddingNetwork, crops: TrainingCrops, rule: ResizeRule) -> Scores:
    """Each image a query in turn, all of them the gallery; in float32, as the export will be."""
    device = next(network.parameters()).device
    vectors = embed_images(network, crops.images, rule, device, "float32")
    labels = _labels(crops)
    return score(vectors, labels, vectors, labels)


def _labels(crops: TrainingCrops) -> Labels:
    # The same person under the same camera is ignored. Where there is one camera only, each image has its own: then
    # nothing is ignored but the query itself.
    one = len(np.unique(crops.cameras)) == 1
    return Labels(crops.people, np.arange(len(crops.people)) if one else crops.cameras)
