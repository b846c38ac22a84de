"""Ctrl-C, SIGTERM and SIGHUP in a run: it ends between two updates, or soon and with what the last one left.

Half an update must not be saved as a state of the run. An update that takes longer than one waits is given up, and the
run is saved by another thread as it was before: weights change in the optimiser's step alone, which is waited for.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

PATIENCE = 1.0
"""Seconds that an update has to end."""
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupts:
    """Remembers a signal until the run is at a place where it can stop, or until it has to."""

    def __init__(self, save: Callable[[], None]) -> None:
        """`save` keeps what is finished, from another thread."""
        self.signal: int | None = None
        self._save = save
        self._lock = threading.Lock()
        self._is_stopped = self._is_ending = False
        self._timer = threading.Timer(PATIENCE, self._end)
        self._timer.daemon = True

    def remember(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; a second signal changes nothing."""
        again, self.signal = self.signal is not None, self.signal or number
        if not again:
            self._timer.start()
            # Straight to the file: Python's own stderr may be in the middle of a line when the signal comes.
            os.write(2, b"\nstopping after this update, or in a second\n")

    def leave(self) -> None:
        """End the run as the remembered signal would have, if there was one."""
        if self.signal is None:
            return
        self.stop()
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.signal)

    def stop(self) -> None:
        """Wait no longer."""
        self._timer.cancel()
        with self._lock:
            self._is_stopped = True
        if self._is_ending:  # a thread that saves while the interpreter shuts down may abort the process
            self._timer.join()

    def _end(self) -> None:
        with self._lock:
            if self._is_stopped:
                return
            self._is_ending = True
        with suppress(Exception):  # a full disk, weights that are not finite: the checkpoint before is still there
            self._save()
        os._exit(128 + (self.signal or 0))


@contextmanager
def deferred_interrupts(save: Callable[[], None]) -> Iterator[Interrupts]:
    """Within the block, signals that would end the run are remembered. Threads but the main one get none."""
    interrupts = Interrupts(save)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # What is ignored, as SIGHUP is under nohup, stays ignored.
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, interrupts.remember)
    try:
        yield interrupts
    finally:
        interrupts.stop()
        for number in taken:
            signal.signal(number, before[number])
