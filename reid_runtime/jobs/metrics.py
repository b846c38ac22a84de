"""Counters of a running job, in a file of Prometheus's text format: what node_exporter's textfile collector reads."""

import logging
import time
from collections import Counter
from pathlib import Path

from reid_runtime import __version__
from reid_runtime.embedder import Embedder, Result
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.stage_times import StageTimes

_EVERY = 10.0
"""Seconds between two writes of the file while the job runs."""

_Sample = tuple[dict[str, str], float]
"""Labels and a value."""

_LOG = logging.getLogger(__name__)


class JobMetrics:
    """What this run of a job has done so far.

    Args:
        embedder: Whose stages are timed.
        images: How many the job has.
        path: The file, which is replaced as a whole every ten seconds and at the end; None for none.

    Raises:
        StorageError: Where the file cannot be written.
    """

    def __init__(self, embedder: Embedder, images: int, path: Path | None) -> None:
        if path is not None:
            ensure_writable(path, force=True)
        self.path, self.images = path, images
        self.outcomes = Counter(embedded=0, failed=0, resumed=0)
        self.reasons: Counter[str] = Counter()
        self._times, self._before = embedder.times, embedder.times.totals()
        self._info = {
            "version": __version__,
            "backend": embedder.backend.name,
            "contract_id": embedder.contract.contract_id,
            "artefact_id": embedder.artefact_id,
        }
        self._started, self._begin = time.time(), time.monotonic()
        self._next = self._begin

    @property
    def seconds(self) -> float:
        """Since the job began."""
        return time.monotonic() - self._begin

    @property
    def times(self) -> StageTimes:
        """To which the job adds its own stages."""
        return self._times

    def stage_seconds(self) -> dict[str, float]:
        """Of this run, by stage."""
        return {stage: total.seconds for stage, total in self._times.totals(self._before).items()}

    def resume(self, images: int) -> None:
        """So many were finished by an earlier run."""
        self.outcomes["resumed"] = images
        self._write_now_and_then()

    def count(self, result: Result) -> None:
        """One more is finished."""
        self.outcomes["embedded" if result.error is None else "failed"] += 1
        self.reasons.update(result.reasons)
        self._write_now_and_then()

    def end(self, succeeded: bool) -> None:
        """Write the last state."""
        self._write(running=False, succeeded=succeeded)

    def _write_now_and_then(self) -> None:
        if self.path is not None and time.monotonic() >= self._next:
            self._write(running=True, succeeded=False)
            self._next = time.monotonic() + _EVERY

    def _write(self, running: bool, succeeded: bool) -> None:
        if self.path is None:
            return
        try:
            with atomic_write(self.path) as temporary:
                temporary.write_text(self.text(running, succeeded), encoding="utf-8")
        except OSError as error:  # a full disk: the job itself goes on
            _LOG.warning("%s is not written: %s", self.path, error.strerror)

    def text(self, running: bool, succeeded: bool) -> str:
        """The file's content."""
        totals = self._times.totals(self._before)
        outcomes = [({"outcome": name}, float(count)) for name, count in self.outcomes.items()]
        reasons = [({"reason": code}, float(count)) for code, count in sorted(self.reasons.items())]
        seconds = [({"stage": stage}, total.seconds) for stage, total in totals.items()]
        images = [({"stage": stage}, float(total.images)) for stage, total in totals.items()]
        return (
            _family("images_total", "Images that are finished, by outcome; resumed: by an earlier run.", outcomes)
            + _family("doubtful_images_total", "Images hardly worth their vectors, by reason.", reasons)
            + _family("stage_seconds_total", "Seconds by stage; threads add up.", seconds)
            + _family("stage_images_total", "Images that went through a stage.", images)
            + _family("job_images", "Images of the job.", [({}, float(self.images))])
            + _family("job_running", "1 while the job runs.", [({}, float(running))])
            + _family("job_succeeded", "1 once the job has ended well.", [({}, float(succeeded))])
            + _family("job_started_timestamp_seconds", "When the job began.", [({}, self._started)])
            + _family("job_updated_timestamp_seconds", "When this was written.", [({}, time.time())])
            + _family("job_info", "What runs: always 1.", [(self._info, 1.0)])
        )


def _family(name: str, explanation: str, samples: list[_Sample]) -> str:
    """https://prometheus.io/docs/instrumenting/exposition_formats/, the text format."""
    name = f"reid_runtime_{name}"
    lines = [f"# HELP {name} {explanation}", f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"]
    for labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
