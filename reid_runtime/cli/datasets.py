"""reid-runtime datasets: the data sets that can be scored, and their layouts on disk."""

import json
import textwrap
from typing import Any

import click

from reid_runtime.scoring.layouts.datasets import DATASETS, Dataset


@click.command("datasets")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(as_json: bool) -> None:
    """List the data sets and layouts that `evaluate` reads, what each needs on disk, and its published counts.

    `evaluate FOLDER` recognises the layout, whatever the counts; `evaluate FOLDER --dataset NAME` requires a complete
    copy of that set.
    """
    if as_json:
        click.echo(json.dumps([_report(dataset) for dataset in DATASETS], indent=2))
        return
    width = max(len(dataset.name) for dataset in DATASETS)
    click.echo("\n\n".join(_text(dataset, width) for dataset in DATASETS))


def _report(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "protocol": dataset.protocol,
        "needs": [list(paths) for paths in dataset.layout],
        "optional": list(dataset.optional),
        "counts": dict(dataset.counts),
        "reads": list(dataset.reads),
    }


def _text(dataset: Dataset, width: int) -> str:
    """A block of lines: the protocol behind the name, the rest below it."""
    facts = {
        "needs": [" or ".join(paths) for paths in dataset.layout],
        "may have": dataset.optional,
        "reads": dataset.reads,
        "counts": [f"{name.replace('_', ' ')} {number:,}" for name, number in dataset.counts.items()],
    }
    lines = textwrap.wrap(dataset.protocol, 90)
    for title, values in facts.items():
        # One value a line where they are too long for one line together.
        rows = [", ".join(values)] if sum(map(len, values)) <= 80 else values
        lines += [f"{'' if row else title:<8}  {line}" for row, line in enumerate(rows) if line]
    return "\n".join(f"{'' if row else dataset.name:<{width}}  {line}" for row, line in enumerate(lines))
