"""reid-runtime: a person crop of any size goes in, a unit vector comes out, the same one wherever it runs."""

from reid_runtime.adapters import EmbedBatch, EmbedBoxes
from reid_runtime.contract import Contract
from reid_runtime.embedder import Embedder, Result
from reid_runtime.errors import (
    BackendError,
    ContractError,
    DatasetError,
    ImageError,
    ReidRuntimeError,
    StorageError,
)

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Contract",
    "ContractError",
    "DatasetError",
    "EmbedBatch",
    "EmbedBoxes",
    "Embedder",
    "ImageError",
    "ReidRuntimeError",
    "Result",
    "StorageError",
]
