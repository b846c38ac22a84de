"""Image files and files of embeddings into a gallery, a window at a time, each on disk before the next begins."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_runtime.batching import WINDOW
from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError, ImageError, OptionsError
from reid_runtime.gallery.add import Added
from reid_runtime.gallery.crops import CropImage, content_digest, small_jpeg
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.images.decode import RemoteImage, load_image
from reid_runtime.images.limits import ImageLimits
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.jobs.sources import find_sources, utf8_ids
from reid_runtime.scoring.layouts.folders import NOBODY, read_rows

_BYTES = 64 << 20
"""Of files that are held at once, and one more."""


@dataclass(frozen=True)
class NewCrop:
    """An image file that is to be added."""

    id: str
    path: str
    person: str
    """Empty for somebody unknown, who is refused."""
    camera: str = ""


@dataclass(frozen=True)
class Keeping:
    """What is kept of the crops of one call beside their vectors."""

    crops: bool = True
    """Whether small JPEGs are kept, without which another model can never embed them."""
    origin: str = ""
    expires: float | None = None
    """Seconds since 1970."""


def find_crops(sources: Sequence[str], person: str | None, camera: str, names: str | None) -> list[NewCrop]:
    """The images that are to be added, in their order.

    Args:
        sources: With `person`, whatever `embed` takes; else folders `identity/camera/image` or `identity/image`.
        person: Whose images they are; None where the folders say it.
        camera: Of which camera they are, where the folders do not say it; empty for an unknown one.
        names: A pattern of the images' names, as `{identity}_{camera}`, in place of the folders.

    Returns:
        The images; those of a folder `junk`, `distractor` or `unsure` without a person.

    Raises:
        SourceError, DatasetError: For a source that is not there, or whose folders do not say who is who.
        OptionsError: For a person of no name, or a list in place of a folder.
    """
    if person is not None:
        if not person.strip():
            raise OptionsError("expected the name of a person, found an empty one")
        listing = find_sources(sources)
        return [NewCrop(name, path, person, camera) for name, path in zip(listing.ids, listing.paths, strict=True)]
    crops = []
    for source in sources:
        root = Path(source)
        if not root.is_dir():
            raise OptionsError(
                f"{source} is no folder of people: pass --person NAME, or a folder identity/camera/image"
            )
        rows, _ = read_rows(root, names)
        prefix = "" if len(sources) == 1 else f"{root.name}/"
        crops += [
            NewCrop(
                _utf8(prefix + row.id), os.path.join(source, row.id),
                "" if row.identity in NOBODY else _utf8(row.identity), _utf8(row.camera) or camera,
            )
            for row in rows
        ]  # fmt: skip
    return crops


def _utf8(name: str) -> str:
    return utf8_ids([name])[0]


def add_crops(
    gallery: Gallery,
    embedder: Embedder,
    crops: Iterable[NewCrop],
    keeping: Keeping,
    progress: Callable[[], None] = lambda: None,
) -> Added:
    """Embed image files and add them, at most 512 in a transaction.

    Args:
        gallery: Of the embedder's embedding space.
        embedder: The model.
        crops: The images.
        keeping: What is kept of them.
        progress: Called once an image.

    Returns:
        What was added, known and refused.

    Raises:
        StorageError: For a gallery of another space, a full disk or a busy file; all windows before are kept.
    """
    total = Added()
    for window, contents in _windows(crops, embedder.limits):
        results = [*embedder.stream(contents, low_latency=False)]
        rows = Embeddings.from_results(embedder, [crop.id for crop in window], results)
        rows = dataclasses.replace(
            rows,
            identity=np.array([crop.person for crop in window], np.str_),
            camera=np.array([crop.camera for crop in window], np.str_),
        )
        images = [_image(content, embedder.limits, keeping.crops) for content in contents]
        total += gallery.add(rows, images, origin=keeping.origin, expires=keeping.expires)
        for _ in window:
            progress()
    return total


def add_embeddings(
    gallery: Gallery, rows: Embeddings, keeping: Keeping, root: Path | None = None, person: str | None = None
) -> Added:
    """Add rows of a file of embeddings, at most 512 in a transaction.

    Args:
        gallery: Of the rows' embedding space.
        rows: With the column `identity`, unless all are of one `person`.
        keeping: What is kept of them.
        root: The folder that the ids are relative to, where the crops are to be kept; None for vectors alone.
        person: Whose images they are; None where the column says it.

    Returns:
        What was added, known and refused.

    Raises:
        StorageError: For a gallery of another space, a full disk or a busy file; all windows before are kept.
        DatasetError: For rows that do not say who is who, and for a crop that is not below `root`.
    """
    if person is not None:
        rows = dataclasses.replace(rows, identity=np.full(len(rows), person))
    if rows.identity is None:
        raise DatasetError("the embeddings have no column identity: expected one, as `cluster` gives it, or --person")
    total = Added()
    for start in range(0, len(rows), WINDOW):
        part = rows.take(np.arange(start, min(start + WINDOW, len(rows))))
        images = [] if root is None else [*_images_of(part, root, keeping.crops)]
        total += gallery.add(part, images, origin=keeping.origin, expires=keeping.expires)
    return total


def _windows(
    crops: Iterable[NewCrop], limits: ImageLimits
) -> Iterator[tuple[list[NewCrop], list[bytes | RemoteImage]]]:
    """The images with their files' bytes, as many at once as an embedder's window or so many bytes."""
    window: list[NewCrop] = []
    contents: list[bytes | RemoteImage] = []
    size = 0
    for crop in crops:
        content = _read(crop.path, limits)
        window.append(crop)
        contents.append(content)
        size += len(content) if isinstance(content, bytes) else 0
        if len(window) == WINDOW or size > _BYTES:
            yield window, contents
            window, contents, size = [], [], 0
    if window:
        yield window, contents


def _images_of(rows: Embeddings, root: Path, keep: bool) -> Iterator[CropImage | None]:
    limits = ImageLimits()
    for name, error in zip(rows.id.tolist(), rows.error.tolist(), strict=True):
        source = RemoteImage(name, None) if error else _read(os.path.join(root, name), limits)
        if isinstance(source, RemoteImage) and not error:
            raise DatasetError(f"{name} is not in {root}: {source.error}; name the folder that was embedded")
        yield _image(source, limits, keep)


def _read(path: str, limits: ImageLimits) -> bytes | RemoteImage:
    """The file's bytes; what `Embedder.stream` makes an error of where it cannot be read."""
    try:
        limits.check_bytes(os.stat(path).st_size)
        return Path(path).read_bytes()
    except (OSError, ValueError, ImageError) as error:
        return RemoteImage(path, None, getattr(error, "strerror", None) or str(error))


def _image(source: bytes | RemoteImage, limits: ImageLimits, keep: bool) -> CropImage | None:
    if isinstance(source, RemoteImage):
        return None
    try:
        return CropImage(content_digest(source), small_jpeg(load_image(source, limits=limits)) if keep else None)
    except ImageError:  # refused with its reason, as it has no vector either
        return None
