"""reid-runtime merge: files and folders of embeddings to one file."""

from pathlib import Path

import click

from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.merge import merge


@click.command("merge")
@click.argument("parts", nargs=-1, required=True, metavar="PART...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT",
    help=f"{' or '.join(f'FILE{suffix}' for suffix in FORMATS)}.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output file.")
@click.option(
    "--partial", "allow_missing", is_flag=True, help="Merge what is there, though parts or shards are missing."
)
def command(parts: tuple[str, ...], output: Path, force: bool, allow_missing: bool) -> None:
    """Merge PART...: folders that `embed -o FOLDER/` wrote and files of embeddings, into one, ordered by id.

    Two embedding spaces or model files, an id that comes twice, a part that is missing of a job, and a shard that is
    missing of N are errors, and nothing is written. A .parquet is written as its rows are read, in memory that does
    not grow with them.
    """
    rows = merge(parts, output, force=force, allow_missing=allow_missing)
    click.echo(f"merged {rows} rows of {len(parts)} inputs, in {output}", err=True)
