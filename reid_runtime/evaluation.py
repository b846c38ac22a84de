"""A model's scores on a labelled folder: the same steps for the command, for exports and for benchmarks."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.embedder import Embedder, Vectors
from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts import Crops
from reid_runtime.scoring.layouts.crops import CropSplits
from reid_runtime.scoring.ranking import Scores, score

PROTOCOL = "single query; same identity and camera ignored, junk ignored, distractors kept; ties in gallery order"


@dataclass(frozen=True)
class Evaluation:
    """One model on one data set: what was embedded, and how it scored."""

    dataset: str
    model: str
    contract_id: str
    query: Crops
    """(Q,) without junk."""
    gallery: Crops
    """(G,) without junk, which every score ignores."""
    vectors: Vectors
    """(Q + G, D), the queries first."""
    scores: Scores

    def report(self) -> dict[str, Any]:
        """Plain values for JSON; scores are fractions."""
        facts = {"dataset": self.dataset, "protocol": PROTOCOL, "model": self.model, "contract_id": self.contract_id}
        return facts | dataclasses.asdict(self.scores.summary()) | {"reranked": False}


def evaluate(embedder: Embedder, data: CropSplits, advance: Callable[[], None] = lambda: None) -> Evaluation:
    """Embed queries and gallery, and score them; `advance` is called once a picture.

    Raises DatasetError at the first picture that cannot be used: a score that leaves some out means nothing.
    """
    query = data.query.where(data.query.identities >= 0)
    gallery = data.gallery.where(data.gallery.identities >= 0)
    vectors = np.empty((len(query) + len(gallery), embedder.dimension), np.float32)
    for result in embedder.stream([*query.paths, *gallery.paths]):
        if result.vector is None:
            raise DatasetError(f"{result.source}: {result.error}; a score that leaves pictures out means nothing")
        vectors[result.index] = result.vector
        advance()
    scores = score(vectors[: len(query)], query, vectors[len(query) :], gallery)
    return Evaluation(
        dataset=query.root.resolve().name,
        model=embedder.path.name,
        contract_id=embedder.contract.contract_id,
        query=query,
        gallery=gallery,
        vectors=vectors,
        scores=scores,
    )
