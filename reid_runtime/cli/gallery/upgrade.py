"""reid-runtime gallery upgrade: a gallery into another model's embedding space."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.terminal import examples, note
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.io.text import counted

_SHOWN = 10


@click.command("upgrade", epilog=examples("reid-runtime gallery upgrade site.gallery --model small"))
@click.argument("gallery", type=click.Path(path_type=Path), metavar="GALLERY")
@click.option("--leave-out", is_flag=True, help="Forget crops of which only the vector was kept.  [they are an error]")
@click.option("--json", "as_json", is_flag=True, help="Print what has changed as JSON.")
@model_options
def command(
    gallery: Path,
    leave_out: bool,
    as_json: bool,
    chosen: ModelChoice,
) -> None:
    """Embed the kept crops of GALLERY with --model, keep the people, and switch in one transaction.

    Until then everybody searches with the old model. The same command goes on after an interruption. Printed is
    whose most similar other person is another one now.
    """
    embedder = load_model(chosen)
    with Gallery.open(gallery) as file:
        done = file.upgrade(embedder, leave_out=leave_out)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
    note(f"{gallery}: {counted(done.crops, 'crop')} from {done.before} to {done.after}")
    if done.left_out:
        note(f"forgotten, for only their vectors were kept: {counted(done.left_out, 'crop')}")
    first = ": look at these first" if done.changed else ""
    note(f"another most similar person than before: {len(done.changed):,} of {counted(done.people, 'person')}{first}")
    for each in done.changed[:_SHOWN]:
        line = f"  {each.person}: {each.before} ({each.similarity_before:.2f}), now {each.after} "
        note(f"{line}({each.similarity_after:.2f})")
    if len(done.changed) > _SHOWN:
        note(f"  and {len(done.changed) - _SHOWN} more; --json has them all")
