"""A tree of people: `person-0001/camera-1/image.jpg`, and `unsure/`, as `evaluate`, training and galleries read it."""

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from reid_runtime.errors import StorageError
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.jobs.formats import read_embeddings, write_embeddings

TABLE = "embeddings.npz"
"""In the tree: who is who, by the ids that were given; what a later run takes the names from."""
UNSURE = "unsure"
_CAMERA = re.compile("(?i)(cam|camera|view|cctv|channel)([ _-].+|[0-9]+)")
_ODD = re.compile(r"[^\w.-]+")


def write_people_folder(
    folder: Path, rows: Embeddings, paths: Mapping[str, str], *, link: bool = False, force: bool = False
) -> None:
    """Write the images of people into a tree, which appears under its name when it is complete.

    Args:
        folder: What is written.
        rows: With the column `identity`; an empty one is unsure.
        paths: The image of each id; one that is not there has none.
        link: Whether to make symbolic links in place of copies.
        force: Whether to replace an earlier tree of this kind.

    Raises:
        StorageError: Where something else is in the way, or an image cannot be copied; then nothing has changed.
    """
    check_people_folder(folder, force)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    has_cameras = rows.camera is not None and bool((rows.camera != "").any())
    seen: set[Path] = set()
    try:
        temporary.mkdir(parents=True)
        for row, name in enumerate(rows.id.tolist()):
            if name not in paths:
                continue
            person = UNSURE if rows.identity is None else str(rows.identity[row]) or UNSURE
            camera = _camera("" if rows.camera is None else str(rows.camera[row])) if has_cameras else ""
            target = _free(temporary / person / camera / Path(paths[name]).name, seen)
            target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                target.symlink_to(os.path.abspath(paths[name]))
            else:
                shutil.copyfile(paths[name], target)
        write_embeddings(temporary / TABLE, rows)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        raise StorageError(f"{folder} could not be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_people_folder(folder: Path, force: bool) -> None:
    """Raises StorageError where a tree cannot be written: only an earlier one is ever replaced, and with `force`."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / TABLE).is_file():
        raise StorageError(f"{folder} is there, and no tree of people that was made here; choose another name")
    if not force:
        raise StorageError(f"{folder} exists and is not overwritten; choose another name, or pass --force")


def names_before(output: Path) -> dict[str, str]:
    """Who was who in an earlier run with this output, a file or a tree, by id; empty where there was none."""
    path = output / TABLE if output.is_dir() else output
    if not path.is_file():
        return {}
    rows = read_embeddings(path)
    return {} if rows.identity is None else dict(zip(rows.id.tolist(), rows.identity.tolist(), strict=True))


def _camera(name: str) -> str:
    plain = _ODD.sub("_", name)
    return plain if _CAMERA.fullmatch(plain) else f"camera-{plain or 'unknown'}"


def _free(path: Path, seen: set[Path]) -> Path:
    free, number = path, 1
    while free in seen:
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    seen.add(free)
    return free
