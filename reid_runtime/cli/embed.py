"""reid-runtime embed: images to a file of embeddings, or to a folder of parts that can be resumed."""

import dataclasses
import json
import shlex
import sys

import click

from reid_runtime.cli import in_one_line
from reid_runtime.cli.options import load_model, model_options
from reid_runtime.errors import OptionsError
from reid_runtime.io.folder import is_folder_name
from reid_runtime.jobs.embed_folder import JobResult, OnError, check_output, embed_folder
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.sources import find_sources

_SHOWN = 10
"""Skipped images that are named one by one; the rest are counted."""
_STEPS = 200
"""How often the progress bar is drawn: a terminal that nobody reads must not fill up and block the job."""


@click.command("embed")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-o", "--output", default="embeddings.npz", show_default=True, metavar="OUT",
    help=f"{', '.join(f'FILE{suffix}' for suffix in FORMATS)}, or FOLDER/: parts that are finished one by one and can "
    "be resumed.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option("--resume", is_flag=True, help="Go on with the job in FOLDER/; begin it where there is none.")
@click.option(
    "--shard", metavar="I/N", default="1/1",
    help="Only part I of N, 1/4 to 4/4: by a hash of the ids, disjoint and together everything.",
)  # fmt: skip
@click.option(
    "--on-error", type=click.Choice(["skip", "raise", "record"]), default="skip", show_default=True,
    help="An image that cannot be used: leave it out, stop, or keep its row with the error.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object on standard output.")
@model_options
def command(
    paths: tuple[str, ...],
    output: str,
    force: bool,
    resume: bool,
    shard: str,
    on_error: OnError,
    as_json: bool,
    model: str | None,
    contract: str | None,
    device: str,
    trust_engine: bool,
) -> None:
    """Embed every image of PATH...: folders (searched recursively), files, `.txt` lists of paths, `-` for stdin.

    Writes one row an image: id (its path relative to the folder), embedding, width, height, error. Folders are
    read in the order of the relative paths; names that begin with a dot are skipped. PATH and OUT may be URLs
    that fsspec knows, as `s3://bucket/folder/`; such an OUT is a folder of parts.
    """
    try:
        part = Shard.parse(shard)
        check_output(output, resume=resume, force=force)
    except OptionsError as error:
        raise click.UsageError(str(error)) from error
    # A supervisor may have closed standard input.
    sources = find_sources(paths, None if sys.stdin is None else sys.stdin.buffer).of(part)
    embedder = load_model(model, contract, device, trust_engine=trust_engine)
    hidden, steps = not sys.stderr.isatty(), max(1, len(sources) // _STEPS)
    try:
        with click.progressbar(
            length=len(sources), label="embedding", file=sys.stderr, hidden=hidden, update_min_steps=steps
        ) as bar:
            result = embed_folder(
                embedder, sources, output,
                on_error=on_error, shard=part, resume=resume, force=force, progress=bar.update,
            )  # fmt: skip
            bar.finish()
            bar.render_progress()
    except BaseException as error:  # Ctrl-C and SIGTERM too
        for note in getattr(error, "__notes__", ()):
            click.echo(in_one_line(note + (_how_to_resume() if is_folder_name(output) else "")), err=True)
        raise
    if as_json:
        failed = [{"id": name, "error": reason} for name, reason in result.failed]
        click.echo(json.dumps(dataclasses.asdict(result) | {"failed": failed}, indent=2))
    _report(result, recorded=on_error == "record")
    if result.failed:
        click.get_current_context().exit(3)


def _how_to_resume() -> str:
    words = [word for word in sys.argv[2:] if word not in ("--resume", "--force")]
    # --resume before a `--`, behind which are only paths
    return f"; to go on: {shlex.join(['reid-runtime', 'embed', '--resume', *words])}"


def _report(result: JobResult, recorded: bool) -> None:
    numbers = f"{result.dimension} numbers each, in {result.output}"
    click.echo(f"embedded {result.embedded} of {result.images} images: {numbers}", err=True)
    if result.duplicates:
        click.echo(f"named more than once, embedded once: {result.duplicates}", err=True)
    if result.skipped_files:
        click.echo(f"skipped, not images by their names: {result.skipped_files}", err=True)
    if result.skipped_links:
        click.echo(f"skipped, links to folders: {result.skipped_links}; name such a folder to embed it", err=True)
    if result.failed:
        click.echo(f"{'recorded with their errors' if recorded else 'skipped'}: {len(result.failed)}", err=True)
        for name, reason in result.failed[:_SHOWN]:
            click.echo(in_one_line(f"  {name}: {reason}"), err=True)
        more = len(result.failed) - _SHOWN
        if more > 0:
            click.echo(f"  and {more} more; --on-error record keeps every reason in the file", err=True)
