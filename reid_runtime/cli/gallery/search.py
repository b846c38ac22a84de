"""reid-runtime gallery search: `reid-runtime search` in a gallery."""

import click

from reid_runtime.cli.search import command as search_command
from reid_runtime.cli.terminal import examples

command = click.Command(
    "search",
    callback=search_command.callback,
    params=[
        click.Argument(["gallery"], metavar="GALLERY"),
        click.Argument(["queries"], nargs=-1, metavar="QUERY..."),
        *(each for each in search_command.params if each.name not in ("gallery", "queries", "names", "root")),
        click.Option(["--names"], hidden=True),
        click.Option(["--root"], hidden=True),
    ],
    help="Look for the people of QUERY... in GALLERY: `reid-runtime search QUERY... --in GALLERY`, with the same "
    "options, answers and receipts.",
    epilog=examples("reid-runtime gallery search site.gallery examples/crops/person-05/camera-1"),
)
"""Built of the other command's options, so that the two never differ."""
