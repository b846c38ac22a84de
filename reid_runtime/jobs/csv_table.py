"""Embeddings as CSV, for other programs: it holds no contract, so nothing here reads it again.

A heading, then a row an image: all columns as they are called, `artefact_id` and `contract_id`, and the numbers of
the vector as `embedding_0` and so on, in nine digits, from which the same float32 is read. Where there is an error
there are no numbers; what is not a number is empty. Texts are in one line, and begin with an apostrophe where a
spreadsheet would take them for a formula.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from reid_runtime.io.text import csv_cell
from reid_runtime.jobs.embeddings import Embeddings


def write_csv(file: BinaryIO, tables: Iterable[Embeddings], notes: Mapping[str, str]) -> int:
    """Write tables of one model, one after the other; gives the number of rows. There is no room for `notes`."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table, written = csv.writer(text, lineterminator="\n"), 0
    for rows in tables:
        columns = {name: values for name, values in rows.columns().items() if name != "embedding"}
        dimension = rows.embedding.shape[1]
        if not written:
            numbers = [f"embedding_{place}" for place in range(dimension)]
            table.writerow([*columns, "artefact_id", "contract_id", *numbers])
        cells = [[_cell(each) for each in values.tolist()] for values in columns.values()]
        ids = [rows.artefact_id, rows.contract_id]
        for row, vector in enumerate(rows.embedding):
            numbers = [""] * dimension if np.isnan(vector[0]) else [f"{each:.9g}" for each in vector.tolist()]
            table.writerow([*(column[row] for column in cells), *ids, *numbers])
        written += len(rows)
    text.flush()
    text.detach()
    return written


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return csv_cell(value)
    return "" if value != value else f"{value:.9g}" if isinstance(value, float) else str(value)


def refuse_csv(source: Path | BinaryIO) -> NoReturn:
    """Raises ValueError: what may be compared with what, a CSV file does not say."""
    raise ValueError("a .csv is written for other programs and holds no contract: name a .npz or .parquet")
