"""How far a run is: a bar on a terminal, and elsewhere a line now and then."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

import click
from tqdm import tqdm

SILENCE = 60.0
"""Seconds after which a line comes although no measures are due: updates of a large network take that long."""


class ProgressLog:
    """Counts a run's updates, for people to watch."""

    def __init__(self, name: str, updates: int, done: int) -> None:
        self._updates, self._done, self._spoken = updates, done, time.monotonic()
        # On a terminal alone: elsewhere a bar would be one endless line.
        self._bar = tqdm(total=updates, initial=done, desc=name, disable=not sys.stderr.isatty())

    def __enter__(self) -> "ProgressLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def update(self) -> None:
        """One more is done."""
        self._done += 1
        self._bar.update()
        if time.monotonic() - self._spoken > SILENCE:
            self._say("")

    def show(self, measures: Mapping[str, float]) -> None:
        """The record of the last updates, as `Metrics.write` gives it."""
        self._bar.set_postfix(loss=f"{measures['loss']:.4f}", agreement=f"{measures['agreement']:.3f}")
        self._say(
            f": loss {measures['loss']:.4f}, agreement {measures['agreement']:.3f}, "
            f"{measures['images_per_second']:.1f} images/s"
        )

    def _say(self, text: str) -> None:
        if self._bar.disable:
            click.echo(f"update {self._done} of {self._updates}{text}", err=True)
        self._spoken = time.monotonic()
