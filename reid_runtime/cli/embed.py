"""reid-runtime embed: pictures to a file of embeddings."""

import io
import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

import click
import numpy as np

from reid_runtime.cli.options import load_model, model_options
from reid_runtime.embedder import Embedder, Result
from reid_runtime.errors import ImageError, StorageError
from reid_runtime.sources import Sources, find_sources
from reid_runtime.storage import Embeddings, check_writable, write_embeddings

_SHOWN = 10
"""Skipped pictures that are named one by one; the rest are counted."""


@click.command("embed")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="embeddings.npz",
    show_default=True,
    help=".npz or .parquet.",
)
@click.option("--force", is_flag=True, help="Overwrite the output file.")
@click.option(
    "--on-error", type=click.Choice(["skip", "raise", "record"]), default="skip", show_default=True,
    help="A picture that cannot be used: leave it out, stop, or keep its row with the error.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object on standard output.")
@model_options
def command(
    paths: tuple[str, ...],
    output: Path,
    force: bool,
    on_error: str,
    as_json: bool,
    model: str | None,
    contract: str | None,
    device: str,
) -> None:
    """Embed every picture of PATH...: folders (searched recursively), files, `.txt` lists of paths, `-` for stdin.

    Writes one row a picture: id (its path relative to the folder), embedding, width, height, error. Folders are
    read in the order of the relative paths; names that begin with a dot are passed over.
    """
    check_writable(output, force)
    # A supervisor may have closed standard input.
    sources = find_sources(paths, sys.stdin.buffer if sys.stdin is not None else io.BytesIO())
    embedder = load_model(model, contract, device)
    results: list[Result] = []
    try:
        _collect(embedder, sources, on_error, results)
        rows = _table(embedder, sources, results, on_error)
        write_embeddings(output, rows, force)
    except BaseException:  # Ctrl-C and SIGTERM too: whatever ends the run, what was finished is kept
        if results:
            _keep(_table(embedder, sources, results, on_error), output, len(results), len(sources.ids))
        raise
    failed = [result for result in results if result.error is not None]
    if as_json:
        click.echo(json.dumps(_summary(output, rows, sources, failed), indent=2))
    _report(output, rows, sources, failed, on_error)
    if failed:
        click.get_current_context().exit(3)


def _keep(rows: Embeddings, output: Path, done: int, count: int) -> None:
    """Write what a run that ends early has finished; what ended it is the caller's to tell, also when this fails."""
    partial = _partial_name(output)
    try:
        write_embeddings(partial, rows)
    except StorageError as error:
        click.echo(f"ended after {done} of {count} pictures, and they could not be kept: {error}", err=True)
    else:
        click.echo(f"ended after {done} of {count} pictures; what was finished is in {partial}", err=True)


def _partial_name(output: Path) -> Path:
    """The first of `NAME.partial.npz`, `NAME.partial-2.npz`, ... that is not there yet."""
    names = (f"{output.stem}.partial{f'-{number}' if number > 1 else ''}{output.suffix}" for number in count(1))
    return next(path for name in names if not os.path.lexists(path := output.with_name(name)))


def _collect(embedder: Embedder, sources: Sources, on_error: str, results: list[Result]) -> None:
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=len(sources.ids), label="embedding", file=sys.stderr, hidden=hidden) as bar:
        for result in embedder.stream(sources.paths):
            if result.error is not None and on_error == "raise":
                raise ImageError(f"{sources.ids[result.index]}: {result.error}") from result.error
            results.append(result)
            bar.update(1)


def _table(embedder: Embedder, sources: Sources, results: list[Result], on_error: str) -> Embeddings:
    kept = results if on_error == "record" else [result for result in results if result.error is None]
    vectors = np.full((len(kept), embedder.dimension), np.nan, np.float32)
    for row, result in enumerate(kept):
        if result.vector is not None:
            vectors[row] = result.vector
    return Embeddings(
        id=np.array([sources.ids[result.index] for result in kept], dtype=np.str_),
        embedding=vectors,
        width=np.array([result.width for result in kept], dtype=np.int32),
        height=np.array([result.height for result in kept], dtype=np.int32),
        error=np.array(["" if result.error is None else str(result.error) for result in kept], dtype=np.str_),
        contract=embedder.contract.to_json(),
        contract_id=embedder.contract.contract_id,
        artefact_id=embedder.artefact_id,
    )


def _summary(output: Path, rows: Embeddings, sources: Sources, failed: list[Result]) -> dict[str, Any]:
    return {
        "output": str(output),
        "pictures": len(sources.ids),
        "embedded": len(sources.ids) - len(failed),
        "failed": [{"id": sources.ids[result.index], "error": str(result.error)} for result in failed],
        "repeated": sources.repeated,
        "others": sources.others,
        "links": sources.links,
        "dimension": rows.embedding.shape[1],
        "contract_id": rows.contract_id,
        "artefact_id": rows.artefact_id,
    }


def _report(output: Path, rows: Embeddings, sources: Sources, failed: list[Result], on_error: str) -> None:
    done = len(sources.ids) - len(failed)
    click.echo(
        f"embedded {done} of {len(sources.ids)} pictures: {rows.embedding.shape[1]} numbers each, in {output}", err=True
    )
    if sources.repeated:
        click.echo(f"named more than once, embedded once: {sources.repeated}", err=True)
    if sources.others:
        click.echo(f"passed over, no pictures by their names: {sources.others}", err=True)
    if sources.links:
        click.echo(f"passed over, links to folders: {sources.links}; name such a folder to embed it", err=True)
    if failed:
        click.echo(f"{'recorded with their errors' if on_error == 'record' else 'skipped'}: {len(failed)}", err=True)
        for result in failed[:_SHOWN]:
            click.echo(f"  {sources.ids[result.index]}: {result.error}", err=True)
        if len(failed) > _SHOWN:
            click.echo(f"  and {len(failed) - _SHOWN} more; --on-error record keeps every reason in the file", err=True)
