"""MATLAB files, in which MARS, CUHK03-NP, CUHK-SYSU and PRW keep their lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import DatasetError
from reid_runtime.install import install_line


@dataclass(frozen=True)
class MatFile:
    """A file's variables; structs have their fields as attributes, and what has one element is that element."""

    path: Path
    variables: Mapping[str, Any]

    def variable(self, *names: str) -> Any:
        """The first variable of these names that is there."""
        for name in names:
            if name in self.variables:
                return self.variables[name]
        present = ", ".join(sorted(name for name in self.variables if not name.startswith("__")))
        raise DatasetError(f"{self.path} has no variable {' or '.join(names)}; it has {present or 'none'}")

    def table(self, columns: int, *names: str) -> npt.NDArray[np.float64]:
        """The first variable of these names as an (N, columns) table, also where N is 0 or 1."""
        table = np.asarray(self.variable(*names), dtype=np.float64)
        if table.size % columns or (table.ndim > 1 and table.shape[-1] != columns):
            raise DatasetError(f"{self.path}: {names[0]} has the shape {table.shape}; expected {columns} columns")
        return table.reshape(-1, columns)

    def field(self, struct: Any, name: str | int) -> Any:
        """A field of a struct that came from this file, by its name or by its place."""
        fields = tuple(getattr(struct, "_fieldnames", ()))
        if isinstance(name, int) and name < len(fields):
            name = fields[name]
        if name not in fields:
            raise DatasetError(f"{self.path} has a struct without {name!r}; it has {', '.join(fields) or 'no fields'}")
        return getattr(struct, str(name))


def load(path: Path) -> MatFile:
    """Reads a MATLAB file of version 5 to 7; raises DatasetError where it is missing or damaged, or SciPy is."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DatasetError(
            f"{path.name} is a MATLAB file, and reading it needs SciPy: {install_line('matlab')}"
        ) from error
    if not path.is_file():
        raise DatasetError(f"{path} is missing")
    try:
        return MatFile(path, loadmat(path, squeeze_me=True, struct_as_record=False, appendmat=False))
    except Exception as error:  # What SciPy raises for a damaged file has no common root.
        raise DatasetError(f"{path} cannot be read as a MATLAB file: {error}") from error


def cells(value: Any) -> list[Any]:
    """The elements of a cell or struct array, also where it has one or none."""
    return list(np.asarray(value, dtype=object).ravel())
