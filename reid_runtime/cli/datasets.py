"""reid-runtime datasets: the data sets that can be scored, and their layouts on disk."""

import json
from typing import Any

import click

from reid_runtime.cli.terminal import examples, table
from reid_runtime.scoring.layouts.datasets import DATASETS, Dataset

_LONGEST = 60
"""Characters of what stands in one line."""


@click.command("datasets", epilog=examples("reid-runtime datasets", "reid-runtime datasets --json"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(as_json: bool) -> None:
    """List the data sets and layouts that `evaluate` reads, what each needs on disk, and its published counts.

    `evaluate FOLDER` recognises the layout, whatever the counts; `evaluate FOLDER --dataset NAME` requires a complete
    copy of that set.
    """
    if as_json:
        click.echo(json.dumps([_report(dataset) for dataset in DATASETS], indent=2))
        return
    click.echo("\n\n".join(map(_text, DATASETS)))


def _report(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "protocol": dataset.protocol,
        "needs": [list(paths) for paths in dataset.layout],
        "optional": list(dataset.optional),
        "counts": dict(dataset.counts),
        "reads": list(dataset.reads),
    }


def _text(dataset: Dataset) -> str:
    """A block of lines: the protocol behind the name, the rest below it."""
    facts = {
        "needs": [" or ".join(paths) for paths in dataset.layout],
        "may have": dataset.optional,
        "reads": dataset.reads,
        "counts": [f"{name.replace('_', ' ')} {number:,}" for name, number in dataset.counts.items()],
    }
    rows = []
    for title, values in facts.items():
        # One path a line where they are too long for one line together.
        lines = [", ".join(values)] if title == "counts" or sum(map(len, values)) <= _LONGEST else values
        rows += [(f"{'' if row else title:<8}", line) for row, line in enumerate(lines) if line]
    return "\n".join([f"{dataset.name}: {dataset.protocol}", *table(rows, indent="  ")])
