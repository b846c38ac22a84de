"""Files that are there whole or not at all: written beside their name, flushed to disk, renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; when the block ends well it is flushed and takes `path`'s name.

    When the block raises, or is killed, nothing under `path` has changed. The name beside is one that no other run
    has: a killed one may have left its own behind. Raises OSError.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_folder_writable(path: Path) -> None:
    """Find out, before the work starts, whether a file of this name can be made; raises OSError."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    open(beside, "xb").close()
    beside.unlink()
