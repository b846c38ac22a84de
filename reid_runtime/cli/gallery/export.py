"""reid-runtime gallery export: a gallery's embeddings into a file."""

from pathlib import Path

import click
import numpy as np

from reid_runtime.cli.terminal import examples, note
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.io.text import counted
from reid_runtime.jobs import ensure_embeddings_writable, write_embeddings
from reid_runtime.jobs.formats import FORMATS


@click.command("export", epilog=examples("reid-runtime gallery export site.gallery -o site.npz"))
@click.argument("gallery", type=click.Path(path_type=Path), metavar="GALLERY")
@click.argument("people", nargs=-1, metavar="[PERSON...]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT",
    help=f"{' or '.join(f'FILE{suffix}' for suffix in FORMATS)}.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def command(gallery: Path, people: tuple[str, ...], output: Path, force: bool) -> None:
    """Write the embeddings of GALLERY, or of some of its people, with identity, camera, time and reasons.

    The gallery lists the file (`list --exports`): forgetting somebody does not reach it.
    """
    ensure_embeddings_writable(output, force)
    with Gallery.open(gallery) as file:
        rows = file.of(*people) if people else file.embeddings()
        names = [] if rows.identity is None else np.unique(rows.identity).tolist()
        file.record_export("embeddings", output, names, len(rows))
    write_embeddings(output, rows, force)
    note(f"{counted(len(rows), 'crop')} of {counted(len(names), 'person')}, in {output}")
