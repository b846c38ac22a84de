"""mAP from each camera to each other one: where a model that is good on average is blind."""

from dataclasses import dataclass

import numpy as np

from reid_runtime.scoring.labels import JUNK, Integers, Labelled, Labels
from reid_runtime.scoring.ranking import Fractions, has_answer, score
from reid_runtime.vectors import Vectors


@dataclass(frozen=True)
class CameraPairs:
    """A query cameras against B gallery cameras, both ascending."""

    query_cameras: Integers
    """(A,) camera numbers."""
    gallery_cameras: Integers
    """(B,) camera numbers."""
    map_finite_sum: Fractions
    """(A, B) mAP over the queries of one camera with the gallery of the other; NaN where none is valid."""
    valid_queries: Integers
    """(A, B) over how many queries."""


def score_camera_pairs(
    query_vectors: Vectors, query: Labelled, gallery_vectors: Vectors, gallery: Labelled
) -> CameraPairs:
    """Score each camera's queries against the part of the gallery that each camera saw.

    A camera against itself has no valid query: the same person under the same camera is ignored.

    Args:
        query_vectors: (Q, D) of unit length, as for `score`.
        query: Their labels.
        gallery_vectors: (G, D) of unit length.
        gallery: Their labels.

    Returns:
        mAP (finite-sum) and the number of valid queries for each pair of cameras.

    Raises:
        ScoringError: As `score` does.
    """
    query_cameras = np.unique(query.cameras)
    gallery_cameras = np.unique(gallery.cameras[gallery.identities != JUNK])
    means = np.full((query_cameras.size, gallery_cameras.size), np.nan)
    counts = np.zeros(means.shape, dtype=np.int64)
    for column, camera in enumerate(gallery_cameras):
        seen = np.flatnonzero(gallery.cameras == camera)
        part = Labels(gallery.identities[seen], gallery.cameras[seen])
        if not has_answer(query, part).any():
            continue
        scores = score(query_vectors, query, gallery_vectors[seen], part)
        for row, query_camera in enumerate(query_cameras):
            precisions = scores.ap_finite_sum[scores.valid & (query.cameras == query_camera)]
            counts[row, column] = precisions.size
            if precisions.size:
                means[row, column] = precisions.mean()
    return CameraPairs(query_cameras, gallery_cameras, means, counts)
