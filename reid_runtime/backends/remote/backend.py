"""Batches go to a server: several at once, again where that is safe, and never to another model than was opened."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.base import CPU_BATCH_PIXELS, as_rows, in_batches
from reid_runtime.backends.remote.client import Client, Metadata, RefusedError, UnavailableError
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import ModelInput
from reid_runtime.model_file.address import Address
from reid_runtime.vectors import Vectors

Result = TypeVar("Result")

_ATTEMPTS = 3
"""Times that a batch is sent while the server is there and does not answer."""
_POLL = 0.2
"""Seconds between two questions to a server that is away."""
_SAME_SERVER = 0.9999
"""The least cosine of one crop's vectors then and now: the batches that a server makes of requests move their last
digits, in INT8 a little more; other weights or another input move everything."""
_ADVICE = "rows of both must not mix; serve the first again, or begin again"


class RemoteBackend:
    """One model on a server. A forward pass changes nothing there, so a batch without an answer is sent again."""

    device = "remote"
    max_batch_pixels = CPU_BATCH_PIXELS

    def __init__(
        self,
        client: Client,
        address: Address,
        metadata: Metadata,
        names: tuple[str, str | None],
        batch_size: int | None = None,
    ) -> None:
        """`names` are those of input and output; `batch_size` is of a model that takes batches of one size alone."""
        self.path, self.batch_size = address, batch_size
        self.name = f"kserve {metadata.platform}".rstrip()
        self.requests = address.requests
        self._client, self._metadata = client, metadata
        self._input, self._output = names
        self._version: str | None = None
        self._crop: tuple[ModelInput, Vectors] | None = None
        self._confirmed = time.monotonic()
        self._lock = threading.Lock()

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch in the contract's input format to (N, D) float32; BackendError with the server's own words.

        A server that goes away is waited for, and must then be the one that it was.
        """
        most = self._metadata.most_images or len(images)
        rows = [
            in_batches(self._run, images[start : start + most], self.batch_size)
            for start in range(0, len(images), most)
        ]
        return np.concatenate(rows) if len(rows) != 1 else rows[0]

    def watch(self, crop: ModelInput, vector: Vectors) -> None:
        """From now on `confirm` compares the vector of this batch of one with what it was."""
        filled: ModelInput = np.concatenate([crop] * (self.batch_size or 1))
        self._crop = filled, vector

    def confirm(self, within: float = 0.0) -> None:
        """See that the server still runs what was opened: the same statement, and the same vector of one crop.

        Does nothing where that was seen in the last `within` seconds. Raises BackendError otherwise.
        """
        with self._lock:
            if within and time.monotonic() - self._confirmed < within:
                return
            self._until_answered(self._confirm)
            self._confirmed = time.monotonic()

    def _confirm(self) -> None:
        now = self._client.metadata()
        if now != self._metadata:
            raise BackendError(f"{self.path}: the server states another model than the one that was opened: {_ADVICE}")
        if self._crop is None:
            return
        crop, before = self._crop
        answer = self._client.infer(self._input, crop, self._output)
        row = as_rows(answer.output, len(crop), str(self.path))[:1]
        if row.shape != before.shape or not _cosine(row, before) >= _SAME_SERVER:
            raise BackendError(
                f"{self.path}: the server gives another vector of one crop than when it was opened: {_ADVICE}"
            )
        self._version = answer.version

    def _run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        answer = self._until_answered(lambda: self._client.infer(self._input, images, self._output), self.confirm)
        if self._version is None:
            self._version = answer.version
        elif answer.version != self._version:  # a new one was loaded: the same weights, or not
            self.confirm()
        return as_rows(answer.output, len(images), str(self.path))

    def _until_answered(self, ask: Callable[[], Result], after_wait: Callable[[], object] = lambda: None) -> Result:
        """What `ask` gives; after a pause in which the server was not there, once `after_wait` raises nothing."""
        for attempt in range(_ATTEMPTS):
            try:
                return ask()
            except UnavailableError as error:
                if attempt == _ATTEMPTS - 1:
                    raise BackendError(f"{error}; asked {_ATTEMPTS} times") from error
                self._wait(error)
            except RefusedError as error:
                if attempt == _ATTEMPTS - 1 or self._client.is_ready():
                    raise
                self._wait(error)  # a model that is being loaded is refused, not unavailable
            after_wait()
        raise AssertionError

    def _wait(self, error: BackendError) -> None:
        end = time.monotonic() + self.path.patience
        while not self._client.is_ready():
            if time.monotonic() > end:
                raise BackendError(f"{error}; waited {self.path.patience:g} s for the server to come back") from error
            time.sleep(_POLL)


def _cosine(first: Vectors, second: Vectors) -> float:
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.vdot(first, second) / lengths) if lengths else np.nan
