"""reid-runtime gallery page: the people of a gallery on one HTML page."""

from pathlib import Path

import click
import numpy as np

from reid_runtime.cli.terminal import examples, note
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.io.text import counted
from reid_runtime.report.document import check_report
from reid_runtime.report.people import write_people_page


@click.command("page", epilog=examples("reid-runtime gallery page site.gallery -o people.html"))
@click.argument("gallery", type=click.Path(path_type=Path), metavar="GALLERY")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="PAGE", help="FILE.html.")
@click.option("--force", is_flag=True, help="Overwrite the page.")
def command(gallery: Path, output: Path, force: bool) -> None:
    """Write the people of GALLERY to a page to browse: crops, look-alikes beside each other, quality; one file.

    The gallery lists it (`list --exports`): forgetting somebody does not reach it.
    """
    check_report(output, force)
    with Gallery.open(gallery) as file:
        rows = file.embeddings()
        names = [] if rows.identity is None else np.unique(rows.identity).tolist()
        file.record_export("page", output, names, len(rows))
        write_people_page(output, gallery.stem, rows, file.crop, force=force)
    note(f"{counted(len(names), 'person')}, in {output}")
