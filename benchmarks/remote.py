"""python -m benchmarks.remote FOLDER ADDRESS...: files to vectors, by the engine here and through servers, in turn.

Every round runs each of them once, in another order, and a server's rate is compared with the engine's of the same
round. A server on the same machine shares its cores with the client.
"""

import json
import random
import statistics
import time
from pathlib import Path

import click
import numpy as np

from benchmarks.environment import environment
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.jobs.sources import find_sources


def rates(embedders: dict[str, Embedder], paths: list[str], rounds: int) -> dict[str, list[float]]:
    """Images a second of each embedder in each round, after one that is not counted."""
    measured: dict[str, list[float]] = {name: [] for name in embedders}
    for embedder in embedders.values():
        embedder.embed(paths[:64])
    for number in range(rounds):
        order = [*embedders]
        random.Random(number).shuffle(order)
        for name in order:
            start = time.perf_counter()
            embedders[name].embed(paths)
            measured[name].append(len(paths) / (time.perf_counter() - start))
            click.echo(f"round {number}: {name} {measured[name][-1]:.1f} images/s", err=True)
    return measured


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("addresses", nargs=-1, required=True)
@click.option("--model", type=ModelPath(), help="The file that the servers run.  [base]")
@click.option("--device", default="cpu", show_default=True, help="The engine here; the servers' own, for a comparison.")
@click.option("--images", type=click.IntRange(min=64), default=512, show_default=True, help="How many of the folder.")
@click.option("--rounds", type=click.IntRange(min=2), default=5, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The JSON file to write.")
def main(
    folder: Path, addresses: tuple[str, ...], model: Path | None, device: str, images: int, rounds: int,
    output: Path | None,
) -> None:  # fmt: skip
    """Compare servers with the same engine in this process, and their vectors with its own."""
    paths = list(find_sources([str(folder)]).paths[:images])
    here = Embedder.load(model, device=device)
    embedders = {here.backend.name: here} | {each: Embedder.load(each) for each in addresses}
    expected = here.embed(paths[:64])
    measured = rates(embedders, paths, rounds)
    results = {}
    for name, values in measured.items():
        shares = [value / own for value, own in zip(values, measured[here.backend.name], strict=True)]
        difference = float(np.abs(embedders[name].embed(paths[:64]) - expected).max())
        results[name] = {"images_per_s": values, "of_this_process": shares, "largest_difference": difference}
        click.echo(
            f"{name}: {statistics.median(values):.1f} images/s, {statistics.median(shares):.3f} of this process "
            f"({min(shares):.3f} to {max(shares):.3f}), largest difference {difference:.1e}"
        )
    if output is not None:
        report = {"environment": environment(), "images": len(paths), "rounds": rounds, "results": results}
        output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
