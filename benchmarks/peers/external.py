"""A peer that must not share our process: a command of another environment, driven over its standard streams.

`--external NAME=COMMAND` starts the command once, with a folder of crops as its last argument. It loads its model and
prints `ready`. Then it reads one line at a time, and for each embeds every file of the folder, in the order of their
names, all of them anew, and prints `done` when the vectors are there. The line is `embed`, or once `vectors PATH`:
then it also writes them to that file before it says so, as .npy, (N, D). At the end of its input it ends.

Its standard output is for these words alone; what it logs goes to its standard error. OMP_NUM_THREADS,
OPENBLAS_NUM_THREADS and MKL_NUM_THREADS say how many threads it may use, it runs on our cores, and
OMP_WAIT_POLICY=PASSIVE keeps its threads from spinning while others are timed. A turn may take ten times as long as its
first, and at least a minute. One that writes no vectors is timed all the same, and its row says that nobody saw any.

A whole command, here for Ultralytics; it lies with that library's environment and licence, and not here. For BoxMOT
or another library, the two lines that make `model` and `rows` are that library's:

    import sys
    from pathlib import Path
    import numpy as np
    from ultralytics import YOLO
    model = YOLO("yolo11n-cls.pt", verbose=False)
    files = [str(path) for path in sorted(Path(sys.argv[1]).iterdir())]
    print("ready", flush=True)
    for line in sys.stdin:
        rows = [row.cpu().numpy() for row in model.embed(files, device="cpu", verbose=False)]
        word, _, path = line.strip().partition(" ")
        if word == "vectors":
            np.save(path, np.stack(rows))
        print("done", flush=True)
"""

import os
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import ReidRuntimeError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PATIENCE = 60.0
"""The least number of seconds that a turn may take."""
_TIMES = 10
"""How many times its first turn each later one may take, and the loading how many times the patience."""


class ExternalError(ReidRuntimeError):
    """An external command that does not do what was agreed."""


class VectorsError(ExternalError):
    """An external command that keeps to its turns and does not show its vectors."""


class ExternalPeer:
    """One such command, from its `ready` until `close`."""

    def __init__(self, name: str, command: str, folder: Path, threads: int, patience: float = _PATIENCE) -> None:
        """Raises ExternalError where it cannot be started or does not become ready."""
        self.name = name
        self._patience = patience
        self._limit: float | None = None
        """Seconds of a turn, once the first has been seen."""
        environment = os.environ | dict.fromkeys(_THREADS, str(threads)) | {"OMP_WAIT_POLICY": "PASSIVE"}
        try:
            words = [*shlex.split(command), str(folder)]
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
            )
        except (OSError, ValueError) as error:  # ValueError: quotes that do not close
            raise ExternalError(f"external command {name!r} cannot be started: {error}: {command}") from error
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self._expect("ready")

    def vectors(self, path: Path, count: int) -> npt.NDArray[np.float32]:
        """The (count, D) vectors that it writes to `path`, for one turn more; raises VectorsError without any."""
        path.unlink(missing_ok=True)  # what another left there is not its own
        self._turn(f"vectors {path}")
        try:
            rows = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise VectorsError(
                f"external command {self.name!r} was asked for `vectors {path.name}` and wrote no .npy file: {error}"
            ) from error
        if rows.ndim != 2 or len(rows) != count or not np.issubdtype(rows.dtype, np.floating):
            raise VectorsError(
                f"external command {self.name!r}: expected ({count}, D) floating-point vectors, a row a file in the "
                f"order of their names, found {rows.dtype} of shape {rows.shape}"
            )
        if not (np.isfinite(rows).all() and np.linalg.norm(rows, axis=1).all()):
            raise VectorsError(f"external command {self.name!r}: expected finite vectors, none of them all zeros")
        return np.asarray(rows, np.float32)

    def embed(self, files: Sequence[Path]) -> None:
        """All files of its folder, once; raises ExternalError where it says anything but `done`, or nothing."""
        self._turn("embed")

    def close(self) -> None:
        """End it: its input ends, and where that does not end it, it is killed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(min(10, self._patience))
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _turn(self, line: str) -> None:
        assert self._process.stdin is not None
        started = time.perf_counter()
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # ValueError: it was closed
            raise ExternalError(f"external command {self.name!r} has ended: {error}") from error
        self._expect("done")
        if self._limit is None:
            self._limit = max(self._patience, _TIMES * (time.perf_counter() - started))

    def _expect(self, word: str) -> None:
        """Raises ExternalError, with the process killed, unless the next line is this one and comes in time."""
        limit = self._patience * _TIMES if self._limit is None else self._limit
        try:
            said = self._lines.get(timeout=limit)
        except queue.Empty:
            said, found = None, f"nothing within {limit:.0f} s"
        else:
            found = "the end of its output" if said is None else f"{said!r}"
        if said != word:
            self._process.kill()
            self._process.wait()
            raise ExternalError(
                f"external command {self.name!r}: expected the line '{word}', found {found}; its standard output is "
                "for 'ready' and 'done' alone, what it logs belongs on its standard error"
            )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)


def parse(option: str) -> tuple[str, str]:
    """NAME=COMMAND."""
    name, _, command = option.partition("=")
    if not name.strip() or not command.strip():
        raise ExternalError(f"expected NAME=COMMAND for an external peer, found {option!r}")
    return name.strip(), command.strip()
