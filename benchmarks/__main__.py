"""python -m benchmarks VERB: the benchmarks of models, by their verbs; `python -m benchmarks.VERB` is the same."""

from importlib import import_module
from typing import Any

import click

from reid_runtime.cli import run

VERBS = (
    "report",
    "compare",
    "latency",
    "throughput",
    "accuracy",
    "gpu",
    "random-weights",
    "search",
    "models",
    "growth",
)


class Verbs(click.Group):
    """Imports a verb's module when it is asked for: torch and the engines take seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of VERBS."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The module's `main`."""
        if cmd_name not in VERBS:
            return None
        command: Any = import_module(f"benchmarks.{cmd_name.replace('-', '_')}").main
        return command if isinstance(command, click.Command) else None


@click.command(cls=Verbs)
def main() -> None:
    """Measure this runtime: speed with parity, against peers, the machine's limits and earlier reports."""


if __name__ == "__main__":
    run(main)
