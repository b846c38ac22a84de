"""The manifest of a folder of parts: what is the same for all of them."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from reid_runtime.batching import WINDOW
from reid_runtime.errors import StorageError
from reid_runtime.images.limits import DEFAULT_LIMITS, changed_limits
from reid_runtime.io.decode import decode
from reid_runtime.io.folder import Folder
from reid_runtime.jobs.shard import Shard

MANIFEST = "manifest.json"
PART_IMAGES = 2 * WINDOW
"""Images of a part: what a killed job does again at most, and what it holds in memory. Full windows, so that a part's
batches are the same whatever came before.
"""

_FORMAT = 3
_LARGEST = 256 << 20
"""Bytes of a manifest that are read at most: room for the digests of three million parts."""
_NAMES_OF_1 = {"pictures": "images", "part_pictures": "part_images"}
"""How format 1 called the fields that have another name now."""


@dataclass(frozen=True)
class Manifest:
    """A job: its model, and how its images are cut into parts."""

    contract: str
    """The contract's JSON."""
    contract_id: str
    artefact_id: str
    backend: str
    """The engine, device and precision, by the backend's name."""
    shard: str
    """i/n."""
    on_error: str
    images: int
    """How many the shard has."""
    version: str
    """The package's, for people."""
    part_images: int = PART_IMAGES
    digests: tuple[str, ...] = ()
    """Of each part's images, as `Sources.digest` gives them; none in formats 1 and 2."""
    limits: str = repr(DEFAULT_LIMITS)
    """Which images are refused for their size or cost."""

    @property
    def parts(self) -> int:
        """How many parts there will be."""
        return -(-self.images // self.part_images)

    def images_of(self, part: int) -> range:
        """Which of the images a part is made of."""
        start = part * self.part_images
        return range(start, max(start, min(start + self.part_images, self.images)))

    def write(self, folder: Folder) -> None:
        """Write it into the folder; raises StorageError."""
        values = {"format": _FORMAT} | dataclasses.asdict(self)
        values["digest"] = _digest(values)
        folder.write(MANIFEST, (json.dumps(values, indent=2) + "\n").encode())


def read_manifest(folder: Folder) -> Manifest:
    """The manifest of a folder of parts; raises StorageError."""
    if MANIFEST not in folder.names():
        raise StorageError(f"{folder.name} has no {MANIFEST}: expected a folder that `reid-runtime embed` wrote")
    with folder.open(MANIFEST) as file:
        content = file.read(_LARGEST)
    try:
        values: dict[str, Any] = json.loads(content)
        digest = values.pop("digest", None)
        if digest != _digest(values) and values["format"] == _FORMAT:
            raise ValueError("it was altered: its digest is another")
        version = values.pop("format")
        if version not in (1, 2, _FORMAT):
            raise ValueError(f"expected format {_FORMAT}, found {version!r}")
        if version != _FORMAT:
            values |= {"digests": [], "limits": repr(DEFAULT_LIMITS)}
        if version == 1:
            values = {_NAMES_OF_1.get(name, name): value for name, value in values.items()}
        manifest: Manifest = decode(Manifest, values, "it")
        if manifest.images < 0 or manifest.part_images < 1:
            raise ValueError(f"it has {manifest.images} images in parts of {manifest.part_images}")
        if version == _FORMAT and len(manifest.digests) != manifest.parts:
            raise ValueError(f"it has {manifest.parts} parts and the digests of {len(manifest.digests)}")
        Shard.parse(manifest.shard)
        return manifest
    except Exception as error:  # damage comes in many kinds
        raise StorageError(f"{folder.name}/{MANIFEST} is no manifest of this version: {error}") from error


def _digest(values: dict[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()}"


_NAMES = {
    "contract_id": "contract id",
    "artefact_id": "model file",
    "backend": "backend",
    "shard": "shard",
    "on_error": "--on-error",
    "part_images": "images a part",
}


def check_same_job(folder: Folder, before: Manifest, now: Manifest) -> None:
    """Refuse to go on with another job than the one in the folder; StorageError with both values."""
    differing = [
        f"{words} {getattr(before, name)}, now {getattr(now, name)}"
        for name, words in _NAMES.items()
        if getattr(before, name) != getattr(now, name)
    ]
    differing += filter(None, [changed_limits(before.limits, now.limits)])
    if differing:
        raise StorageError(
            f"{folder.name}: the job was begun with {'; '.join(differing)}: rows of both must not mix; go on with the "
            "first, or begin in another folder"
        )
