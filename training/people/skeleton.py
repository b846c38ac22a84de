"""The rig: bones, their joints in a body of any shape, and what moves when some of them turn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Rotations = Mapping[str, Matrix]

SIDES = ("L", "R")
HANGING = tuple(f"hanging.{side}" for side in SIDES)
"""Not bones of the rig: what hangs from a hand follows its place but never turns with it."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The rig's bones in its own order; `HANGING` come after them."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    """Row of each bone's parent, -1 at the root."""
    heads: tuple[npt.NDArray[np.int64], ...]
    """Base vertices whose mean is where each bone starts."""
    tails: tuple[npt.NDArray[np.int64], ...]

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each bone's map in `moves`."""
        return {bone: row for row, bone in enumerate((*self.bones, *HANGING))}

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Rows of the bones, parents first."""
        order: list[int] = []
        while len(order) < len(self.bones):
            order += [
                row for row, parent in enumerate(self.parents) if row not in order and (parent < 0 or parent in order)
            ]
        return tuple(order)

    def start(self, vertices: npt.NDArray[np.float32]) -> Matrix:
        """(B, 3) where the bones start in a body."""
        return _means(vertices, self.heads)

    def end(self, vertices: npt.NDArray[np.float32]) -> Matrix:
        """(B, 3) where the bones end in a body."""
        return _means(vertices, self.tails)

    def moves(self, start: Matrix, rotations: Rotations) -> npt.NDArray[np.float32]:
        """Affine maps of all bones when some of them turn about their starts.

        Args:
            start: (B, 3) where the bones start.
            rotations: (3, 3) by bone, in the axes of the rest pose.

        Returns:
            (B + 2, 3, 4) maps from the rest pose, those of `HANGING` last.
        """
        maps: list[Matrix] = [np.eye(4)] * len(self.bones)
        for row in self.order:
            above = maps[self.parents[row]] if self.parents[row] >= 0 else np.eye(4)
            turn = rotations.get(self.bones[row])
            if turn is not None:
                local = np.eye(4)
                local[:3, :3] = turn
                local[:3, 3] = start[row] - turn @ start[row]
                above = above @ local
            maps[row] = above
        for side in SIDES:
            row = self.rows[f"finger3-1.{side}"]
            hang = np.eye(4)
            hang[:3, 3] = maps[row][:3, :3] @ start[row] + maps[row][:3, 3] - start[row]
            maps.append(hang)
        # Rounded in the end: what the machine's multiplication loses in the last bits of a double is gone.
        return np.ascontiguousarray(np.array(maps)[:, :3], dtype=np.float32)


def _means(vertices: npt.NDArray[np.float32], groups: tuple[npt.NDArray[np.int64], ...]) -> Matrix:
    counts = np.array([len(group) for group in groups])
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(vertices[np.concatenate(groups)].astype(np.float64), starts, axis=0)
    return np.asarray(sums / counts[:, None])


def read_skeleton(path: Path) -> Skeleton:
    """The skeleton of a `.mhskel` file."""
    file = json.loads(path.read_text())
    bones = tuple(file["bones"])
    row = {bone: k for k, bone in enumerate(bones)}

    def joints(end: str) -> tuple[npt.NDArray[np.int64], ...]:
        return tuple(np.array(file["joints"][file["bones"][bone][end]], np.int64) for bone in bones)

    parents = tuple(row.get(file["bones"][bone]["parent"], -1) for bone in bones)
    return Skeleton(bones, parents, joints("head"), joints("tail"))
