"""python -m training people: renders a data set."""

from pathlib import Path

import click

from reid_runtime.io.text import counted, in_one_line
from training.people import dataset

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("out", type=FOLDER)
@click.option("--assets", type=FOLDER, required=True, help="The unpacked assets; see training/people/fetch.py.")
@click.option("--people", type=click.IntRange(min=1), required=True, help="How many identities.")
@click.option("--views", type=click.IntRange(min=1), default=6, show_default=True, help="Crops of each.")
@click.option("--first", type=click.IntRange(min=0), default=100_000, show_default=True, help="The first one's seed.")
@click.option("--cameras", type=click.IntRange(1, 99), default=6, show_default=True)
@click.option(
    "--test",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="So many of the last people are query and gallery.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--masks", is_flag=True, help="Write masks of the people as well, below OUT/masks.")
def people(
    out: Path, assets: Path, people: int, views: int, first: int, cameras: int, test: int, jobs: int, masks: bool
) -> None:
    """Render a data set of people who do not exist into OUT, in Market-1501's layout.

    A person follows from a seed, a crop from the person's seed, the view and the camera; the same command gives the
    same bytes, and goes on where it was stopped. OUT/index.csv says what each crop shows.
    """
    if test > people:
        raise click.UsageError(f"--test {test} of --people {people}: expected at most as many")
    plan = dataset.Plan(first, people, views, cameras, test, masks)
    done = 0
    for done in dataset.write(out, assets, plan, jobs):
        if done % 50 == 0:
            click.echo(f"{done:,} of {counted(people, 'person')}", err=True)
    click.echo(in_one_line(f"wrote {out}: {counted(people, 'person')}, {counted(people * views, 'crop')}"))
