"""reid-runtime embed: pictures to a file of embeddings, or to a folder of parts that can be resumed."""

import io
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import Any

import click
import numpy as np

from reid_runtime import __version__
from reid_runtime.cli import in_one_line
from reid_runtime.cli.options import load_model, model_options
from reid_runtime.embedder import Embedder, Result
from reid_runtime.errors import ImageError, StorageError
from reid_runtime.io.concurrency import background_writer
from reid_runtime.io.remote import is_url
from reid_runtime.jobs import Embeddings, check_writable, write_embeddings
from reid_runtime.jobs.folders import Folder, open_folder
from reid_runtime.jobs.parts import Job, Part, absent_parts, begin, check_folder, clear, part_name, read_job
from reid_runtime.jobs.sources import Shard, SourceError, Sources, find_sources

_SHOWN = 10
"""Skipped pictures that are named one by one; the rest are counted."""


@dataclass(frozen=True)
class Work:
    """What is to be embedded, by what, and what happens to a picture that cannot be used."""

    embedder: Embedder
    sources: Sources
    on_error: str

    def results(self, rows: Sequence[range]) -> Iterator[Result]:
        """One for each picture of these rows; raises ImageError for the first bad one where that is asked for."""
        total = len(self.sources)
        wanted = [row for some in rows for row in some]
        hidden = not sys.stderr.isatty()
        with click.progressbar(length=total, label="embedding", file=sys.stderr, hidden=hidden) as bar:
            bar.update(total - len(wanted))
            for result in self.embedder.stream(self.sources.images(wanted), low_latency=False):
                if result.error is not None and self.on_error == "raise":
                    raise ImageError(f"{self.sources.ids[wanted[result.index]]}: {result.error}") from result.error
                yield result
                bar.update(1)

    def table(self, rows: Sequence[int], results: Sequence[Result]) -> Embeddings:
        """The results of the pictures in these rows, as they are written."""
        pairs = [
            (self.sources.ids[row], result)
            for row, result in zip(rows, results, strict=True)
            if result.error is None or self.on_error == "record"
        ]
        vectors = np.full((len(pairs), self.embedder.dimension), np.nan, np.float32)
        for place, (_, result) in enumerate(pairs):
            if result.vector is not None:
                vectors[place] = result.vector
        return Embeddings(
            id=np.array([name for name, _ in pairs], dtype=np.str_),
            embedding=vectors,
            width=np.array([result.width for _, result in pairs], dtype=np.int32),
            height=np.array([result.height for _, result in pairs], dtype=np.int32),
            error=np.array(["" if result.error is None else str(result.error) for _, result in pairs], dtype=np.str_),
            contract=self.embedder.contract.to_json(),
            contract_id=self.embedder.contract.contract_id,
            artefact_id=self.embedder.artefact_id,
            backend=self.embedder.backend.name,
        )

    def failed(self, rows: Sequence[int], results: Sequence[Result]) -> list[tuple[str, str]]:
        """(id, reason) of the pictures that could not be used."""
        return [
            (self.sources.ids[row], str(result.error))
            for row, result in zip(rows, results, strict=True)
            if result.error is not None
        ]


@click.command("embed")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-o", "--output", default="embeddings.npz", show_default=True, metavar="OUT",
    help="FILE.npz, FILE.parquet, or FOLDER/: parts that are finished one by one and can be resumed.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option("--resume", is_flag=True, help="Go on with the job in FOLDER/; begin it where there is none.")
@click.option(
    "--shard", metavar="I/N", default="1/1",
    help="Only part I of N, 1/4 to 4/4: by a hash of the ids, disjoint and together everything.",
)  # fmt: skip
@click.option(
    "--on-error", type=click.Choice(["skip", "raise", "record"]), default="skip", show_default=True,
    help="A picture that cannot be used: leave it out, stop, or keep its row with the error.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object on standard output.")
@model_options
def command(
    paths: tuple[str, ...],
    output: str,
    force: bool,
    resume: bool,
    shard: str,
    on_error: str,
    as_json: bool,
    model: str | None,
    contract: str | None,
    device: str,
    trust_engine: bool,
) -> None:
    """Embed every picture of PATH...: folders (searched recursively), files, `.txt` lists of paths, `-` for stdin.

    Writes one row a picture: id (its path relative to the folder), embedding, width, height, error. Folders are
    read in the order of the relative paths; names that begin with a dot are passed over. PATH and OUT may be URLs
    that fsspec knows, as `s3://bucket/folder/`; such an OUT is a folder of parts.
    """
    try:
        part = Shard.parse(shard)
    except SourceError as error:
        raise click.UsageError(str(error)) from error
    folder = open_folder(output) if _is_folder(output) else None
    if resume and force:
        raise click.UsageError("--resume goes on with what is there and --force removes it: name one")
    if resume and folder is None:
        raise click.UsageError("--resume is for a folder of parts: name it with a slash behind, -o FOLDER/")
    with nullcontext() if folder is None else folder.alone():
        if folder is None:
            check_writable(Path(output), force)
        else:
            check_folder(folder, resume, force)
        # A supervisor may have closed standard input.
        sources = find_sources(paths, sys.stdin.buffer if sys.stdin is not None else io.BytesIO()).of(part)
        work = Work(load_model(model, contract, device, trust_engine=trust_engine), sources, on_error)
        if folder is None:
            failed = _to_file(work, Path(output), force)
        else:
            if force:
                clear(folder)
            failed = embed_to_folder(work, folder, part)
    if as_json:
        click.echo(json.dumps(_summary(output, work, failed), indent=2))
    _report(output, work, failed)
    if failed:
        click.get_current_context().exit(3)


def _is_folder(output: str) -> bool:
    return is_url(output) or output.endswith(("/", os.sep)) or os.path.isdir(output)


def _to_file(work: Work, output: Path, force: bool) -> list[tuple[str, str]]:
    results: list[Result] = []
    try:
        for result in work.results([range(len(work.sources))]):
            results.append(result)
        write_embeddings(output, work.table(range(len(results)), results), force)
    except BaseException:  # Ctrl-C and SIGTERM too: whatever ends the run, what was finished is kept
        if results:
            rows = work.table(range(len(results)), results)
            _keep(rows, output, f"ended after {len(results)} of {len(work.sources)} pictures")
        raise
    return work.failed(range(len(results)), results)


def _keep(rows: Embeddings, output: Path, ended: str) -> None:
    """Write what a run that ends early has finished; what ended it is the caller's to tell, also when this fails."""
    partial = _partial_name(output)
    try:
        write_embeddings(partial, rows)
    except StorageError as error:
        click.echo(f"{ended}, and they could not be kept: {error}", err=True)
    else:
        click.echo(f"{ended}; what was finished is in {partial}", err=True)


def _partial_name(output: Path) -> Path:
    """The first of `NAME.partial.npz`, `NAME.partial-2.npz`, ... that is not there yet."""
    names = (f"{output.stem}.partial{f'-{number}' if number > 1 else ''}{output.suffix}" for number in count(1))
    return next(path for name in names if not os.path.lexists(path := output.with_name(name)))


def embed_to_folder(work: Work, folder: Folder, shard: Shard) -> list[tuple[str, str]]:
    """Begin the job in a folder, or go on with the one there; gives (id, reason) of the pictures without a vector."""
    contract, sources = work.embedder.contract, work.sources
    job = Job(
        contract.to_json(), contract.contract_id, work.embedder.artefact_id, work.embedder.backend.name, str(shard),
        work.on_error, len(sources), __version__,
    )  # fmt: skip
    # Taken before the pictures are read: one that changes in between is then found to have changed.
    digests = [sources.digest(job.rows(number)) for number in range(job.parts)]
    done = begin(folder, job, digests)
    left = [number for number in range(job.parts) if number not in done]

    def write(finished: tuple[int, list[Result]]) -> None:
        number, results = finished
        rows = job.rows(number)
        part = Part(len(rows), digests[number], tuple(work.failed(rows, results)))
        part.write(folder, number, work.table(rows, results))
        done[number] = part

    try:
        with background_writer(write) as submit:
            of_part = (number for number in left for _ in job.rows(number))
            paired = zip(of_part, work.results([job.rows(number) for number in left]), strict=True)
            for number, some in groupby(paired, key=lambda pair: pair[0]):
                submit((number, [result for _, result in some]))
    except BaseException:  # Ctrl-C and SIGTERM too
        finished = sum(part.pictures for part in done.values())
        words = [word for word in sys.argv[2:] if word not in ("--resume", "--force")]
        again = shlex.join(["reid-runtime", "embed", "--resume", *words])  # before a `--`, behind which are only paths
        click.echo(
            f"ended after {len(done)} of {job.parts} parts, {finished} of {job.pictures} pictures, which are in "
            f"{folder.name}; to go on: {again}",
            err=True,
        )
        raise
    absent = absent_parts(folder, read_job(folder))
    if absent:
        raise StorageError(
            f"{folder.name}: {part_name(absent[0])} was taken away while the job ran; with --resume it is made again"
        )
    return [failure for number in sorted(done) for failure in done[number].failed]


def _summary(output: str, work: Work, failed: list[tuple[str, str]]) -> dict[str, Any]:
    sources, embedder = work.sources, work.embedder
    return {
        "output": output,
        "pictures": len(sources),
        "embedded": len(sources) - len(failed),
        "failed": [{"id": name, "error": error} for name, error in failed],
        "repeated": sources.repeated,
        "others": sources.others,
        "links": sources.links,
        "dimension": embedder.dimension,
        "contract_id": embedder.contract.contract_id,
        "artefact_id": embedder.artefact_id,
        "backend": embedder.backend.name,
    }


def _report(output: str, work: Work, failed: list[tuple[str, str]]) -> None:
    sources = work.sources
    done = len(sources) - len(failed)
    click.echo(
        f"embedded {done} of {len(sources)} pictures: {work.embedder.dimension} numbers each, in {output}", err=True
    )
    if sources.repeated:
        click.echo(f"named more than once, embedded once: {sources.repeated}", err=True)
    if sources.others:
        click.echo(f"passed over, no pictures by their names: {sources.others}", err=True)
    if sources.links:
        click.echo(f"passed over, links to folders: {sources.links}; name such a folder to embed it", err=True)
    if failed:
        recorded = work.on_error == "record"
        click.echo(f"{'recorded with their errors' if recorded else 'skipped'}: {len(failed)}", err=True)
        for name, error in failed[:_SHOWN]:
            click.echo(in_one_line(f"  {name}: {error}"), err=True)
        if len(failed) > _SHOWN:
            click.echo(f"  and {len(failed) - _SHOWN} more; --on-error record keeps every reason in the file", err=True)
