"""Whom a search looks for: images, folders of images of one person each, or the rows of a file of embeddings."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_runtime.embedder import Embedder, Result
from reid_runtime.errors import ImageError, OptionsError, StorageError
from reid_runtime.images.quality import WORTHLESS
from reid_runtime.io.text import counted
from reid_runtime.jobs.search.gallery import is_embeddings
from reid_runtime.jobs.sources import find_sources
from reid_runtime.jobs.vector_table import VectorTable, digest_of, read_vector_table
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors


@dataclass(frozen=True)
class Query:
    """One person to look for."""

    name: str
    """The path as it was given; of a row, its id."""
    source: str
    """The path as it was given; of a row, that of its file."""
    digest: str
    """SHA-256 of the file; of a folder, of what `sha256sum` prints of its images; of a row, of its file."""
    vector: Vectors
    """(D,) of unit length: the mean of the images' vectors, where there are several; NaN where there is none."""
    images: tuple[str, ...]
    """Paths, or the row's id: gallery rows of these, and with their vectors, are the query itself."""
    image_vectors: Vectors
    """(M, D) of the images."""
    camera: str = ""
    reasons: tuple[str, ...] = ()
    """Why it has no worth as a query: reason codes of its images, of a folder where none is left."""
    left_out: int = 0
    """Images of a folder that are not in the mean, for their reason codes or because they cannot be read."""


@dataclass(frozen=True)
class Queries:
    """The queries, of one model, and what could not be used."""

    queries: tuple[Query, ...]
    contract_id: str
    artefact_id: str
    failed: tuple[tuple[str, str], ...] = ()
    """(name, reason)."""


def needs_model(queries: Sequence[str | os.PathLike[str]], gallery: str | os.PathLike[str]) -> bool:
    """Whether a search of these takes a model; none where all are embeddings."""
    return not all(is_embeddings(path) for path in (*queries, gallery))


def read_queries(
    paths: Sequence[str | os.PathLike[str]],
    embedder: Embedder | None = None,
    *,
    camera: str = "",
    advance: Callable[[], object] = lambda: None,
) -> Queries:
    """Read queries.

    Args:
        paths: Images; folders, each of one person; files of embeddings, each row of which is a query, besides junk and
            rows with an error.
        embedder: The model, for images.
        camera: The camera that took the images, where it is known.
        advance: Is called once an image.

    Returns:
        The queries, at least one, in the order of the paths.

    Raises:
        OptionsError: For images without a model, or where there is no query.
        ImageError: Where no image can be used.
        StorageError: For vectors of several embedding spaces, and for a file that cannot be read.
        SourceError: For a path that is not there.
    """
    queries: list[Query] = []
    failed: list[tuple[str, str]] = []
    spaces: dict[tuple[str, str], str] = {}
    for path in [os.fspath(each) for each in paths]:
        if is_embeddings(path):
            table = read_vector_table(path)
            spaces.setdefault((table.contract_id, table.artefact_id), path)
            queries += _rows(path, table)
            continue
        if embedder is None:
            raise OptionsError(f"{path} is no file of embeddings, and images take a model: pass an Embedder")
        spaces.setdefault((embedder.contract.contract_id, embedder.artefact_id), path)
        query, why = _embedded(path, embedder, camera, advance)
        queries += [query] if query else []
        failed += why
    if not queries:
        named = ", ".join(os.fspath(each) for each in paths)
        if failed:
            raise ImageError(f"no query is left of {named}; the first: {failed[0][0]}: {failed[0][1]}")
        raise OptionsError(f"{named}: no query in it; expected images, or rows with a vector that are no junk")
    (contract_id, artefact_id), first = next(iter(spaces.items()))
    for (other, _), path in spaces.items():
        if other != contract_id:
            raise StorageError(
                f"{first} is of contract id {contract_id} and {path} of {other}: two embedding spaces, whose vectors "
                "cannot be compared; embed both with one model"
            )
    return Queries(tuple(queries), contract_id, artefact_id, tuple(failed))


def _rows(path: str, table: VectorTable) -> list[Query]:
    kept = np.flatnonzero((table.error == "") & (table.role != "junk"))
    vectors = table.vectors.take(kept)
    unit = normalise(vectors, path)
    return [
        Query(
            str(table.id[row]), path, table.digest, unit[index], (str(table.id[row]),), vectors[index : index + 1],
            str(table.camera[row]), _worthless(table.reasons[row].split(",")),
        )
        for index, row in enumerate(kept.tolist())
    ]  # fmt: skip


def _embedded(
    path: str, embedder: Embedder, camera: str, advance: Callable[[], object]
) -> tuple[Query | None, list[tuple[str, str]]]:
    """The query of an image or folder, and the (name, reason) of images that cannot be used."""
    is_folder = os.path.isdir(path)
    sources = find_sources([path])
    if not is_folder and len(sources) > 1:
        raise OptionsError(
            f"{path} names {counted(len(sources), 'image')}; expected an image, a folder, or a file of embeddings"
        )
    results: list[Result] = []
    for result in embedder.stream(list(sources.paths), low_latency=False):
        results.append(result)
        advance()
    failed = [(sources.paths[each.index], str(each.error)) for each in results if each.error is not None]
    read = [each for each in results if each.vector is not None]
    if not read:
        return None, failed
    good = [each for each in read if not _worthless(each.reasons)]
    reasons = () if good else tuple(dict.fromkeys(code for each in read for code in _worthless(each.reasons)))
    digests = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in sources.paths]
    digest = digest_of(zip(sources.ids, digests, strict=True)) if is_folder else f"sha256:{digests[0]}"
    vectors = np.stack([each.vector for each in good or read if each.vector is not None])
    query = Query(
        path, path, digest, mean_of(vectors), tuple(sources.paths[each.index] for each in good or read), vectors,
        camera, reasons, len(results) - len(good) if good else 0,
    )  # fmt: skip
    return query, failed


def mean_of(vectors: Vectors) -> Vectors:
    """(D,) the mean of (M, D) unit vectors, of unit length; of one vector, itself."""
    if len(vectors) == 1:
        return vectors.reshape(-1)
    mean: Vectors = normalise(vectors.astype(np.float64).mean(axis=0, keepdims=True), "mean")[0]
    return mean


def _worthless(codes: Sequence[str]) -> tuple[str, ...]:
    return tuple(code for code in codes if code in WORTHLESS)
