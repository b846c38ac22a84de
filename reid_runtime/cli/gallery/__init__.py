"""reid-runtime gallery: people, crops and vectors in one file; a module a verb."""

from collections.abc import Mapping
from typing import ClassVar

import click

from reid_runtime.cli import Verbs
from reid_runtime.cli.terminal import examples

_VERBS = {
    "add": "Add images or embeddings of people.",
    "list": "List the people, or what was exported.",
    "search": "Look for people: `reid-runtime search` in a gallery.",
    "page": "Write a page to browse the people.",
    "forget": "Forget people, or what has expired, to the last byte.",
    "upgrade": "Move to another model: embed the kept crops again and switch at once.",
    "export": "Write the embeddings to a .parquet or .npz file.",
    "check": "Read the whole file: is every row whole, and is anything still to be done?",
}


class _GalleryVerbs(Verbs):
    package = "reid_runtime.cli.gallery"
    verbs: ClassVar[Mapping[str, str]] = _VERBS


@click.command(
    "gallery",
    cls=_GalleryVerbs,
    epilog=examples(
        "reid-runtime gallery add site.gallery examples/crops",
        "reid-runtime gallery search site.gallery examples/crops/person-05/camera-1",
        "reid-runtime gallery forget site.gallery person-08",
    ),
)
def command() -> None:
    """People, their crops and their vectors in one SQLite file.

    A gallery is made by the first `add`, for the vectors of one model.
    """
