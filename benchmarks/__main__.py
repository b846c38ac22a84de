"""python -m benchmarks VERB: the benchmarks of models, by their verbs; `python -m benchmarks.VERB` is the same."""

from importlib import import_module
from typing import Any

import click

from reid_runtime.cli import Verbs, run

_VERBS = {
    "report": "Measure everything, and write a report into a folder.",
    "compare": "Compare two reports of the same command: what became slower?",
    "latency": "Time single crops and frames of boxes.",
    "throughput": "Images a second: a folder, mixed sizes, batches, the cold start.",
    "accuracy": "Compare an artefact with its reference, crop by crop.",
    "gpu": "Compare and time what is installed on this machine's GPU.",
    "random-weights": "Write a backbone's artefacts with random weights.",
    "search": "Measure a search in a gallery of random vectors.",
    "operators": "Show in which operators a network's time goes.",
    "models": "Time models in turn, beside what they score.",
    "growth": "Measure how time and memory grow with crops, boxes and cores.",
}


class BenchmarkVerbs(Verbs):
    """Imports a verb's module when it is asked for: torch and the engines take seconds, and may be missing."""

    verbs = _VERBS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The module's `main`."""
        if cmd_name not in self.verbs:
            return None
        command: Any = import_module(f"benchmarks.{cmd_name.replace('-', '_')}").main
        return command if isinstance(command, click.Command) else None


@click.command(cls=BenchmarkVerbs)
def main() -> None:
    """Measure this runtime: speed with parity, against peers, the machine's limits and earlier reports."""


if __name__ == "__main__":
    run(main)
