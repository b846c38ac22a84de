"""The folder of assets, and what was read out of it, kept as arrays."""

import hashlib
import os
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.io.atomic import atomic_write
from training.people import formats
from training.people.errors import PeopleError
from training.people.formats import Arrays

READER = "1"
"""Changes with what the readers return, so that an older cache is not taken for theirs."""
SHIPPED = ("makehuman/base.obj", "makehuman/rig/default.mhskel", "garments-cc-by/kinds.csv", "fabrics", "backgrounds")


class Assets:
    """Reads the unpacked assets; parsed files are kept in a cache, by the digest of what they were read from."""

    def __init__(self, root: Path, cache_folder: Path | None = None) -> None:
        missing = [name for name in SHIPPED if not (root / name).exists()]
        if missing:
            raise PeopleError(
                f"{root} has no assets: expected {', '.join(SHIPPED)}, missing {', '.join(missing)}; "
                "fetch them with `python -m training.people.fetch FOLDER`"
            )
        self.root = root
        self.cache_folder = cache_folder or default_cache()
        self.mesh = cache(lambda path: self.parsed(formats.read_mesh, path))
        self.target = cache(lambda path: self.parsed(formats.read_target, path))
        self.fit = cache(lambda path: self.parsed(formats.read_fit, path))
        self.pose = cache(lambda path: self.parsed(formats.read_pose, path))
        self.image = cache(self._image)

    def parsed(self, reader: Callable[[Path], Arrays], path: Path, about: str = "") -> Arrays:
        """What `reader` makes of the file, out of the cache if it was read before.

        Args:
            reader: a function from a file to arrays by name.
            path: the file.
            about: what the result depends on besides the file.

        Returns:
            Arrays by name.
        """
        digest = hashlib.sha256(path.read_bytes() + f"{READER} {reader.__name__} {about}".encode()).hexdigest()
        kept = self.cache_folder / f"{reader.__name__}-{digest[:24]}.npz"
        if not kept.exists():
            self.cache_folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(kept) as temporary, temporary.open("wb") as file:
                np.savez(file, **reader(path))  # type: ignore[arg-type]
        with np.load(kept) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def folder(self, *names: str) -> Path:
        """A folder of the assets."""
        return self.root.joinpath(*names)

    def files(self, pattern: str) -> list[Path]:
        """The files that a glob pattern finds, sorted by name."""
        return sorted(self.root.glob(pattern))

    def _image(self, path: Path) -> npt.NDArray[np.uint8]:
        return np.array(Image.open(path).convert("RGBA"))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """What each garment of the community is: top, bottom, dress, coat, shoes, hat or glasses."""
        lines = self.folder("garments-cc-by", "kinds.csv").read_text().split()[1:]
        return dict(line.split(",")[:2] for line in lines)


def default_cache() -> Path:
    """Where parsed assets and the compiled rasteriser are kept: $REID_PEOPLE_CACHE, or the user's cache folder."""
    given = os.environ.get("REID_PEOPLE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "reid-runtime" / "people"
