"""Draw pictures of people as cameras would crop them: public stand-ins for data of persons, no photograph of anyone.

An identity fixes clothes and body, a view fixes camera, pose, scale and misalignment; both are plain numbers, and
the same numbers give the same picture.

    python examples/draw_crops.py FOLDER --identities 8 --views 2     # FOLDER/person-03/camera-2/view-1.jpg
    python examples/draw_crops.py --market FOLDER                      # a miniature in Market-1501's layout
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

if not __package__:  # run as a script: `examples` lies in the checkout's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.drawing.figures import Looks, Pose, draw_figure
from examples.drawing.scenes import Camera, Ground, cast_shadow, draw_place, exposed
from examples.drawing.solids import Canvas, Floats, Pixels

VIEWS_PER_CAMERA = 100
"""View numbers 0 to 99 are camera 0's, 100 to 199 camera 1's, and so on."""

# About how high the crops of `write_crops` are, in pixels.
_HEIGHTS = (400, 100, 180, 256, 128, 320, 140, 220)


@dataclass(frozen=True)
class _Framing:
    """How a detector's box lies about the person, in shares of the crop's sides."""

    share: float
    """The person's height over the crop's."""
    feet: float
    """Row of the feet."""
    middle: float
    """Column of the body."""


def draw_person(identity: int, view: int, height: int, width: int) -> Pixels:
    """One crop of a person: (height, width, 3) uint8, RGB.

    identity, view: 0 or more; `view // 100` is the camera, `view % 100` the moment. height, width: 1 or more
    pixels. The same arguments give the same pixels. Raises ValueError for numbers below these.
    """
    if identity < 0 or view < 0:
        raise ValueError(f"identity and view are numbers of 0 or more, found {identity} and {view}")
    random = np.random.default_rng((identity, view))
    framing = _Framing(
        share=float(random.uniform(0.89, 0.99)),
        feet=float(random.uniform(0.965, 1.01)),
        middle=float(0.5 + random.uniform(-0.07, 0.07)),
    )
    return _crop(identity, view, height, width, framing)


def _crop(identity: int | None, view: int, height: int, width: int, framing: _Framing) -> Pixels:
    """A crop with a given framing; without an identity the place is empty."""
    if height < 1 or width < 1:
        raise ValueError(f"a crop needs a height and a width of 1 or more, found {height} x {width}")
    random = np.random.default_rng((404, 0 if identity is None else identity + 1, view))
    camera = Camera.of(view // VIEWS_PER_CAMERA)
    pose = _pose(random)
    # Drawn several times larger and averaged: small crops need it more.
    fine = min(8, max(2, round(600 / height)))
    tall, wide = height * fine, width * fine
    # A narrow crop holds a smaller person rather than a slice of one.
    size = min(framing.share * tall, 2.9 * wide)
    feet, middle = framing.feet * tall, framing.middle * wide
    horizon = feet - camera.rise * size
    ground = Ground(
        horizon=horizon,
        wall=horizon + camera.rise * size / random.uniform(1.3, 2.2),
        focal=size * random.uniform(4, 7),
        rise=camera.rise,
        aside=float(random.uniform(0, 6)),
    )
    picture = draw_place(camera, ground, tall, wide)
    if identity is not None:
        cast_shadow(picture, camera, ground, feet - 0.02 * size, middle)
        canvas = Canvas(tall, wide, size * Looks.of(identity).tall, middle, feet - 0.02 * size, pose.yaw)
        _paste(picture, canvas, Looks.of(identity), pose, camera, 0, 0)
    return exposed(_reduced(picture, fine), camera, random)


def _pose(random: np.random.Generator) -> Pose:
    towards = [0.0, math.pi, math.pi / 2, -math.pi / 2, 0.6, -0.6, math.pi - 0.6, math.pi + 0.6]
    yaw = towards[int(random.integers(len(towards)))] + float(random.uniform(-0.25, 0.25))
    return Pose(yaw=yaw, phase=float(random.uniform(0, 2 * math.pi)), stride=float(random.uniform(0.26, 0.42)))


def _paste(picture: Floats, canvas: Canvas, looks: Looks, pose: Pose, camera: Camera, top: int, left: int) -> None:
    """Draw a person into `picture`, in place, with the canvas' corner at (top, left), which may lie outside."""
    draw_figure(canvas, looks, pose)
    colours, covered = canvas.lit(camera.light, camera.sun)
    part = picture[max(0, top) : top + canvas.height, max(0, left) : left + canvas.width]
    from_row, from_column = max(0, -top), max(0, -left)
    rows = slice(from_row, from_row + part.shape[0])
    columns = slice(from_column, from_column + part.shape[1])
    weight = covered[rows, columns, None]
    part += (colours[rows, columns] - part) * weight


def _reduced(picture: Floats, fine: int) -> Floats:
    """(H * fine, W * fine, 3) averaged to (H, W, 3)."""
    height, width = picture.shape[0] // fine, picture.shape[1] // fine
    means: Floats = picture.reshape(height, fine, width, fine, 3).mean(axis=(1, 3))
    return means


@lru_cache(maxsize=1)
def _street(number: int, height: int, width: int) -> tuple[Ground, Floats]:
    """The empty street of a frame, twice its size; it does not change with time."""
    ground = Ground(horizon=-0.1 * height, wall=0.5 * height, focal=2.2 * height, rise=1.7, aside=3.0)
    return ground, draw_place(Camera.of(number), ground, height, width)


def draw_frame(
    identities: Sequence[int], height: int, width: int, *, time: float = 0.0, camera: int = 0
) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """A street with these people in it, as one frame of a video.

    identities: N numbers, 0 or more; time: seconds, as they walk to and fro across the picture. Gives the frame,
    (height, width, 3) uint8 RGB, and its boxes, (N, 4) float32 xyxy pixels inside the frame: row i holds
    `identities[i]`, whether or not someone nearer hides them. Raises ValueError for a side below 32 pixels.
    """
    if min(height, width) < 32:
        raise ValueError(f"a frame needs a height and a width of 32 or more, found {height} x {width}")
    fine = 2
    tall, wide = height * fine, width * fine
    eye = Camera.of(camera)
    ground, street = _street(camera, tall, wide)
    picture = street.copy()
    boxes = np.zeros((len(identities), 4), dtype=np.float32)
    lanes = [(0.66 + 0.3 * ((place * 0.618) % 1), place) for place in range(len(identities))]
    for lane, place in sorted(lanes):  # far ones first, nearer ones over them
        looks = Looks.of(identities[place])
        random = np.random.default_rng((505, identities[place]))
        feet = lane * tall
        size = ground.size(feet) * looks.tall
        # To and fro between the sides: a fold of the distance walked.
        room = max(1.0, wide - 0.5 * size)
        walked = (random.uniform(0, 2) + 0.75 * time * size / room * random.uniform(0.85, 1.15)) % 2
        middle = 0.25 * size + room * (walked if walked < 1 else 2 - walked)
        pose = Pose(
            yaw=(math.pi / 2 if walked < 1 else -math.pi / 2) + float(random.uniform(-0.35, 0.35)),
            phase=float(random.uniform(0, 6)) + 5.6 * time,
            stride=float(random.uniform(0.3, 0.4)),
        )
        cast_shadow(picture, eye, ground, feet, middle)
        top, left = math.floor(feet - 1.1 * size), math.floor(middle - 0.6 * size)
        canvas = Canvas(math.ceil(1.25 * size), math.ceil(1.2 * size), size, middle - left, feet - top, pose.yaw)
        _paste(picture, canvas, looks, pose, eye, top, left)
        rows, columns = np.nonzero(np.isfinite(canvas.depth))
        box = [left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1]
        boxes[place] = np.clip(np.array(box) / fine, 0, [width, height, width, height])
    noise = np.random.default_rng((606, camera, round(time * 1000)))
    return exposed(_reduced(picture, fine), eye, noise), boxes


def write_crops(folder: Path, identities: int, views: int, seed: int = 0, cameras: int = 2) -> list[Path]:
    """Write `folder/person-03/camera-2/view-1.jpg` and so on, all counted from 1; gives the paths, sorted.

    identities, views: how many people, and crops of each in each camera. Heights go from 100 to 400 pixels, most
    are JPEG and some of the small ones PNG. Another seed gives other people, places and poses.
    """
    written: list[Path] = []
    for person in range(identities):
        for camera in range(cameras):
            for moment in range(views):
                turn = (person * cameras + camera) * views + moment
                random = np.random.default_rng((seed, 707, turn))
                height = int(_HEIGHTS[(turn * 3 + turn // 8) % len(_HEIGHTS)] * random.uniform(0.92, 1))
                height = max(100, height)
                width = round(height * random.uniform(0.36, 0.43))
                crop = draw_person(seed * 1000 + person, _view(seed, camera, moment), height, width)
                suffix = "png" if height < 200 and turn % 3 == 2 else "jpg"
                path = folder / f"person-{person + 1:02}" / f"camera-{camera + 1}" / f"view-{moment + 1}.{suffix}"
                _save(crop, path, quality=int(random.integers(80, 94)))
                written.append(path)
    return sorted(written)


def write_market(folder: Path, identities: int = 8, cameras: int = 3, views: int = 2, seed: int = 0) -> list[Path]:
    """Write a miniature in Market-1501's layout, crops of 128 x 64; gives the paths, sorted.

    Half of the identities (rounded down) are for training, the others have one query in each camera and `views`
    more crops of each camera in the gallery, which also holds a junk crop (-1) and a distractor (0000). Raises
    ValueError for fewer than 2 identities, 2 cameras or 1 view, which leave a query without a right answer.
    """
    if identities < 2 or cameras < 2 or views < 1:
        raise ValueError(
            f"a query needs 2 identities, 2 cameras and 1 view or more, found {identities}, {cameras} and {views}"
        )
    written: list[Path] = []

    def write(split: str, label: str, camera: int, moment: int, crop: Pixels) -> None:
        frame = 100 + 25 * moment + 7 * len(written)
        path = folder / split / f"{label}_c{camera + 1}s1_{frame:06}_01.jpg"
        _save(crop, path, quality=90)
        written.append(path)

    trained = identities // 2
    for person in range(identities):
        label = f"{person + 2:04}"
        for camera in range(cameras):
            for moment in range(views + (person >= trained)):
                split = "bounding_box_train"
                if person >= trained:
                    split = "query" if moment == views else "bounding_box_test"
                crop = draw_person(seed * 1000 + person, _view(seed, camera, moment), 128, 64)
                write(split, label, camera, moment, crop)
    last, view = seed * 1000 + identities - 1, _view(seed, 0, views + 1)
    # Junk is a box about legs; a distractor is a box about nobody.
    write("bounding_box_test", "-1", 0, views + 1, _crop(last, view, 128, 64, _Framing(2.1, 1.02, 0.4)))
    empty = _crop(None, view + VIEWS_PER_CAMERA, 128, 64, _Framing(0.9, 1, 0.5))
    write("bounding_box_test", "0000", 1, views + 1, empty)
    return sorted(written)


def _view(seed: int, camera: int, moment: int) -> int:
    return (seed * 10 + camera) * VIEWS_PER_CAMERA + moment


def _save(crop: Pixels, path: Path, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(crop)
    if path.suffix == ".png":
        picture.save(path, optimize=True)
    else:
        picture.save(path, quality=quality)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw crops of people who do not exist.")
    parser.add_argument("folder", type=Path, help="where to write; made if it is not there")
    parser.add_argument("--market", action="store_true", help="write a miniature in Market-1501's layout")
    parser.add_argument("--identities", type=int, default=8, help="how many people (default: 8)")
    parser.add_argument("--views", type=int, default=2, help="crops of a person in a camera (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="another number draws other people (default: 0)")
    options = parser.parse_args(arguments)
    if options.market:
        written = write_market(options.folder, options.identities, views=options.views, seed=options.seed)
    else:
        written = write_crops(options.folder, options.identities, options.views, options.seed)
    print(f"{len(written)} crops in {options.folder}")


if __name__ == "__main__":
    main()
