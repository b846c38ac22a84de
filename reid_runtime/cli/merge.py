"""reid-runtime merge: files and folders of embeddings to one file."""

import os
from pathlib import Path

import click

from reid_runtime.cli.terminal import examples, note
from reid_runtime.io.remote import is_url
from reid_runtime.io.text import counted, in_one_line
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.merge import merge


@click.command(
    "merge",
    epilog=examples(
        "reid-runtime embed examples/crops -o parts/ --resume",
        "reid-runtime merge parts/ -o crops.npz",
    ),
)
@click.argument("parts", nargs=-1, required=True, metavar="PART...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT",
    help=f"{' or '.join(f'FILE{suffix}' for suffix in FORMATS)}.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output file.")
@click.option(
    "--partial", "allow_missing", is_flag=True, help="Merge what is there, though parts or shards are missing."
)
@click.option("--prefix", is_flag=True, help="Put the name of its input before each id: `cam1.npz` gives `cam1/...`.")
def command(parts: tuple[str, ...], output: Path, force: bool, allow_missing: bool, prefix: bool) -> None:
    """Merge PART...: folders that `embed -o FOLDER/` wrote and files of embeddings, into one, ordered by id.

    Two embedding spaces or model files, an id that comes twice, a part that is missing of a job, and a shard that is
    missing of N are errors, and nothing is written. A .parquet is written as its rows are read, in memory that does
    not grow with them.
    """
    for name in parts:
        if not is_url(name) and not os.path.exists(name):
            raise click.BadParameter(in_one_line(f"{name}: no such file or folder"))
    rows = merge(parts, output, force=force, allow_missing=allow_missing, prefix=prefix)
    note(f"merged {counted(rows, 'row')} of {counted(len(parts), 'input')}, in {output}")
