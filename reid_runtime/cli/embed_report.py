"""What `reid-runtime embed` prints of a finished job."""

import dataclasses
import json
import shlex
from collections import Counter
from typing import TYPE_CHECKING

import click

from reid_runtime.cli.terminal import highlight, note, note_some
from reid_runtime.io.text import counted, in_one_line
from reid_runtime.jobs.embed_folder import JobResult
from reid_runtime.jobs.sources import passed_over

if TYPE_CHECKING:
    from reid_runtime.jobs.embed_video import VideoResult


def report(result: "JobResult | VideoResult", recorded: bool, as_json: bool) -> None:
    """Print what became of images, or of a video's boxes; with `as_json` one object on standard output too."""
    if as_json:
        failed = [{"id": name, "error": reason} for name, reason in result.failed]
        flagged = [{"id": name, "reasons": codes.split(",")} for name, codes in result.flagged]
        click.echo(json.dumps(dataclasses.asdict(result) | {"failed": failed, "flagged": flagged}, indent=2))
    if isinstance(result, JobResult):
        _report_images(result)
    else:
        boxes = counted(result.boxes, "box") + (f" of {counted(result.tracks, 'track')}" if result.tracks else "")
        note(f"embedded {result.embedded:,} of {boxes}: {result.dimension} numbers each, in {result.output}")
    _report_rows(result, recorded)
    if result.embedded and not as_json and not result.output.endswith(".csv"):
        line = f"next: reid-runtime search IMAGE --in {shlex.quote(result.output)}; or cluster, gallery add"
        click.echo(highlight(in_one_line(line)), err=True)


def _report_images(result: JobResult) -> None:
    numbers = f"{result.dimension} numbers each, in {result.output}"
    note(f"embedded {result.embedded:,} of {counted(result.images, 'image')}: {numbers}")
    note(*passed_over(result.duplicates, result.skipped, result.skipped_links))


def _report_rows(result: "JobResult | VideoResult", recorded: bool) -> None:
    """The rows with reasons for doubt, and what could not be used."""
    flagged, failed = result.flagged, result.failed
    if flagged:
        counts = Counter(code for _, codes in flagged for code in codes.split(","))
        by_code = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
        note(f"embedded, with reasons for doubt: {len(flagged)} ({by_code})")
        note_some(flagged, "the column reasons has them all")
    if failed:
        note(f"{'recorded with their errors' if recorded else 'skipped'}: {len(failed)}")
        note_some(failed, "--on-error record keeps every reason in the file")
