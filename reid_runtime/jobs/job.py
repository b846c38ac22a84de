"""A job: images, of files or of a video's boxes, into one file of embeddings, or into a folder of parts.

What is embedded is a `JobInput`; what was finished is kept, whatever ends the job.
"""

import logging
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
from reid_runtime.io.text import counted
from reid_runtime.jobs.embeddings import Embeddings, join
from reid_runtime.jobs.formats import ensure_embeddings_writable, write_embeddings
from reid_runtime.jobs.job_input import JobInput
from reid_runtime.jobs.kept import Kept, read_kept, write_kept
from reid_runtime.jobs.manifest import Manifest, read_manifest
from reid_runtime.jobs.metrics import JobMetrics
from reid_runtime.jobs.parts import Part, begin, check_folder, clear, missing_parts, part_name
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.update import updated

OnError = Literal["skip", "raise", "record"]
"""What happens to an image that cannot be used: it is left out, ends the job, or keeps a row with its error."""

Failures = tuple[tuple[str, str], ...]
"""(id, reason) of images."""


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a finished job has written."""

    output: str
    """The file, or the folder of parts, as it was named."""
    failed: Failures
    """(id, reason) of images without a vector."""
    flagged: Failures
    """(id, reason codes with commas) of images that have one and are hardly worth it."""
    seconds: float
    stage_seconds: Mapping[str, float]
    """By stage (`StageTimes`)."""


def run_job(
    embedder: Embedder,
    images: JobInput,
    output: str | os.PathLike[str] | Folder,
    *,
    on_error: OnError,
    shard: Shard,
    resume: bool,
    update: bool,
    force: bool,
    progress: Callable[[int], object],
    metrics: Path | None = None,
) -> Outcome:
    """Embed the images, which are those of the shard; options and errors are `embed_folder`'s."""
    name, folder = open_output(output, resume, update, force)
    counters = JobMetrics(embedder, len(images), metrics)
    work = _Work(embedder, images, on_error, progress, counters)
    _LOG.info(
        "embedding %d images with %s into %s", len(images), embedder.backend.name, name,
        extra={"images": len(images), "shard": str(shard), "contract_id": embedder.contract.contract_id},
    )  # fmt: skip
    succeeded = False
    try:
        failed, flagged = _embed(work, name, folder, resume, update, force, shard)
        succeeded = True
    finally:
        counters.end(succeeded)
    stages = counters.stage_seconds()
    _LOG.info(
        "embedded %d of %d images in %.1f s", len(images) - len(failed), len(images), counters.seconds,
        extra={**counters.outcomes, "seconds": counters.seconds, "stage_seconds": stages},
    )  # fmt: skip
    return Outcome(name, failed, flagged, counters.seconds, stages)


def _embed(
    work: "_Work", name: str, folder: Folder | None, resume: bool, update: bool, force: bool, shard: Shard
) -> tuple[Failures, Failures]:
    if folder is None:
        return _embed_to_file(work, Path(name), force, resume)
    with folder.locked() as locked:
        check_folder(locked, resume or update, force)
        if force:
            clear(locked)
        return _embed_to_parts(work, locked, shard, update)


def check_output(output: str, *, resume: bool = False, update: bool = False, force: bool = False) -> None:
    """Find out, before sources are searched and a model is loaded, whether `run_job` may write its output.

    Raises OptionsError and StorageError.
    """
    name, folder = open_output(output, resume, update, force)
    if folder is None:
        ensure_embeddings_writable(Path(name), force)
    else:
        with folder.locked() as locked:
            check_folder(locked, resume or update, force)


def open_output(
    output: str | os.PathLike[str] | Folder, resume: bool, update: bool, force: bool
) -> tuple[str, Folder | None]:
    """Its name, and the folder where it is one; raises OptionsError for options that contradict each other."""
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
    sources: JobInput
    on_error: OnError
    progress: Callable[[int], object]
    metrics: JobMetrics

    def results(self, indices: Sequence[int]) -> Generator[Result, None, None]:
        """One for each of these images; raises ImageError for the first bad one where that is asked for."""
        self.progress(len(self.sources) - len(indices))
        with closing(interruptible(self.sources.results(self.embedder, indices))) as results:
            for result in results:
                if result.error is not None and self.on_error == "raise":
                    raise ImageError(f"{self.sources.ids[indices[result.index]]}: {result.error}") from result.error
                self.progress(1)
                self.metrics.count(result)
                yield result

    def table(self, indices: Sequence[int], results: Sequence[Result]) -> Embeddings:
        """The results of these images, as they are written."""
        pairs = [
            (index, result)
            for index, result in zip(indices, results, strict=True)
            if result.error is None or self.on_error == "record"
        ]
        kept = [index for index, _ in pairs]
        ids = [self.sources.ids[index] for index in kept]
        columns = self.sources.columns(kept)
        return Embeddings.from_results(self.embedder, ids, [result for _, result in pairs], **columns)

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
    work.metrics.resume(start)
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
            with work.metrics.times.measure("write", rows.id.size):
                write_embeddings(output, rows, force)
    except BaseException as error:  # Ctrl-C and SIGTERM too: whatever ends the run, what was finished is kept
        done = start + len(results)
        if done or not isinstance(error, Exception):
            words = _keep(work, output, done, *finished(), kept) if done else ", and none was finished"
            error.add_note(f"ended after {done:,} of {counted(len(work.sources), 'image')}{words}")
        raise
    if failed and not rows.id.size:
        raise none_usable(failed, str(output))
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
    work.metrics.resume(sum(part.images for part in done.values()))
    left = [number for number in range(job.parts) if number not in done]

    def write(finished: tuple[int, list[Result]]) -> None:
        number, results = finished
        indices = job.images_of(number)
        with work.metrics.times.measure("write", len(indices)):
            rows = work.table(indices, results)
            part = Part(len(indices), digests[number], work.failed(indices, results), rows.flagged())
            part.write(folder, number, rows)
        done[number] = part
        numbers = {"part": number, "images": len(indices), "failed": len(part.failed)}
        _LOG.info("%s is written, %d of %d parts", part_name(number), len(done), job.parts, extra=numbers)

    try:
        results = work.results([index for number in left for index in job.images_of(number)])
        with closing(results), background_writer(write) as submit:
            for number in left:
                submit((number, list(islice(results, len(job.images_of(number))))))
    except BaseException as error:  # Ctrl-C and SIGTERM too
        finished = sum(part.images for part in done.values())
        error.add_note(
            f"ended after {len(done):,} of {counted(job.parts, 'part')}, {finished:,} of "
            f"{counted(job.images, 'image')}, which are in {folder.name}"
        )
        raise
    failed = tuple(pair for number in sorted(done) for pair in done[number].failed)
    if len(failed) == len(sources) > 0 and work.on_error == "skip" and shard.count == 1:  # merge asks for every shard
        clear(folder)
        raise none_usable(failed, folder.name)
    missing = missing_parts(folder, read_manifest(folder))
    if missing:
        raise StorageError(
            f"{folder.name}: {part_name(missing[0])} was removed while the job ran; with --resume it is made again"
        )
    return failed, tuple(pair for number in sorted(done) for pair in done[number].flagged)


def none_usable(failed: Failures, not_written: str) -> ImageError:
    """The error where every image failed; the first says why."""
    name, reason = failed[0]
    which = "the only image cannot" if len(failed) == 1 else f"none of the {len(failed):,} images can"
    first = ":" if len(failed) == 1 else "; the first is"
    return ImageError(f"{which} be used, and {not_written} is not written{first} {name}: {reason}")
