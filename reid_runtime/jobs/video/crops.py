"""The crops of a video's boxes as files: CAMERA/TRACK/FRAME.jpg in a folder."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from reid_runtime.errors import StorageError
from reid_runtime.images.resize import Pixels
from reid_runtime.jobs.embeddings import Embeddings

_QUALITY = 95


@dataclass(frozen=True)
class CropFolder:
    """A folder that crops are written into."""

    path: Path

    def write(self, name: str, pixels: Pixels) -> None:
        """Write the crop, (H, W, 3) uint8 RGB, as a JPEG file of this name; raises StorageError."""
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=_QUALITY, subsampling=0)
        except OSError as error:
            raise StorageError(f"{path}: the crop could not be written: {error}") from error

    def check(self, camera: str, force: bool) -> None:
        """Raises StorageError where there is something else already, or without `force` crops of this camera."""
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise StorageError(f"{self.path} is there, and no folder; choose another name for the crops")
        own = self.path / _plain(camera)
        if not force and own.is_dir() and any(own.iterdir()):
            raise StorageError(
                f"{own} is not empty: choose another folder, or --camera, for the crops, or pass --force"
            )


def crop_name(camera: str, track: str, frame: int, name: str) -> str:
    """The file of a box in such a folder; its id, `name`, ends with its number where it has no track."""
    if track:
        return f"{_plain(camera)}/{_plain(track)}/{frame:06}.jpg"
    return f"{_plain(camera)}/{frame:06}-{_plain(name.rpartition('/')[2])}.jpg"


def crop_paths(folder: str, rows: Embeddings) -> dict[str, str]:
    """Those of the crops of a table that are in a folder, by id; none for a table that is not of a video's boxes."""
    if rows.frame is None or rows.camera is None or rows.track is None:
        return {}
    each = zip(rows.camera.tolist(), rows.track.tolist(), rows.frame.tolist(), rows.id.tolist(), strict=True)
    paths = {name: os.path.join(folder, crop_name(camera, track, frame, name)) for camera, track, frame, name in each}
    return {name: path for name, path in paths.items() if os.path.isfile(path)}


def _plain(text: str) -> str:
    """As a file's name: what may not be in one becomes %XX."""
    name = quote(text, safe=" ")
    return name.replace(".", "%2E") if not name.strip(".") else name
