"""Miniature data sets made of the committed rendered crops, for tests whose people a model must tell apart."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from .sample_images import encode

CROPS = Path(__file__).parents[1] / "examples" / "crops"
PEOPLE = 8
"""How many there are in `CROPS`; more are these in other colours."""


def write_crops(folder, identities):
    """Copy the first so many people of the examples: `person-03/camera-2/view-1.jpg`."""
    for person in range(identities):
        name = f"person-{person + 1:02}"
        shutil.copytree(CROPS / name, folder / name)


def crop(person, camera, moment, height=128, width=64):
    """(height, width, 3) uint8 RGB: someone as a camera sees them; later moments are the same crops cut otherwise."""
    folder = CROPS / f"person-{person % PEOPLE + 1:02}" / f"camera-{camera % 2 + 1}"
    (path,) = folder.glob(f"view-{moment % 2 + 1}.*")
    image = Image.open(path).convert("RGB")
    random = np.random.default_rng((person, camera, moment))
    left, top, right, bottom = random.uniform(0, 0.06, 4) * (moment > 1 or camera > 1)
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))
    if moment // 2 % 2:
        pixels = pixels[:, ::-1]
    return np.roll(pixels, person // PEOPLE, axis=2)


def write_market(folder, identities=8, cameras=3, views=2):
    """Write a miniature in Market-1501's layout, crops of 128 x 64; gives the paths, sorted.

    Half of the identities (rounded down) are for training, the others have one query in each camera and `views`
    more crops of each camera in the gallery, which also holds a junk crop (-1) and a distractor (0000).
    """
    written = []

    def write(split, label, camera, moment, pixels):
        frame = 100 + 25 * moment + 7 * len(written)
        path = folder / split / f"{label}_c{camera + 1}s1_{frame:06}_01.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels, "JPEG", quality=90))
        written.append(path)

    trained = identities // 2
    for person in range(identities):
        for camera in range(cameras):
            for moment in range(views + (person >= trained)):
                split = "bounding_box_train"
                if person >= trained:
                    split = "query" if moment == views else "bounding_box_test"
                write(split, f"{person + 2:04}", camera, moment, crop(person, camera, moment))
    # Junk is a box about legs; a distractor is a box about nobody: a wall.
    legs = crop(identities - 1, 0, 0)[64:, 16:48].repeat(2, axis=0).repeat(2, axis=1)
    wall = crop(0, 0, 0)[:32, :8].repeat(4, axis=0).repeat(8, axis=1)
    write("bounding_box_test", "-1", 0, views + 1, legs)
    write("bounding_box_test", "0000", 1, views + 1, wall)
    return sorted(written)
