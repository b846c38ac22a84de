"""Embed images into one file, or into a folder of parts that can be resumed: the job behind `reid-runtime embed`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_runtime.embedder import Embedder
from reid_runtime.io.folder import Folder
from reid_runtime.jobs.job import Failures, OnError, open_output, run_job
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.sources import Sources, find_sources


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
    seconds: float
    stage_seconds: Mapping[str, float]
    """By stage, `decode`, `resize`, `infer` and `write`; threads add up, so together they may exceed `seconds`."""


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
    metrics: str | os.PathLike[str] | None = None,
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
        metrics: A file for counters in Prometheus's text format, which is replaced every ten seconds and at the end.

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
    open_output(output, resume, update, force)  # whose options may contradict each other
    if not isinstance(sources, Sources):
        names = [sources] if isinstance(sources, str | os.PathLike) else sources
        sources = find_sources([os.fspath(each) for each in names])
    own = sources.of(shard)
    done = run_job(
        embedder, own, output,
        on_error=on_error, shard=shard, resume=resume, update=update, force=force, progress=progress,
        metrics=None if metrics is None else Path(metrics),
    )  # fmt: skip
    return JobResult(
        done.output, len(own), len(own) - len(done.failed), done.failed, done.flagged,
        sources.duplicates, sources.skipped_files, dict(sources.skipped), sources.skipped_links,
        embedder.dimension, embedder.contract.contract_id, embedder.artefact_id, embedder.backend.name,
        done.seconds, done.stage_seconds,
    )  # fmt: skip
