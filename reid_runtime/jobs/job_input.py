"""What a job embeds: the images of files, or of a video's boxes."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

import numpy.typing as npt

from reid_runtime.embedder import Embedder, Result


class JobInput(Protocol):
    """N images to embed, in an order that the same input always gives."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Distinct, one an image."""

    def __len__(self) -> int:
        """How many images."""

    def digest(self, indices: range) -> str:
        """Changes where one of these images does."""

    def take(self, kept: Sequence[int]) -> Self:
        """These images, in this order."""

    def results(self, embedder: Embedder, indices: Sequence[int]) -> Iterator[Result]:
        """One for each of these images, in order, in windows counted from the first of them (`batching`)."""

    def columns(self, indices: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """The further columns of these images' rows, by name; known once `results` has given them."""
