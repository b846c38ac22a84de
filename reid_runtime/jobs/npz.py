"""Embeddings as npz: plain arrays, no pickled objects."""

import zipfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from reid_runtime.jobs.embeddings import COLUMNS, METADATA, Embeddings, join


def write_npz(file: BinaryIO, tables: Iterable[Embeddings]) -> int:
    """Write tables of one model, at least one, one after the other, all held at once; gives the number of rows."""
    rows = join([*tables])
    arrays: dict[str, Any] = rows.columns() | {name: np.array(value) for name, value in rows.metadata().items()}
    np.savez(file, **arrays)
    return len(rows)


def read_npz(source: Path | BinaryIO) -> dict[str, Any]:
    """The columns and metadata of a file."""
    with open(source, "rb") if isinstance(source, Path) else nullcontext(source) as content:
        if not zipfile.is_zipfile(content):  # numpy takes it for a pickle then, and says how to load that unsafely
            raise ValueError("it is no .npz, or cut short")
        content.seek(0)
        with np.load(content, allow_pickle=False) as file:
            values: dict[str, Any] = {name: file[name] for name in (*COLUMNS, *METADATA) if name in file}
    return values | {name: str(values[name]) for name in METADATA if name in values}
