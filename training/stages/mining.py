"""Hard triplets, after the curriculum's third form: those that the current weights get most wrong.

A pool of training images is drawn, and embedded with the current weights; the vectors are kept for some updates. For
a random query all pairs of a positive and a negative in the pool are ranked by their loss, and one of the hardest is
picked at random: always the very hardest would be a mislabelled image again and again.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.scoring.labels import Integers
from reid_runtime.vectors import Vectors


class MiningError(ReidRuntimeError):
    """A pool without a triplet."""


@dataclass(frozen=True)
class Pool:
    """P training images, as they were embedded at some update."""

    rows: Integers
    """(P,) their rows in the training images."""
    labels: Integers
    """(P,) whose they are."""
    vectors: Vectors | None
    """(P, D) of unit length; None where triplets are random."""

    def queries(self) -> Integers:
        """The places in the pool with a positive in it; raises MiningError where no triplet can be made."""
        _, inverse, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        if len(counts) < 2 or counts.max() < 2:
            raise MiningError(
                f"the pool of {len(self.rows)} training images has {len(counts)} people, of whom the most frequent has "
                f"{counts.max()} images: expected two people and two images of one of them; raise 'pool' in "
                "[ranking.mining], or train on data with more images of each person"
            )
        return np.flatnonzero(counts[inverse] > 1)


def draw_rows(images: int, pool: int, random: np.random.Generator) -> Integers:
    """The rows of a pool's images: all of them, in random order, where there are no more than `pool`."""
    return random.permutation(images)[:pool].astype(np.int64)


def hardest_pairs(
    similarity: npt.NDArray[np.float32], positives: Integers, negatives: Integers, hardest: int
) -> Integers:
    """(K, 2) positive and negative places of the K pairs with the highest loss, K = `hardest` or all that there are.

    `similarity` is the (P,) query's to the pool. On unit vectors the loss grows with q.d- - q.d+, so the margin does
    not matter for the order. The K best pairs are among the K lowest positives and the K highest negatives: a pair
    with any other positive has K at least as hard ones in front of it, with the same negative; likewise a negative.
    """
    low = positives[np.argsort(similarity[positives], kind="stable")[:hardest]]
    high = negatives[np.argsort(-similarity[negatives], kind="stable")[:hardest]]
    # In float64, where the difference of two float32 does not round two losses into a tie.
    values = similarity.astype(np.float64)
    violation = values[high][None, :] - values[low][:, None]
    best = np.argsort(-violation, axis=None, kind="stable")[:hardest]
    return np.stack([low[best // len(high)], high[best % len(high)]], axis=1)


def draw_triplets(pool: Pool, count: int, hardest: int, random: np.random.Generator) -> Integers:
    """(count, 3) rows of the training images: query, positive, negative. With `hardest` 0 any positive and negative.

    Raises MiningError for a pool without a triplet.
    """
    queries = pool.queries()
    chosen = queries[random.integers(len(queries), size=count)]
    if hardest and pool.vectors is None:
        raise MiningError("hard triplets need the pool's vectors")
    similarities = pool.vectors[chosen] @ pool.vectors.T if hardest and pool.vectors is not None else None
    triplets = np.empty((count, 3), np.int64)
    for number, query in enumerate(chosen.tolist()):
        same = pool.labels == pool.labels[query]
        negatives = np.flatnonzero(~same)
        same[query] = False
        positives = np.flatnonzero(same)
        if similarities is None:
            positive, negative = random.choice(positives), random.choice(negatives)
        else:
            pairs = hardest_pairs(similarities[number], positives, negatives, hardest)
            positive, negative = pairs[random.integers(len(pairs))]
        triplets[number] = query, positive, negative
    return pool.rows[triplets]
