"""reid-runtime datasets: what can be scored, and how it must lie on disk."""

import json
import textwrap
from typing import Any

import click

from reid_runtime.scoring.layouts.datasets import DATASETS, Dataset


@click.command("datasets")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(as_json: bool) -> None:
    """List the data sets and layouts that `evaluate` reads, what each needs on disk, and its published counts.

    `evaluate FOLDER` recognises the layout, whatever the counts; `evaluate FOLDER --dataset NAME` takes nothing but
    a whole copy of that set.
    """
    if as_json:
        click.echo(json.dumps([_facts(known) for known in DATASETS], indent=2))
        return
    width = max(len(known.name) for known in DATASETS)
    click.echo("\n\n".join(_text(known, width) for known in DATASETS))


def _facts(known: Dataset) -> dict[str, Any]:
    return {
        "name": known.name,
        "protocol": known.protocol,
        "needs": [list(names) for names in known.layout],
        "optional": list(known.optional),
        "counts": dict(known.counts),
    }


def _text(known: Dataset, width: int) -> str:
    """A block of lines: the name beside the protocol, the rest below it."""
    facts = {
        "needs": [" or ".join(names) for names in known.layout],
        "may have": known.optional,
        "counts": [f"{name.replace('_', ' ')} {number:,}" for name, number in known.counts.items()],
    }
    first, *others = textwrap.wrap(known.protocol, 90)
    lines = [f"{known.name:<{width}}  {first}", *(f"{'':<{width}}  {line}" for line in others)]
    for title, words in facts.items():
        # One word a line where they are paths too long to stand side by side.
        joined = [", ".join(words)] if sum(map(len, words)) <= 80 else list(words)
        for place, line in enumerate(joined if words else []):
            lines.append(f"{'':<{width}}  {title if place == 0 else '':<8}  {line}")
    return "\n".join(lines)
