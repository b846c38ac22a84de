"""The progress bar of verbs that embed, on terminals only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

from reid_runtime.batching import WINDOW


class Advance(Protocol):
    """The call that moves a bar."""

    def __call__(self, finished: int = 1) -> None:
        """One more image, or how many were finished before."""


@contextmanager
def progress_bar(images: int) -> Iterator[Advance]:
    """A bar of so many images, and the call that moves it.

    It takes 1 for an image, or how many were finished before, which took no time and are left out of the bar. Images
    are finished a window at a time, and the bar moves with the windows: else it would take a whole window's time for
    that of its first image, and the time left would be wrong by hundreds.
    """
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=images, label="embedding", file=sys.stderr, hidden=hidden) as bar:
        done = 0

        def advance(finished: int = 1) -> None:
            nonlocal done
            if finished != 1:
                bar.length = (bar.length or 0) - finished
                return
            done += 1
            if done % WINDOW == 0 or done == bar.length:
                bar.update(done - bar.pos)

        yield advance
        bar.finish()
        bar.render_progress()
