"""Embed images into one file, or into a folder of parts that can be resumed: the job behind `reid-runtime embed`."""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from reid_runtime import __version__
from reid_runtime.embedder import Embedder, Result
from reid_runtime.errors import ImageError, OptionsError, StorageError
from reid_runtime.io.concurrency import background_writer, interruptible
from reid_runtime.io.folder import Folder, is_folder_name, open_folder
from reid_runtime.jobs.embeddings import Embeddings, join
from reid_runtime.jobs.formats import ensure_embeddings_writable, write_embeddings
from reid_runtime.jobs.kept import Kept, read_kept, write_kept
from reid_runtime.jobs.manifest import Manifest, read_manifest
from reid_runtime.jobs.parts import Part, begin, check_folder, clear, missing_parts, part_name
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.sources import Sources, find_sources
from reid_runtime.jobs.update import updated

OnError = Literal["skip", "raise", "record"]
"""What happens to an image that cannot be used: it is left out, ends the job, or keeps a row with its error."""

Failures = tuple[tuple[str, str], ...]
"""(id, reason) of images."""


@dataclass(frozen=True)
class JobResult:
    """What a finished job has done."""

    output: str
    """The file, or the folder of parts, as it was named."""
    images: int
    """How many the job had."""
    embedded: int
    """How many of them have a vector."""
    failed: Failures
    """(id, reason) of the others."""
    flagged: Failures
    """(id, reason codes with commas) of images that have a vector and are hardly worth it: too small, blank, ..."""
    duplicates: int
    """How many more times images were named."""
    skipped_files: int
    """Files in the folders that are not images by their names."""
    skipped: Mapping[str, int]
    """How many of them have which suffix."""
    skipped_links: int
    """Links to folders in the folders, which are not followed."""
    dimension: int
    contract_id: str
    artefact_id: str
    backend: str


def embed_folder(
    embedder: Embedder,
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sources,
    output: str | os.PathLike[str] | Folder,
    *,
    on_error: OnError = "skip",
    shard: Shard | str = "1/1",
    resume: bool = False,
    update: bool = False,
    force: bool = False,
    progress: Callable[[int], object] = lambda images: None,
) -> JobResult:
    """Embed the images of folders, files and lists into one file of embeddings, or into a folder of parts.

    A file holds every vector in memory until it is written. A folder is written part by part, in memory that does not
    grow, is locked while the job runs, and can be resumed: a job that was interrupted gives, after any number of
    resumptions, the bytes of one that was not. Whatever interrupts the job, what was finished is kept, in the parts or
    in `NAME.partial.npz`, and a note on the exception says where.

    Args:
        embedder: The model.
        sources: A folder, which is searched recursively; an image file; a `.txt` list of paths; URLs of such; several
            of them; or what `find_sources` found.
        output: A file, whose suffix `.npz` or `.parquet` says in which format; or a folder: a name with a slash behind
            it, a Path without a suffix, a folder that is there, or a URL.
        on_error: What happens to an image that cannot be used: "skip" leaves it out, "raise" ends the job, "record"
            keeps its row, with the error and a vector of NaN.
        shard: `i/n` for part i of n, from 1: by a hash of the ids, disjoint and together everything.
        resume: Whether to go on with the job in a folder, or with what an interrupted one kept for a file, and to
            begin it where there is none.
        update: Whether to bring the job in a folder up to date: parts of which images have changed, or were removed,
            are made again, and images that are new are added.
        force: Whether to overwrite the file, or to remove the job that is in the folder.
        progress: Is called with the number of images that are finished since the last call.

    Returns:
        How many images were embedded, and which were not.

    Raises:
        OptionsError: For options that contradict each other.
        SourceError: For a source that is not there, or when there are no images.
        StorageError: Where the output cannot be written, is there already, is another job's, or belongs to one with
            other images, another model or other options.
        ImageError: For the first image that cannot be used, where `on_error` is "raise"; where none can be used,
            unless `on_error` is "record"; then nothing is written.
        BackendError: Where the model fails.
    """
    shard = Shard.parse(shard) if isinstance(shard, str) else shard
    name, folder = _open_output(output, resume, update, force)
    if not isinstance(sources, Sources):
        names = [sources] if isinstance(sources, str | os.PathLike) else sources
        sources = find_sources([os.fspath(each) for each in names])
    work = _Work(embedder, sources.of(shard), on_error, progress)
    if folder is None:
        failed, flagged = _embed_to_file(work, Path(name), force, resume)
    else:
        with folder.locked() as locked:
            check_folder(locked, resume or update, force)
            if force:
                clear(locked)
            failed, flagged = _embed_to_parts(work, locked, shard, update)
    images = len(work.sources)
    return JobResult(
        name, images, images - len(failed), failed, flagged,
        sources.duplicates, sources.skipped_files, dict(sources.skipped), sources.skipped_links,
        embedder.dimension, embedder.contract.contract_id, embedder.artefact_id, embedder.backend.name,
    )  # fmt: skip


def check_output(output: str, *, resume: bool = False, update: bool = False, force: bool = False) -> None:
    """Find out, before sources are searched and a model is loaded, whether `embed_folder` may write its output.

    Raises as that does: OptionsError and StorageError.
    """
    name, folder = _open_output(output, resume, update, force)
    if folder is None:
        ensure_embeddings_writable(Path(name), force)
    else:
        with folder.locked() as locked:
            check_folder(locked, resume or update, force)


def _open_output(
    output: str | os.PathLike[str] | Folder, resume: bool, update: bool, force: bool
) -> tuple[str, Folder | None]:
    """Its name, and the folder where it is one."""
    if isinstance(output, str | os.PathLike):
        name = os.fspath(output)
        # A Path cannot end in a slash.
        is_folder = is_folder_name(name) or not (isinstance(output, str) or Path(output).suffix)
        folder = open_folder(name) if is_folder else None
    else:
        name, folder = output.name, output
    if (resume or update) and force:
        raise OptionsError("--resume and --update go on with what is there and --force removes it: name one")
    if update and folder is None:
        raise OptionsError("--update is for a folder of parts: name it with a slash behind, -o FOLDER/")
    return name, folder


@dataclass(frozen=True)
class _Work:
    """What is embedded, by what, and what happens to an image that cannot be used."""

    embedder: Embedder
    sources: Sources
    on_error: OnError
    progress: Callable[[int], object]

    def results(self, indices: Sequence[int]) -> Generator[Result, None, None]:
        """One for each of these images; raises ImageError for the first bad one where that is asked for."""
        self.progress(len(self.sources) - len(indices))
        stream = self.embedder.stream(self.sources.images(indices), low_latency=False)
        with closing(interruptible(stream)) as results:
            for result in results:
                if result.error is not None and self.on_error == "raise":
                    raise ImageError(f"{self.sources.ids[indices[result.index]]}: {result.error}") from result.error
                self.progress(1)
                yield result

    def table(self, indices: Sequence[int], results: Sequence[Result]) -> Embeddings:
        """The results of these images, as they are written."""
        pairs = [
            (self.sources.ids[index], result)
            for index, result in zip(indices, results, strict=True)
            if result.error is None or self.on_error == "record"
        ]
        return Embeddings.from_results(self.embedder, [name for name, _ in pairs], [result for _, result in pairs])

    def failed(self, indices: Sequence[int], results: Sequence[Result]) -> Failures:
        """Those of these images that could not be used."""
        return tuple(
            (self.sources.ids[index], str(result.error))
            for index, result in zip(indices, results, strict=True)
            if result.error is not None
        )


def _embed_to_file(work: _Work, output: Path, force: bool, resume: bool) -> tuple[Failures, Failures]:
    ensure_embeddings_writable(output, force)
    kept = (
        read_kept(output, work.sources, work.table([], []), work.on_error, repr(work.embedder.limits))
        if resume
        else None
    )
    start = 0 if kept is None else kept.part.images
    before = () if kept is None else kept.part.failed
    results: list[Result] = []

    def finished() -> tuple[Embeddings, Failures]:
        done = range(start, start + len(results))
        rows = work.table(done, results)
        return rows if kept is None else join([kept.rows, rows]), (*before, *work.failed(done, results))

    try:
        for result in work.results(range(start, len(work.sources))):
            results.append(result)
        rows, failed = finished()
        if rows.id.size or not failed:  # none at all is an empty shard
            write_embeddings(output, rows, force)
    except BaseException as error:  # Ctrl-C and SIGTERM too: whatever ends the run, what was finished is kept
        done = start + len(results)
        if done or not isinstance(error, Exception):
            words = _keep(work, output, done, *finished(), kept) if done else ", and none was finished"
            error.add_note(f"ended after {done} of {len(work.sources)} images{words}")
        raise
    if failed and not rows.id.size:
        raise _none_usable(failed, str(output))
    if kept is not None:
        kept.path.unlink(missing_ok=True)
    return failed, rows.flagged()


def _keep(work: _Work, output: Path, done: int, rows: Embeddings, failed: Failures, kept: Kept | None) -> str:
    """Write what a run that ends early has finished; gives the words that say where, or why that failed too."""
    try:
        path = write_kept(
            output, rows, Part(done, work.sources.digest(range(done)), failed), repr(work.embedder.limits), kept
        )
    except StorageError as error:
        return f", and they could not be kept: {error}"
    return f"; what was finished is in {path}"


def _embed_to_parts(work: _Work, folder: Folder, shard: Shard, update: bool) -> tuple[Failures, Failures]:
    """Begin the job in a folder, or go on with the one there."""
    contract, sources = work.embedder.contract, work.sources
    job = Manifest(
        contract.to_json(), contract.contract_id, work.embedder.artefact_id, work.embedder.backend.name, str(shard),
        work.on_error, len(sources), __version__, limits=repr(work.embedder.limits),
    )  # fmt: skip
    if update:
        sources = updated(folder, job, sources)
        work = replace(work, sources=sources)
    # Taken before the images are read: one that changes in between is then known to have changed.
    digests = tuple(sources.digest(job.images_of(number)) for number in range(job.parts))
    job = replace(job, digests=digests)
    done = begin(folder, job)
    left = [number for number in range(job.parts) if number not in done]

    def write(finished: tuple[int, list[Result]]) -> None:
        number, results = finished
        indices = job.images_of(number)
        rows = work.table(indices, results)
        part = Part(len(indices), digests[number], work.failed(indices, results), rows.flagged())
        part.write(folder, number, rows)
        done[number] = part

    try:
        results = work.results([index for number in left for index in job.images_of(number)])
        with closing(results), background_writer(write) as submit:
            for number in left:
                submit((number, list(islice(results, len(job.images_of(number))))))
    except BaseException as error:  # Ctrl-C and SIGTERM too
        finished = sum(part.images for part in done.values())
        error.add_note(
            f"ended after {len(done)} of {job.parts} parts, {finished} of {job.images} images, which are in "
            f"{folder.name}"
        )
        raise
    failed = tuple(pair for number in sorted(done) for pair in done[number].failed)
    if len(failed) == len(sources) > 0 and work.on_error == "skip" and shard.count == 1:  # merge asks for every shard
        clear(folder)
        raise _none_usable(failed, folder.name)
    missing = missing_parts(folder, read_manifest(folder))
    if missing:
        raise StorageError(
            f"{folder.name}: {part_name(missing[0])} was removed while the job ran; with --resume it is made again"
        )
    return failed, tuple(pair for number in sorted(done) for pair in done[number].flagged)


def _none_usable(failed: Failures, output: str) -> ImageError:
    name, reason = failed[0]
    return ImageError(
        f"none of the {len(failed)} images can be used, and {output} is not written; the first is {name}: {reason}"
    )
