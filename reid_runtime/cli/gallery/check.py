"""reid-runtime gallery check: is a gallery's file whole, and is anything still to be done?"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from reid_runtime.cli.terminal import examples
from reid_runtime.gallery.check import CheckResult
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.io.text import counted, in_one_line

_SHOWN = 10


@click.command("check", epilog=examples("reid-runtime gallery check site.gallery"))
@click.argument("gallery", type=click.Path(path_type=Path), metavar="GALLERY")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_context
def command(ctx: click.Context, gallery: Path, as_json: bool) -> None:
    """Read all of GALLERY: SQLite's own checks, and every vector and crop against its checksum.

    The exit code is 1 where anything is damaged.
    """
    with Gallery.open(gallery, read_only=True) as file:
        result = file.check()
    click.echo(json.dumps(asdict(result), indent=2) if as_json else "\n".join(map(in_one_line, _lines(result))))
    if result.problems:
        ctx.exit(1)


def _lines(result: CheckResult) -> list[str]:
    lines = [f"damaged: {problem}" for problem in result.problems]
    if not result.contract_id:
        return lines
    lines.append(
        f"{'damaged' if result.problems else 'whole'}: {counted(result.people, 'person')}, "
        f"{counted(result.crops, 'crop')} ({result.images:,} with an image), contract {result.contract_id}"
    )
    if result.expired:
        lines.append(
            f"expired, and still in the file: {counted(result.expired, 'crop')}; `forget --expired` removes them"
        )
    if result.erasure_pending:
        lines.append("bytes of something forgotten may still be in the file; `forget --expired` removes them")
    if result.upgrading_to:
        lines.append(f"an upgrade to {result.upgrading_to} was begun; the same command goes on")
    if result.shared_content:
        lines.append(f"the same content under two people: {counted(len(result.shared_content), 'time')}")
        lines += (f"  {', '.join(names)}" for names in result.shared_content[:_SHOWN])
    if result.exports:
        lines.append(f"exported files: {result.exports} (`list --exports`)")
    return lines
