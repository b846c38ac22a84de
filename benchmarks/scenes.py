"""python -m benchmarks.scenes OUT: rendered streets with people who hide one another, leave and come back.

Each scene is two sequences in the MOT challenge's layout, of two cameras on one clock, with the same identities. They
exist to measure (`benchmarks.trackers`): people walk straight between random places, of which some are out of view.
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from PIL import Image

from reid_runtime.cli import run
from reid_runtime.tracking.appearance import Corners, Numbers, overlap_areas
from training.people.assets import Assets
from training.people.crop import Studio
from training.people.street import SECONDS, STRIDE, VIEWS, Walk, frame

EVERY = 2
"""Of the street's fifteen frames a second one in so many is rendered."""
_SIDE, _DEPTH = 95.0, 42.0
"""Decimetres from the middle within which people walk; a camera sees about 50 to each side."""
_LEAST = 12
"""Pixels of a box's width below which its person has left."""

FOLDER = click.Path(file_okay=False, path_type=Path)


def wander(seed: int, people: int, seconds: float) -> Walk:
    """Where each of some people is at any time: straight from one random place to the next, at a pace of their own."""
    paths = []
    for row in range(people):
        rng = np.random.default_rng([seed, row])
        count = int(seconds // 2) + 4
        corners = np.stack([rng.uniform(-_SIDE, _SIDE, count), rng.uniform(-_DEPTH, _DEPTH, count)], axis=1)
        pace = rng.uniform(10, 16)
        paths.append((corners, np.linalg.norm(np.diff(corners, axis=0), axis=1).cumsum() / pace, pace))

    def walk(row: int, time: float) -> tuple[tuple[float, float], float, float]:
        corners, arrivals, pace = paths[row]
        leg = int(np.searchsorted(arrivals, time))
        left = arrivals[leg - 1] if leg else 0.0
        share = (time - left) / (arrivals[leg] - left)
        way = corners[leg + 1] - corners[leg]
        x, z = (corners[leg] + share * way).tolist()
        return (x, z), float(np.arctan2(way[0], way[1])), (time * pace / STRIDE + 0.23 * row) % 1

    return walk


def visible_shares(boxes: Corners) -> Numbers:
    """(N,) the share of each box that no box which ends lower, and so is nearer, covers."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).clip(1e-9)
    shared = overlap_areas(boxes, boxes) * (boxes[None, :, 3] > boxes[:, None, 3])
    shares: Numbers = 1 - (shared.sum(axis=1) / areas).clip(0, 1)
    return shares


@click.command()
@click.argument("out", type=FOLDER)
@click.option("--assets", type=FOLDER, required=True, help="The unpacked assets; see training/people/fetch.py.")
@click.option("--scenes", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--people", type=click.IntRange(min=2), default=12, show_default=True)
@click.option("--seconds", type=click.IntRange(min=2), default=60, show_default=True)
def main(out: Path, assets: Path, scenes: int, people: int, seconds: int) -> None:
    """Render OUT/scene-1-camera-1 and so on."""
    studio = Studio(Assets(assets))
    for scene in range(1, scenes + 1):
        persons = [studio.wardrobe.person(9000 + 100 * scene + row) for row in range(people)]
        walk = wander(scene, people, seconds)
        for number, view in enumerate(VIEWS, 1):
            folder = out / f"scene-{scene}-camera-{number}"
            for inner in ("img1", "gt"):
                (folder / inner).mkdir(parents=True, exist_ok=True)
            wide = replace(view, width=640, height=360, focal=1120.0)
            lines = []
            for at in range(round(seconds / SECONDS / EVERY)):
                pixels, boxes = frame(studio, persons, wide, at * EVERY, walk)
                Image.fromarray(pixels).save(folder / "img1" / f"{at + 1:06}.jpg", quality=92)
                shares = visible_shares(boxes.astype(np.float64))
                for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
                    if x2 - x1 >= _LEAST:
                        size = f"{x1:.1f},{y1:.1f},{x2 - x1:.1f},{y2 - y1:.1f}"
                        lines.append(f"{at + 1},{row + 1},{size},1,1,{shares[row]:.3f}")
            (folder / "gt" / "gt.txt").write_text("\n".join(lines) + "\n")
            rate = f"frameRate={1 / SECONDS / EVERY:g}\nimDir=img1\nimExt=.jpg\nimWidth=640\nimHeight=360\n"
            (folder / "seqinfo.ini").write_text(f"[Sequence]\nname={folder.name}\n{rate}")
            click.echo(f"{folder}: {len(lines)} boxes", err=True)


if __name__ == "__main__":
    run(main)
