"""reid-runtime gallery list: who is in a gallery, or what was exported of it."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from reid_runtime.cli.terminal import examples, note
from reid_runtime.gallery.gallery import Gallery, Person
from reid_runtime.io.text import counted, in_one_line


@click.command("list", epilog=examples("reid-runtime gallery list site.gallery"))
@click.argument("gallery", type=click.Path(path_type=Path), metavar="GALLERY")
@click.option("--exports", is_flag=True, help="List the files that were made of it, which forgetting does not reach.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(gallery: Path, exports: bool, as_json: bool) -> None:
    """List the people of GALLERY with their crops, cameras and times, or with --exports what was made of it."""
    with Gallery.open(gallery, read_only=True) as file:
        if exports:
            made = file.exports()
            if as_json:
                click.echo(json.dumps([asdict(each) for each in made], indent=2))
                return
            for each in made:
                gone = counted(each.forgotten, "person who was forgotten", "people who were forgotten")
                shown = counted(each.crops, "crop") + (f", shows {gone} since" if each.forgotten else "")
                click.echo(in_one_line(f"{date(each.time)}  {each.kind}  {each.path}: {shown}"))
            return
        people, contract_id = file.people(), file.contract_id
    if as_json:
        click.echo(json.dumps({"contract_id": contract_id, "people": [asdict(each) for each in people]}, indent=2))
        return
    width = max([6, *(len(each.name) for each in people)])
    click.echo(f"{'person':<{width}}  {'crops':>6}  {'kept':>6}  cameras")
    for person in people:
        click.echo(in_one_line(_line(person, width)))
    crops = counted(sum(each.crops for each in people), "crop")
    note(f"{counted(len(people), 'person')}, {crops}, contract {contract_id}")


def date(seconds: float) -> str:
    """The day and the minute, in local time."""
    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes")


def _line(person: Person, width: int) -> str:
    expires = "" if person.expires is None else f"  expires {date(person.expires)}"
    cameras = ", ".join(person.cameras)
    return f"{person.name:<{width}}  {person.crops:>6}  {person.images:>6}  {cameras}{expires}".rstrip()
