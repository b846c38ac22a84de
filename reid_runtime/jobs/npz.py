"""Embeddings as npz: plain arrays, no pickled objects."""

import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from reid_runtime.jobs.table import KINDS, METADATA, Embeddings


def write_npz(file: BinaryIO, rows: Embeddings) -> None:
    """Write one table."""
    arrays: dict[str, Any] = rows.columns() | {name: np.array(value) for name, value in rows.metadata().items()}
    np.savez(file, **arrays)


def read_npz(path: Path) -> dict[str, Any]:
    """The columns and metadata of a file."""
    with open(path, "rb") as content:
        if not zipfile.is_zipfile(content):  # numpy takes it for a pickle then, and tells how to load that unsafely
            raise ValueError("it is no .npz, or cut short")
    with np.load(path, allow_pickle=False) as file:
        found: dict[str, Any] = {name: file[name] for name in (*KINDS, *METADATA) if name in file}
    return found | {name: str(found[name]) for name in METADATA if name in found}
