"""Searches for people who may not be there: FPIR and FNIR of an evaluation's queries, by the size of the gallery.

FPIR is the share of queries whose person is not in the gallery that find anybody at or above the threshold; FNIR the
share of those whose person is there that find no crop of theirs at or above it, at any rank. A gallery of N people is
every crop of theirs in the set's gallery, N drawn from all of them (`matching.searching`); distractors and junk are
nobody and not in it. Similarities are cosines, also where the ranking was re-ranked.
"""

from collections.abc import Sequence

import numpy as np

from reid_runtime.errors import OptionsError
from reid_runtime.evaluation.eval_set import Entries
from reid_runtime.evaluation.evaluate import Evaluation
from reid_runtime.matching import SearchPoint
from reid_runtime.matching.rates import MIN_PEOPLE
from reid_runtime.matching.samples import MOST_PEOPLE, Samples
from reid_runtime.matching.searching import LEAST_GALLERY, maxima, search_points
from reid_runtime.scoring.labels import Integers
from reid_runtime.vectors import Vectors


def open_set_points(evaluation: Evaluation, sizes: Sequence[int] = ()) -> tuple[SearchPoint, ...]:
    """Thresholds of searches, with FPIR and FNIR.

    Args:
        evaluation: Of crops or tracklets; of a person search, which has a gallery for each query, nothing follows.
        sizes: People in a gallery; none for 10, 20, 50 and so on up to all but the query's own.

    Returns:
        By gallery size and falling FPIR; empty where the set has too few people for any.

    Raises:
        OptionsError: For a gallery of more people than there are.
    """
    eval_set = evaluation.eval_set
    if eval_set.search is not None:
        if sizes:
            raise OptionsError("in a person search each query has its own gallery; --gallery-people is for one of all")
        return ()
    people = np.unique(eval_set.gallery.identities[eval_set.gallery.identities > 0])
    people = people if len(people) <= MOST_PEOPLE else np.random.default_rng(0).permutation(people)[:MOST_PEOPLE]
    asked = np.intersect1d(people, eval_set.query.identities)
    if len(asked) < MIN_PEOPLE or len(people) <= LEAST_GALLERY:
        if sizes:
            raise OptionsError(f"{len(asked)} people are searched for among {len(people)}; expected {MIN_PEOPLE}")
        return ()
    too_many = [size for size in sizes if size >= len(people)]
    if too_many:
        raise OptionsError(
            f"--gallery-people {too_many[0]}: the gallery has {len(people)} people, one of whom a query may be of"
        )
    people = np.sort(people)
    gallery = _samples(eval_set.gallery, evaluation.gallery_vectors, people)
    queries = _samples(eval_set.query, evaluation.query_vectors, people)
    return search_points(maxima(gallery, queries), sorted(set(sizes)) or None)


def _samples(entries: Entries, vectors: Vectors, people: Integers) -> Samples:
    """The entries that are of these people, numbered by their place."""
    rows = np.flatnonzero(np.isin(entries.identities, people))
    number = np.searchsorted(people, entries.identities[rows])
    none = np.zeros(len(rows), np.int64)
    return Samples(vectors[rows], number, entries.cameras[rows], True, none, none.astype(np.float64))
