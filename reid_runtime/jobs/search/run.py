"""The search itself: the nearest people of a gallery to each query, and what the calibration makes of them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_runtime.embedder import Embedder
from reid_runtime.errors import OptionsError, StorageError
from reid_runtime.io.text import counted
from reid_runtime.jobs.search.answers import Answer, Match, SearchSettings
from reid_runtime.jobs.search.gallery import SearchGallery, open_gallery
from reid_runtime.jobs.search.queries import Queries, Query, read_queries
from reid_runtime.matching.calibration import Calibration, Crops
from reid_runtime.matching.decision import Decision, LikelihoodRatio, decide
from reid_runtime.matching.errors import CalibrationError
from reid_runtime.matching.file import calibration_beside
from reid_runtime.matching.search import Block, Hits, Integers, nearest
from reid_runtime.model_file.packaged import packaged_of
from reid_runtime.scoring.reranking import rerank
from reid_runtime.vectors import Vectors

_ITSELF = 0.99
"""A gallery row that has the query's name is the query where it is at least as similar: the same image in any precision
of its model, and hardly ever another image of the same name in another folder.
"""
_TOGETHER = 256
"""Queries that are compared at once, which bounds the memory."""
_RERANKED = 500
"""Nearest people among whom one is re-ranked; farther ones are hardly anybody's reciprocal neighbours."""


def search(
    queries: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Queries,
    gallery: str | os.PathLike[str] | SearchGallery,
    *,
    embedder: Embedder | None = None,
    calibration: Calibration | None = None,
    settings: SearchSettings | None = None,
) -> list[Answer]:
    """Look for people in a gallery, exactly: every row is compared.

    Args:
        queries: Images, folders of images of one person each, or files of embeddings; or what `read_queries` read.
        gallery: A file of embeddings, a folder of parts, or a folder of images; or what `open_gallery` opened, which
            answers any number of searches.
        embedder: The model, where there are images.
        calibration: What similarities mean; None for the model's own. Without one the answers have candidates and no
            decision.
        settings: How many candidates, at which FPIR, and what is left out; None for ten at 1 %.

    Returns:
        The answer to each query.

    Raises:
        OptionsError: For settings that mean nothing, or images without a model.
        StorageError: For a file that cannot be read, and for two embedding spaces.
        CalibrationError: Where the calibration is of another embedding space, or does not support the FPIR.
    """
    settings = settings or SearchSettings()
    if settings.k < 1 or not 0 < settings.fpir < 1:
        raise OptionsError(f"expected k from 1 and an FPIR between 0 and 1, found {settings.k} and {settings.fpir}")
    if not isinstance(queries, Queries):
        paths = [queries] if isinstance(queries, str | os.PathLike) else queries
        queries = read_queries(paths, embedder)
    if not isinstance(gallery, SearchGallery):
        gallery = open_gallery(gallery, embedder)
    if queries.contract_id != gallery.table.contract_id:
        raise StorageError(
            f"the queries are of contract id {queries.contract_id}, {gallery.path} of {gallery.table.contract_id}: two "
            "embedding spaces, whose vectors cannot be compared; embed both with one model"
        )
    calibration = calibration or own_calibration(embedder, queries.contract_id)
    scale = None if calibration is None else _Scale.of(calibration, queries.contract_id, settings.fpir, gallery.size)
    _check_cameras(queries, gallery, settings)
    count = max(settings.k, 2, _RERANKED * settings.rerank)
    nearest_hits = [
        hits
        for start in range(0, len(queries.queries), _TOGETHER)
        for hits in _nearest(queries.queries[start : start + _TOGETHER], gallery, count, settings)
    ]
    return [
        _answer(query, hits, gallery, queries, settings, scale)
        for query, hits in zip(queries.queries, nearest_hits, strict=True)
    ]


def own_calibration(embedder: Embedder | None, contract_id: str) -> Calibration | None:
    """The calibration beside the model; without a model, that of the packaged model whose the vectors are, if any."""
    if embedder is not None:
        return embedder.calibration
    path = packaged_of(contract_id)
    return None if path is None else calibration_beside(path, contract_id)


@dataclass(frozen=True)
class _Scale:
    """A calibration, for one FPIR in one gallery."""

    calibration: Calibration
    ratio: LikelihoodRatio
    threshold: float
    extrapolated: bool

    @classmethod
    def of(cls, calibration: Calibration, contract_id: str, fpir: float, size: int) -> "_Scale":
        calibration.require_space(contract_id, "the gallery")
        limit = calibration.search_threshold(fpir, max(1, size))
        return cls(calibration, LikelihoodRatio.of(calibration.histograms), limit.threshold, limit.extrapolated)

    def rise(self) -> float | None:
        """By how much the mean of several crops raises the similarities of strangers; None where that is not known.

        At the smallest FMR that both kinds of comparison support: rates of searches are measured with single crops.
        """
        try:
            several = self.calibration.stratum("1xn")
            shared = {point.fmr for point in self.calibration.operating_points} & {
                point.fmr for point in several.operating_points
            }
            return max(0.0, several.threshold(min(shared)) - self.calibration.threshold(min(shared)))
        except (CalibrationError, ValueError):
            return None


def _check_cameras(queries: Queries, gallery: SearchGallery, settings: SearchSettings) -> None:
    if not settings.exclude_same_camera:
        return
    if not (gallery.table.camera != "").any():
        raise OptionsError(
            f"--exclude-same-camera: {gallery.path} says of no row which camera took it: it needs a "
            "column camera; of a folder of images --names says which part of a name it is"
        )
    unknown = [query.name for query in queries.queries if not query.camera]
    if unknown:
        raise OptionsError(
            f"--exclude-same-camera: the camera of {len(unknown)} of {counted(len(queries.queries), 'query')} is not "
            f"known, the first is {unknown[0]}: state it with --camera, or take queries from a file that has the column"
        )


def _nearest(queries: Sequence[Query], gallery: SearchGallery, count: int, settings: SearchSettings) -> list[Hits]:
    vectors = np.stack([query.vector for query in queries])
    hide = _hide(queries, vectors, gallery, settings)
    table = gallery.table
    is_alone = gallery.size_of == "images"
    return nearest(vectors, table.vectors, count, groups=None if is_alone else gallery.groups, hide=hide)


def _hide(
    queries: Sequence[Query], vectors: Vectors, gallery: SearchGallery, settings: SearchSettings
) -> Callable[[int, Vectors, Block], None]:
    table, unusable = gallery.table, ~gallery.usable
    camera_of_rows, numbers = gallery.cameras if settings.exclude_same_camera else (np.empty(0, np.int64), {})
    cameras = np.array([numbers.get(query.camera, -2) for query in queries])
    single = np.array([len(query.images) == 1 for query in queries])
    several = [row for row, query in enumerate(queries) if len(query.images) > 1]

    def hide(start: int, block: Vectors, similarities: Block) -> None:
        end = start + len(block)
        for row, column in np.argwhere(single[:, None] & (similarities >= _ITSELF)).tolist():
            if _is_of(queries[row].images[0], str(table.id[start + column]), gallery.root):
                similarities[row, column] = -np.inf
        for row in several:
            of_images = queries[row].image_vectors @ block.T
            for image, column in np.argwhere(of_images >= _ITSELF).tolist():
                if _is_of(queries[row].images[image], str(table.id[start + column]), gallery.root):
                    similarities[row, column] = -np.inf
        if settings.exclude_same_camera:
            similarities[camera_of_rows[None, start:end] == cameras[:, None]] = -np.inf
        if unusable[start:end].any():
            similarities[:, unusable[start:end]] = -np.inf

    return hide


def _is_of(image: str, row: str, root: str | None) -> bool:
    """Whether a gallery row has the name of an image: its path, or the end of it, as ids are relative to a folder."""
    if root is not None and Path(root, row).exists() and Path(image).exists():
        return os.path.samefile(Path(root, row), image)
    return f"/{Path(os.path.abspath(image)).as_posix()}".endswith(f"/{row.removeprefix('./').removeprefix('/')}")


def _answer(
    query: Query, hits: Hits, gallery: SearchGallery, queries: Queries, settings: SearchSettings, scale: _Scale | None
) -> Answer:
    threshold: float | None = None
    extrapolated, notes = False, list[str]()
    crops: Crops = "1x1" if len(query.images) == 1 else "1xn"
    if scale is not None:
        threshold, extrapolated, notes = _threshold(scale, crops, gallery)
    candidates = hits.rows[np.isfinite(hits.similarities)]
    similarities = np.round(hits.similarities[np.isfinite(hits.similarities)], 6)
    if settings.rerank and len(candidates):
        order = _reranked(query.vector, gallery.table.vectors.take(candidates))
        candidates, similarities = candidates[order], similarities[order]
        notes.append(f"re-ranked among the {len(candidates):,} nearest {gallery.size_of}; decided by cosine")
    matches = [
        _match(gallery, int(row), float(similarity), rank, scale, crops)
        for rank, (row, similarity) in enumerate(zip(candidates, similarities, strict=True), 1)
    ]
    decision: Decision | None = None
    runner_up: Match | None = None
    if query.left_out:
        notes.append(f"left out of the query's mean, for their quality: {counted(query.left_out, 'image')}")
    if query.reasons:
        notes.append(f"the query is {', '.join(query.reasons)}: its vector says nothing of a person")
        matches = []
    if query.reasons and scale is not None:
        decision = "nobody"
    elif scale is not None and threshold is not None:
        decision, runner_up = _decide(matches, threshold, scale.ratio)
    above = [match for match in matches if threshold is None or match.similarity >= threshold or match is runner_up]
    below = [match for match in matches if match not in above]
    listed = max(settings.k, 2) if decision == "ambiguous" else settings.k
    digests = {
        "model": queries.artefact_id,
        "calibration": None if scale is None else scale.calibration.calibration_id,
        "gallery": gallery.table.digest,
        "gallery_model": gallery.table.artefact_id,
        "query": query.digest,
    }
    return Answer(
        query.name, decision, tuple(above[:listed]), tuple(below[: max(0, settings.k - len(above))]),
        threshold, settings.fpir, extrapolated,
        None if scale is None else not scale.calibration.source.own_site,
        gallery.size, gallery.size_of, len(query.images), query.reasons, tuple(notes), queries.contract_id, digests,
    )  # fmt: skip


def _threshold(scale: _Scale, crops: Crops, gallery: SearchGallery) -> tuple[float, bool, list[str]]:
    """The threshold, to six decimals; whether it is beyond what was measured; and what to know of it."""
    threshold, extrapolated, notes = scale.threshold, scale.extrapolated, []
    if crops == "1xn":
        rise = scale.rise()
        threshold, extrapolated = min(1.0, threshold + (rise or 0.0)), True
        notes.append(
            "the mean of several images: the calibration has no such comparisons, and the threshold is that of single "
            "images"
            if rise is None
            else f"the mean of several images: the threshold is {rise:.3f} above that of single ones, as for pairs"
        )
    if gallery.size_of == "images":
        notes.append(
            "the gallery does not say who is who: each image counts as a person of its own, which makes the threshold "
            "higher than it need be, and no answer ambiguous"
        )
    return round(threshold, 6), extrapolated, notes


def _match(gallery: SearchGallery, row: int, similarity: float, rank: int, scale: _Scale | None, crops: Crops) -> Match:
    table = gallery.table
    labels = str(table.id[row]), str(table.identity[row]) or None, str(table.camera[row]), str(table.track[row])
    if scale is None:
        return Match(*labels, similarity, None, False, None, None, rank, row)
    calibration = scale.calibration
    try:
        rates, verdict = calibration.stratum(crops), calibration.verdict(similarity, crops)
    except CalibrationError:  # it has no such comparisons
        rates, verdict = calibration, calibration.verdict(similarity)
    is_bound = verdict.fmr <= (rates.least_fmr or 0.0)
    return Match(*labels, similarity, verdict.fmr, is_bound, verdict.fnmr, verdict.answer, rank, row)


def _decide(matches: Sequence[Match], threshold: float, ratio: LikelihoodRatio) -> tuple[Decision, Match | None]:
    """The decision, and the person who cannot be told from the best, where it is "ambiguous"."""
    # Re-ranking may put one first that is not above the threshold.
    best = next((match for match in matches if match.similarity >= threshold), None)
    if best is None:
        return "nobody", None
    other = next((match for match in matches if match is not best), None)
    is_another_person = other is not None and best.identity and other.identity
    decision = decide(best.similarity, other.similarity if other and is_another_person else None, threshold, ratio)
    return decision, other if decision == "ambiguous" else None


def _reranked(query: Vectors, nearest_vectors: Vectors) -> Integers:
    """The order of a query's nearest rows by their re-ranked distance; other queries take no part in it."""
    reranked = rerank(query[None], nearest_vectors)
    return np.argsort(reranked.distances(0, 1)[0], kind="stable")
