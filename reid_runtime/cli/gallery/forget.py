"""reid-runtime gallery forget: people out of a gallery, to the last byte of its file."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from reid_runtime.cli.terminal import examples, note
from reid_runtime.errors import OptionsError
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.io.text import counted


@click.command("forget", epilog=examples("reid-runtime gallery forget site.gallery person-08"))
@click.argument("gallery", type=click.Path(path_type=Path), metavar="GALLERY")
@click.argument("people", nargs=-1, metavar="PERSON...")
@click.option("--expired", is_flag=True, help="Forget all crops whose time has passed.")
@click.option("--json", "as_json", is_flag=True, help="Print what is gone, and what was exported, as JSON.")
def command(gallery: Path, people: tuple[str, ...], expired: bool, as_json: bool) -> None:
    """Forget PERSON...: rows, crops and vectors go, and every byte of them in GALLERY and its log of writes.

    That somebody was forgotten is logged, and not who. Files that were made of GALLERY before are listed and not
    touched; nor are backups, snapshots of the file system, and blocks that a drive keeps for itself.
    """
    if bool(people) == expired:
        raise OptionsError("expected the names of people, or --expired")
    with Gallery.open(gallery) as file:
        gone = file.forget_expired() if expired else file.forget(*people)
    if as_json:
        click.echo(json.dumps(asdict(gone), indent=2))
    note(f"forgotten: {counted(gone.people, 'person')}, {counted(gone.crops, 'crop')}")
    for export in gone.exports:
        note(f"still in a file made before: {export.path} ({export.kind})")
