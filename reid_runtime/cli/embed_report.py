"""What `reid-runtime embed` prints of a finished job."""

import dataclasses
import json
import shlex
from collections import Counter

import click

from reid_runtime.cli.terminal import highlight
from reid_runtime.io.text import in_one_line
from reid_runtime.jobs.embed_folder import JobResult
from reid_runtime.jobs.embed_video import VideoResult
from reid_runtime.jobs.job import Failures
from reid_runtime.jobs.sources import describe_skipped

_SHOWN = 10
"""Skipped images that are named one by one; the rest are counted."""


def report_images(result: JobResult, recorded: bool) -> None:
    """What became of a job's images."""
    numbers = f"{result.dimension} numbers each, in {result.output}"
    click.echo(f"embedded {result.embedded} of {result.images} images: {numbers}", err=True)
    if result.duplicates:
        click.echo(f"named more than once, embedded once: {result.duplicates}", err=True)
    if result.skipped_files:
        skipped = describe_skipped(result.skipped)
        click.echo(in_one_line(f"passed over, not images by their names: {skipped}"), err=True)
    if result.skipped_links:
        click.echo(f"skipped, links to folders: {result.skipped_links}; name such a folder to embed it", err=True)
    _report_flagged(result.flagged)
    _report_failed(result.failed, recorded)


def report_boxes(result: VideoResult, recorded: bool) -> None:
    """What became of a video's boxes."""
    tracks = f" of {result.tracks} tracks" if result.tracks else ""
    click.echo(
        in_one_line(
            f"embedded {result.embedded} of {result.boxes} boxes{tracks}: {result.dimension} numbers each, in "
            f"{result.output}"
        ),
        err=True,
    )
    _report_flagged(result.flagged)
    _report_failed(result.failed, recorded)


def report_next(output: str) -> None:
    """What can be done with a file or folder of embeddings, in a line."""
    if output.endswith(".csv"):
        return
    line = f"next: reid-runtime search IMAGE --in {shlex.quote(output)}; or cluster, gallery add"
    click.echo(highlight(in_one_line(line)), err=True)


def report_json(result: JobResult | VideoResult) -> None:
    """The result as one JSON object."""
    failed = [{"id": name, "error": reason} for name, reason in result.failed]
    flagged = [{"id": name, "reasons": codes.split(",")} for name, codes in result.flagged]
    click.echo(json.dumps(dataclasses.asdict(result) | {"failed": failed, "flagged": flagged}, indent=2))


def _report_failed(failed: Failures, recorded: bool) -> None:
    if not failed:
        return
    click.echo(f"{'recorded with their errors' if recorded else 'skipped'}: {len(failed)}", err=True)
    for name, reason in failed[:_SHOWN]:
        click.echo(in_one_line(f"  {name}: {reason}"), err=True)
    if len(failed) > _SHOWN:
        click.echo(f"  and {len(failed) - _SHOWN} more; --on-error record keeps every reason in the file", err=True)


def _report_flagged(flagged: Failures) -> None:
    if not flagged:
        return
    counts = Counter(code for _, codes in flagged for code in codes.split(","))
    by_code = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
    click.echo(f"embedded, with reasons for doubt: {len(flagged)} ({by_code})", err=True)
    for name, codes in flagged[:_SHOWN]:
        click.echo(in_one_line(f"  {name}: {codes}"), err=True)
    if len(flagged) > _SHOWN:
        click.echo(f"  and {len(flagged) - _SHOWN} more; the column reasons has them all", err=True)
