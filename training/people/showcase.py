"""python -m training.people.showcase: the rendered images that the repository holds.

Crops for examples/crops, two synchronised cameras over a street for examples/street, and four small images for the
self-tests of new exports. They are made of what may be shown: dyed clothes, patterns of our own, recoloured skins,
scenery of our own.
"""

import io
from pathlib import Path

import click
from PIL import Image

from training.people.assets import Assets
from training.people.crop import Studio
from training.people.street import VIEWS, frame

PEOPLE = (7208, 7213, 7222, 7206, 7223, 7247, 7201, 7230)
"""Seeds of one site: the same two cameras see them all."""
LOSSLESS = {(1, 2, 1), (3, 1, 1), (3, 2, 2), (6, 1, 1), (7, 2, 1), (8, 1, 2)}
"""Person, camera and view of the crops that are PNG files."""
FRAMES = 48
SELF_TEST = ((0, (17, 41)), (3, (17, 41)), (5, (38, 23)), (6, (13, 31)))
"""Which person, and width and height in pixels: two of a shape, one wide, one that is enlarged 20 times."""

FOLDER = click.Path(file_okay=False, path_type=Path)


def crops(studio: Studio, folder: Path) -> None:
    """Write eight people, two cameras, two views of each: `person-03/camera-2/view-1.jpg`."""
    for number, seed in enumerate(PEOPLE, 1):
        for view in range(4):
            camera, moment = view % 2 + 1, view // 2 + 1
            path = folder / f"person-{number:02}" / f"camera-{camera}" / f"view-{moment}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            content = studio.crop(seed, view, camera - 1).image
            if (number, camera, moment) in LOSSLESS:
                Image.open(io.BytesIO(content)).save(path.with_suffix(".png"), optimize=True)
            else:
                path.write_bytes(content)


def self_test(studio: Studio, folder: Path) -> None:
    """Write the four images of the self-test."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (person, size) in enumerate(SELF_TEST, 1):
        image = Image.open(io.BytesIO(studio.crop(PEOPLE[person], 0, 0).image))
        wide, high = size
        share = min(1.0, wide / high * image.height / image.width)
        part = (0, 0, image.width * share, image.width * share * high / wide)
        image.resize(size, Image.Resampling.BOX, box=part).save(folder / f"{number}.png", optimize=True)


def street(studio: Studio, folder: Path) -> None:
    """Write `camera-N.webp`, FRAMES frames, and `camera-N.txt`, their boxes in the MOT challenge's format."""
    folder.mkdir(parents=True, exist_ok=True)
    people = [studio.wardrobe.person(seed) for seed in PEOPLE[:4]]
    for number, view in enumerate(VIEWS, 1):
        images, lines = [], []
        for at in range(FRAMES):
            pixels, boxes = frame(studio, people, view, at)
            images.append(Image.fromarray(pixels))
            for person, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
                lines.append(f"{at + 1},{person},{x1:.1f},{y1:.1f},{x2 - x1:.1f},{y2 - y1:.1f}")
        (folder / f"camera-{number}.txt").write_text("\n".join(lines) + "\n")
        images[0].save(
            folder / f"camera-{number}.webp", save_all=True, append_images=images[1:], duration=67, quality=72, method=6
        )


@click.command()
@click.argument("out", type=FOLDER)
@click.option("--assets", type=FOLDER, required=True)
def main(out: Path, assets: Path) -> None:
    """Render the images into OUT/examples and OUT/export: OUT is a checkout's root."""
    studio = Studio(Assets(assets))
    crops(studio, out / "examples" / "crops")
    street(studio, out / "examples" / "street")
    self_test(studio, out / "export" / "selftest")


if __name__ == "__main__":
    main()
