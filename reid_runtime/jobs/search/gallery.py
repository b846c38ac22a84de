"""The gallery that a search looks in: rows of a file of embeddings, or the images of a folder, and who is in them."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError, OptionsError, StorageError
from reid_runtime.images.decode import ImageSource
from reid_runtime.images.quality import WORTHLESS
from reid_runtime.io.remote import is_url
from reid_runtime.io.text import counted
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.labels import Texts, named_labels
from reid_runtime.jobs.manifest import MANIFEST
from reid_runtime.jobs.sources import find_sources, utf8_ids
from reid_runtime.jobs.vector_table import VectorTable, digest_of, read_vector_table
from reid_runtime.scoring.layouts.crops import CropSplits
from reid_runtime.scoring.layouts.registry import read_layout

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


_ROWS = 16_384
"""Rows whose labels are looked at together."""


@dataclass(frozen=True)
class SearchGallery:
    """N rows, those of them that a search may find, and whom they show.

    Rows of one identity are one person, rows of one track of one camera one track; every other row is by itself.
    """

    table: VectorTable
    path: str
    """As it was named."""
    root: str | None = None
    """Where the ids are paths of images; None where nobody said."""
    notes: tuple[str, ...] = ()
    """What of the reading was not plain, a sentence each."""
    failed: tuple[tuple[str, str], ...] = ()
    """(id, reason) of images that could not be used."""
    ignored_codes: tuple[str, ...] = field(default=WORTHLESS)
    """Rows with one of these reason codes are never found."""
    crop_of: Callable[[str], bytes | None] | None = None
    """What gives the image of an id, where the gallery keeps it; None where ids are paths."""

    @cached_property
    def left_out(self) -> Mapping[str, int]:
        """How many rows are never found, by reason: `error`, `junk`, or the first of their codes."""
        counts = np.bincount(self._why_left_out, minlength=len(self._whys)).tolist()
        return dict(sorted((why, count) for why, count in zip(self._whys[1:], counts[1:], strict=True) if count))

    @cached_property
    def usable(self) -> Mask:
        """(N,) whether a row may be found."""
        usable: Mask = self._why_left_out == 0
        return usable

    @property
    def _whys(self) -> tuple[str, ...]:
        return ("", "error", "junk", *self.ignored_codes)

    @cached_property
    def _why_left_out(self) -> npt.NDArray[np.int8]:
        """(N,) places in `_whys`: the first that a row has; 0 for none."""
        table = self.table
        why = np.where(table.error != "", 1, np.where(table.role == "junk", 2, 0)).astype(np.int8)
        for row in np.flatnonzero((table.reasons != "") & (why == 0)).tolist():
            codes = table.reasons[row].split(",")
            why[row] = next((self._whys.index(code) for code in codes if code in self.ignored_codes), 0)
        return why

    @cached_property
    def groups(self) -> Integers:
        """(N,) a number for each person, track or row alone."""
        table = self.table
        if not self.has_people and not (table.track != "").any():
            return np.arange(len(table))
        numbers: dict[object, int] = {}
        groups = np.empty(len(table), np.int64)
        for row, (identity, camera, track) in enumerate(_texts(table.identity, table.camera, table.track)):
            key = identity or ((camera, track) if track else row)
            groups[row] = numbers.setdefault(key, len(numbers))
        return groups

    @cached_property
    def cameras(self) -> tuple[Integers, Mapping[str, int]]:
        """(N,) a number for each camera, and the numbers by name; an unknown camera is nobody's: -1."""
        numbers: dict[str, int] = {"": -1}
        codes = (numbers.setdefault(name, len(numbers)) for (name,) in _texts(self.table.camera))
        return np.fromiter(codes, np.int64, len(self.table)), numbers

    @cached_property
    def has_people(self) -> bool:
        """Whether it says of any row who it is."""
        return bool((self.table.identity != "").any())

    @cached_property
    def size(self) -> int:
        """How many people, tracks or images may be found: what the threshold follows from.

        Rows of which nobody says who it is count one each; distractors are nobody, and do not count.
        """
        return int(np.unique(self.groups[self.usable & (self.table.role != "distractor")]).size)

    @cached_property
    def size_of(self) -> Literal["people", "tracks", "images"]:
        """What `size` counts; images where neither people nor tracks are known."""
        if self.has_people:
            return "people"
        return "tracks" if (self.table.track != "").any() else "images"

    def image_of(self, row: int) -> ImageSource | None:
        """A row's image, a path or the bytes of a file; None where it is not known or not there."""
        if self.crop_of is not None:
            return self.crop_of(str(self.table.id[row]))
        path = Path(self.root or "", str(self.table.id[row]))
        return path if (self.root is not None or path.is_absolute()) and path.is_file() else None


def _texts(*columns: Texts) -> Iterator[tuple[str, ...]]:
    """The rows of columns, some at a time: strings of a million rows, all at once, take hundreds of megabytes."""
    for start in range(0, len(columns[0]), _ROWS):
        yield from zip(*(column[start : start + _ROWS].tolist() for column in columns), strict=True)


def is_embeddings(path: str | os.PathLike[str]) -> bool:
    """Whether a path or URL is that of a file of embeddings, or of a folder of parts."""
    name = os.fspath(path)
    return is_url(name) or Path(name).suffix in FORMATS or os.path.isfile(os.path.join(name, MANIFEST))


def open_gallery(
    path: str | os.PathLike[str],
    embedder: Embedder | None = None,
    *,
    names: str | None = None,
    root: str | os.PathLike[str] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> SearchGallery:
    """Open a gallery, to search it any number of times.

    Args:
        path: A file of embeddings, a folder of parts, a URL of one, or a folder of images, which is embedded.
        embedder: The model, for a folder of images.
        names: How images are named, for a folder of images: `{identity}_{camera}`. Without it, images in folders are
            read as `identity/camera/image` or `identity/image`, and images that lie in no folder are of unknown people.
        root: The folder in which the ids of embeddings are paths of images, for pages.
        advance: Is called once an image.

    Returns:
        The gallery.

    Raises:
        StorageError: For a file that cannot be read.
        DatasetError: For folders that may mean two things.
        OptionsError: For a folder of images without a model.
    """
    name = os.fspath(path)
    if is_embeddings(name):
        if names is not None:
            raise OptionsError(f"{name} holds embeddings, which say themselves who is who; names are for images")
        return SearchGallery(read_vector_table(name), name, None if root is None else os.fspath(root))
    if not os.path.isdir(name):
        raise StorageError(f"{name}: expected a file of embeddings, a folder of parts, or a folder of images")
    if embedder is None:
        raise OptionsError(f"{name} is a folder of images, which takes a model: pass an Embedder")
    return _embedded(name, embedder, names, advance)


def _embedded(folder: str, embedder: Embedder, names: str | None, advance: Callable[[], object]) -> SearchGallery:
    paths, labels, notes = _labelled(folder, names)
    ids = [*paths]
    results = []
    for result in embedder.stream([*paths.values()], low_latency=False):
        results.append(result)
        advance()
    failed = tuple((ids[result.index], str(result.error)) for result in results if result.error is not None)
    rows = Embeddings.from_results(embedder, ids, results)
    lines = []
    for each in sorted(ids):
        with open(paths[each], "rb") as file:
            lines.append((each, hashlib.sha256(file.read()).hexdigest()))
    table = VectorTable.of(rows, folder, digest_of(lines), **labels)
    return SearchGallery(table, folder, folder, tuple(notes), failed)


def _labelled(folder: str, names: str | None) -> tuple[dict[str, str], dict[str, Texts], list[str]]:
    """The paths by their ids, labels and notes of a folder of images."""
    listing = find_sources([folder])
    paths = dict(zip(listing.ids, listing.paths, strict=True))
    if names is None and not all("/" in each for each in listing.ids):
        note = f"{folder}: images lie in no folder of their own, so that nobody says who they are: each counts alone"
        return paths, {}, [note, *listing.notes]
    try:
        dataset, splits = read_layout(Path(folder), names)
    except DatasetError as error:
        raise DatasetError(
            f"{error}; or embed the folder first: a gallery of embeddings may leave open who is who"
        ) from (error)
    if not isinstance(splits, CropSplits):
        raise DatasetError(f"{folder} has the layout of {dataset.name}; expected crops: embed its boxes first")
    crops = splits.gallery
    labels = named_labels(crops.identities, crops.cameras, crops.names.identity, crops.names.camera)
    notes = [*crops.notes, *listing.notes]
    if len(crops) < len(listing):
        notes.append(f"{folder}: its gallery is {len(crops):,} of its {counted(len(listing), 'image')}")
    return {each: paths[each] for each in utf8_ids(crops.ids)}, labels, notes
