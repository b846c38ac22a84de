"""Embeddings as npz: plain arrays, no pickled objects."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from reid_runtime.storage.rows import KINDS, METADATA, Embeddings


def write_npz(file: BinaryIO, rows: Embeddings) -> None:
    """Write one table."""
    arrays: dict[str, Any] = rows.columns() | {name: np.array(value) for name, value in rows.metadata().items()}
    np.savez(file, **arrays)


def read_npz(path: Path) -> dict[str, Any]:
    """The columns and metadata of a file."""
    with np.load(path, allow_pickle=False) as file:
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        found: dict[str, Any] = {name: file[name] for name in (*KINDS, *METADATA) if name in file}
    return found | {name: str(found[name]) for name in METADATA if name in found}
