"""Ctrl-C and SIGTERM between updates, never inside one: half an update must not be saved as a state of the run."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Remembers a signal until the run is at a place where it can stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def remember(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; a second signal does not wait."""
        again, self.signal = self.signal is not None, number
        if again:
            self.leave()
        # Straight to the file: Python's own stderr may be in the middle of a line when the signal comes.
        os.write(2, b"\nstopping after this update; press Ctrl-C again to stop now\n")

    def leave(self) -> None:
        """End the run as the remembered signal would have, if there was one."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(143)
        if self.signal is not None:
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts() -> Iterator[Interrupts]:
    """Within the block, Ctrl-C and SIGTERM are remembered. Threads but the main one get none."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts.remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
