"""A peer that must not share our process: a command of another environment, driven over its standard input.

The command is started once with the folder of crops as its last argument. It loads its model and prints one line,
`ready`. For each line that it then reads it embeds every file of the folder, all of them anew, and prints one line
when the vectors are there; at the end of its input it ends. What is timed is from the one line to the other.
OMP_NUM_THREADS, OPENBLAS_NUM_THREADS and MKL_NUM_THREADS say how many threads it may use, and it runs on our cores.

Such a command for a library with a method `embed` is some ten lines; it lies with that library's environment and
licence, not here.
"""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from reid_runtime.errors import ReidRuntimeError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ExternalError(ReidRuntimeError):
    """An external command that does not do what was agreed."""


class ExternalPeer:
    """One such command, from its `ready` until `close`."""

    def __init__(self, name: str, command: str, folder: Path, threads: int) -> None:
        """Raises ExternalError where it cannot be started or does not become ready."""
        self.name = name
        words = [*shlex.split(command), str(folder)]
        environment = os.environ | dict.fromkeys(_THREADS, str(threads))
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
            )
        except (OSError, IndexError) as error:
            raise ExternalError(f"external command {name!r} cannot be started: {error}") from error
        said = self._line()
        if said != "ready":
            self.close()
            raise ExternalError(f"external command {name!r}: expected the line 'ready', it said {said!r}")

    def embed(self, files: Sequence[Path]) -> None:
        """All files of the folder, once; raises ExternalError where the command ends before it is done."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("embed\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # ValueError: it was closed
            raise ExternalError(f"external command {self.name!r} has ended: {error}") from error
        if not self._line():
            raise ExternalError(f"external command {self.name!r} ended with {self._process.wait()} before it was done")

    def close(self) -> None:
        """End it: its input ends, and where that does not end it, it is killed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def parse(option: str) -> tuple[str, str]:
    """NAME=COMMAND."""
    name, _, command = option.partition("=")
    if not name.strip() or not command.strip():
        raise ExternalError(f"expected NAME=COMMAND for an external peer, found {option!r}")
    return name.strip(), command.strip()
