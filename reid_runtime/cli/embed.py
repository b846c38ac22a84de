"""reid-runtime embed: images to a file of embeddings, or to a folder of parts that can be resumed."""

import dataclasses
import json
import os
import shlex
import sys
from collections import Counter
from contextlib import suppress

import click

from reid_runtime.cli import in_one_line
from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.images.limits import DEFAULT_LIMITS, ImageLimits
from reid_runtime.io.folder import is_folder_name
from reid_runtime.jobs.embed_folder import JobResult, embed_folder
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.job import OnError, check_output
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.sources import check_named, describe_skipped, find_sources

_SHOWN = 10
"""Skipped images that are named one by one; the rest are counted."""


@click.command("embed")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-o", "--output", default="embeddings.npz", show_default=True, metavar="OUT",
    help=f"{', '.join(f'FILE{suffix}' for suffix in FORMATS)}, or FOLDER/: parts that are finished one by one and can "
    "be resumed.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option(
    "--resume", is_flag=True,
    help="Go on with the job in FOLDER/, or with what was kept for FILE; begin it where there is none.",
)  # fmt: skip
@click.option("--update", is_flag=True, help="Add what is new to the job in FOLDER/, and make again what has changed.")
@click.option("--root", metavar="DIR", help="Ids are the images' paths below DIR.  [as they were given]")
@click.option("-0", "--null", "nul", is_flag=True, help="The names of lists end with NUL, as of `find -print0`.")
@click.option(
    "--shard", metavar="I/N", default="1/1",
    help="Only part I of N, 1/4 to 4/4: by a hash of the ids, disjoint and together everything.",
)  # fmt: skip
@click.option(
    "--on-error", type=click.Choice(["skip", "raise", "record"]), default="skip", show_default=True,
    help="An image that cannot be used: leave it out, stop, or keep its row with the error.",
)  # fmt: skip
@click.option(
    "--min-size", type=click.IntRange(min=1), default=1, metavar="N",
    help="Images whose shorter side has less than N pixels are errors.",
)  # fmt: skip
@click.option(
    "--max-pixels", type=click.IntRange(min=1), default=DEFAULT_LIMITS.max_pixels, show_default=True, metavar="N",
    help="Images of more pixels are errors.",
)  # fmt: skip
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=DEFAULT_LIMITS.max_bytes, show_default=True, metavar="N",
    help="Files of more bytes are errors.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object on standard output.")
@model_options
def command(
    paths: tuple[str, ...],
    output: str,
    force: bool,
    resume: bool,
    update: bool,
    root: str | None,
    nul: bool,
    shard: str,
    on_error: OnError,
    min_size: int,
    max_pixels: int,
    max_bytes: int,
    as_json: bool,
    chosen: ModelChoice,
) -> None:
    """Embed every image of PATH...: folders (searched recursively), files, `.txt` lists of paths, `-` for stdin.

    Writes one row an image: id, embedding, width, height, error and reasons, codes of what makes it hardly worth a
    vector. The id is the path inside the folder where PATH is one folder, else the path as it was given; lists are
    relative to the working directory, and `#` begins a comment. Folders are read in the order of the relative paths;
    names that begin with a dot are skipped. PATH and OUT may be URLs that fsspec knows, as `s3://bucket/folder/`; such
    an OUT is a folder of parts.
    """
    part = Shard.parse(shard)
    check_named(paths)
    check_output(output, resume=resume, update=update, force=force)
    # A supervisor may have closed standard input.
    stdin = None if sys.stdin is None else sys.stdin.buffer
    sources = find_sources(paths, stdin, root=root, nul=nul).of(part)
    embedder = load_model(chosen)
    embedder.limits = ImageLimits(max_pixels, max_bytes, min_side=min_size)
    try:
        with progress_bar(len(sources)) as advance:
            result = embed_folder(
                embedder, sources, output,
                on_error=on_error, shard=part, resume=resume, update=update, force=force, progress=advance,
            )  # fmt: skip
    except BaseException as error:  # Ctrl-C and SIGTERM too
        for note in getattr(error, "__notes__", ()):
            is_kept = "which are in" in note or "finished is in" in note
            with suppress(OSError):  # a terminal that is gone
                click.echo(in_one_line(note + (_how_to_resume() if is_kept else "")), err=True)
        raise
    if as_json:
        failed = [{"id": name, "error": reason} for name, reason in result.failed]
        flagged = [{"id": name, "reasons": codes.split(",")} for name, codes in result.flagged]
        click.echo(json.dumps(dataclasses.asdict(result) | {"failed": failed, "flagged": flagged}, indent=2))
    paths_of = dict(zip(sources.ids, sources.paths, strict=True))
    lost = (path for name, _ in result.failed if not os.path.isabs(path := paths_of[name]))
    is_lost = sources.filesystem is None and not all(map(os.path.lexists, lost))
    _report(result, on_error == "record", is_lost)
    if result.failed:
        click.get_current_context().exit(3 if result.embedded else 1)


def _how_to_resume() -> str:
    words = [word for word in sys.argv[2:] if word not in ("--resume", "--force")]
    # --resume before a `--`, behind which are only paths
    resume = [] if "--update" in words else ["--resume"]
    return f"; to go on: {shlex.join(['reid-runtime', 'embed', *resume, *words])}"


def _report(result: JobResult, recorded: bool, is_lost: bool) -> None:
    numbers = f"{result.dimension} numbers each, in {result.output}"
    click.echo(f"embedded {result.embedded} of {result.images} images: {numbers}", err=True)
    if result.duplicates:
        click.echo(f"named more than once, embedded once: {result.duplicates}", err=True)
    if result.skipped_files:
        skipped = describe_skipped(result.skipped)
        click.echo(in_one_line(f"passed over, not images by their names: {skipped}"), err=True)
    if result.skipped_links:
        click.echo(f"skipped, links to folders: {result.skipped_links}; name such a folder to embed it", err=True)
    _report_flagged(result)
    if result.failed:
        click.echo(f"{'recorded with their errors' if recorded else 'skipped'}: {len(result.failed)}", err=True)
        for name, reason in result.failed[:_SHOWN]:
            click.echo(in_one_line(f"  {name}: {reason}"), err=True)
        more = len(result.failed) - _SHOWN
        if more > 0:
            click.echo(f"  and {more} more; --on-error record keeps every reason in the file", err=True)
        if is_lost:
            click.echo(in_one_line(f"relative paths were looked for in {os.getcwd()}"), err=True)
    if sys.stderr.isatty():
        output = shlex.quote(result.output)
        if is_folder_name(result.output):
            click.echo(in_one_line(f"next, one file of it: reid-runtime merge {output} -o FILE.npz"), err=True)
        else:
            click.echo(in_one_line(f"next, in Python: reid_runtime.jobs.read_embeddings({result.output!r})"), err=True)


def _report_flagged(result: JobResult) -> None:
    if not result.flagged:
        return
    counts = Counter(code for _, codes in result.flagged for code in codes.split(","))
    by_code = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
    click.echo(f"embedded, with reasons for doubt: {len(result.flagged)} ({by_code})", err=True)
    for name, codes in result.flagged[:_SHOWN]:
        click.echo(in_one_line(f"  {name}: {codes}"), err=True)
    if len(result.flagged) > _SHOWN:
        click.echo(f"  and {len(result.flagged) - _SHOWN} more; the column reasons has them all", err=True)
