"""How far a build has come, and the way to stop it: TensorRT's progress monitor, behind one function."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt

Progress = Callable[[float, str], None]
"""Called with the part that is done, 0 to 1 and never less than before, and the name of the phase; from any thread."""


def no_progress(part: float, phase: str) -> None:
    """The Progress of a build that nobody watches."""


class BuildProgress:
    """How far a build has come by its phases, and whether it shall go on."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._furthest = 0.0
        self.cancelled = threading.Event()
        self.failure: BaseException | None = None
        """What the Progress raised: TensorRT would only print it."""

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, inside the current step of its parent."""
        with self._lock:
            above = None if parent is None else self._phases.get(parent)
            done, total = (0.0, 1.0) if above is None else (above.done, above.step)
            self._phases[phase] = _Phase(done, total / max(1, steps), done + total)
            self._report(done, phase)

    def step(self, phase: str) -> bool:
        """A step of it is done; says whether to go on."""
        with self._lock:
            current = self._phases.get(phase)
            if current is not None:
                current.done = min(current.end, current.done + current.step)
                self._report(current.done, phase)
        return not self.cancelled.is_set()

    def finish(self, phase: str) -> None:
        """It is over, with or without all of its steps."""
        with self._lock:
            ended = self._phases.pop(phase, None)
            if ended is not None and not self.cancelled.is_set():
                self._report(ended.end, phase)

    def _report(self, done: float, phase: str) -> None:
        self._furthest = max(self._furthest, done)
        try:
            self._progress(self._furthest, phase)
        except BaseException as error:
            self.failure = error
            self.cancelled.set()


@dataclass
class _Phase:
    """Parts of the whole build: what is done, what a step adds, and where the phase ends."""

    done: float
    step: float
    end: float


def progress_monitor(trt: ModuleType, state: BuildProgress) -> "tensorrt.IProgressMonitor":
    """TensorRT's monitor for a Watch. It must outlive the build; its methods are called from TensorRT's own threads.

    https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Core/ProgressMonitor.html
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]  # known only at run time
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            state.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return state.step(phase_name)  # False cancels the build

        def phase_finish(self, phase_name: str) -> None:
            state.finish(phase_name)

    return Monitor()
