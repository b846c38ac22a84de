"""python -m benchmarks.across_cameras PETS --detector XML: one identity over two synchronised cameras, against others.

PETS09-S2L1. View_001 has annotated boxes, whose tracks are cut as trackers cut them: where they have a gap, and every
30 boxes. In View_006 a detector finds boxes, which are joined to tracks by overlap alone; whose they are, the
points say that were projected from View_001, within a radius. Boxes that no point is near are grouped too, not scored.
IDF1 is that of py-motmetrics on boxes that are all found; AssA is the association part of HOTA (Luiten et al., 2021).
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime import Embedder, Embeddings
from reid_runtime.cli import run
from reid_runtime.images.resize import Pixels
from reid_runtime.jobs.cluster import cluster
from reid_runtime.matching.linkage import joined
from reid_runtime.matching.units import Sightings, number_units, pool_units

Numbers = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]

SAME_PERSON = {19: 1, 13: 2, 11: 3, 12: 4, 9: 5, 10: 6, 14: 8, 15: 8, 18: 8}
"""Track ids of the annotation that are a person who came back, by eye: 19 ids are 10 people."""
_STRIDE, _CUT, _GAP, _RADIUS, _OVERLAP, _SCORE = 2, 30, 6, 45.0, 0.3, 0.5
_VIEWS = ("View_001", "View_006")


@dataclass(frozen=True)
class Boxes:
    """The boxes of both cameras: where, in which track, and who."""

    rows: Embeddings
    person: Labels
    """(N,) 0 where nobody knows."""


def frames(video: Path) -> Iterator[tuple[int, Pixels]]:
    """Every second frame, with its number from 1."""
    import av

    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0), 1):
            if number % _STRIDE == 1:
                yield number, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def collect(pets: Path, detector: Path) -> Boxes:
    """Boxes, tracks, vectors and people of both views."""
    import openvino

    network = openvino.Core().compile_model(str(detector), "CPU")
    annotated = np.loadtxt(pets / "gt" / "gt.txt", delimiter=",")
    points = np.loadtxt(pets / "gt" / "view006_projected_points.txt", delimiter=",")
    embedder = Embedder.load()
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "vector", "box", "camera", "frame", "number")}
    for view in _VIEWS:
        for number, image in frames(pets / f"{view}.mp4"):
            if view == _VIEWS[0]:
                now = annotated[annotated[:, 0] == number]
                boxes = np.column_stack([now[:, 2:4], now[:, 2:4] + now[:, 4:6]])
                whose = now[:, 1]
            else:
                boxes = _detect(network, image)
                whose = _nearest_points(boxes, points[points[:, 0] == number])
            vectors, valid = embedder.embed_boxes(image, boxes, "rgb", return_valid=True)
            for row in np.flatnonzero(valid).tolist():
                values = f"{view}/{number}/{row}", vectors[row], boxes[row], view, number, int(whose[row])
                for name, value in zip(columns, values, strict=True):
                    columns[name].append(value)
    box, camera, moment = np.array(columns["box"]), np.array(columns["camera"]), np.array(columns["frame"], np.int64)
    numbers = np.array(columns["number"])
    first = camera == _VIEWS[0]
    track = np.where(first, _cut(numbers, moment), _overlapping(box, moment, ~first))
    sizes = (box[:, 2:] - box[:, :2]).astype(np.int32)
    rows = Embeddings.of(
        embedder, columns["id"], np.array(columns["vector"]), sizes, camera=camera, track=track, frame=moment
    )
    return Boxes(rows, np.array([SAME_PERSON.get(each, each) for each in numbers.tolist()]))


def _detect(network: Any, image: Pixels) -> Numbers:
    """(N, 4) boxes by an SSD of OpenVINO's zoo: BGR, planes."""
    height, width = network.inputs[0].shape[2:]
    resized = np.asarray(Image.fromarray(image).resize((width, height)))[:, :, ::-1]
    found = network(resized.transpose(2, 0, 1)[None].astype(np.float32))[0].reshape(-1, 7)
    edges = np.array([image.shape[1], image.shape[0]] * 2)
    boxes: Numbers = found[found[:, 2] > _SCORE, 3:7].astype(np.float64) * edges
    return boxes


def _nearest_points(boxes: Numbers, points: Numbers) -> Labels:
    """(N,) whose foot is within the radius of the middle of a box's lower edge; each foot is of one box."""
    from scipy.optimize import linear_sum_assignment

    whose = np.zeros(len(boxes), np.int64)
    feet = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]])
    distances = np.linalg.norm(feet[:, None] - points[None, :, 2:4], axis=2)
    for box, point in zip(*linear_sum_assignment(distances), strict=True):
        if distances[box, point] < _RADIUS:
            whose[box] = points[point, 1]
    return whose


def _cut(number: Labels, moment: Labels) -> Labels:
    tracks = np.full(len(number), "", dtype="<U16")
    for each in np.unique(number).tolist():
        piece, length, last = 0, 0, -_GAP
        for row in np.flatnonzero(number == each).tolist():
            if length == _CUT or (length and moment[row] - last > _GAP):
                piece, length = piece + 1, 0
            length, last = length + 1, int(moment[row])
            tracks[row] = f"{each}-{piece}"
    return tracks


def _overlapping(box: Numbers, moment: Labels, chosen: Labels) -> Labels:
    """Tracks by overlap with the last box, the most overlapping first."""
    tracks = np.full(len(box), "", dtype="<U16")
    last: dict[str, int] = {}
    for now in np.unique(moment[chosen]).tolist():
        rows = np.flatnonzero(chosen & (moment == now)).tolist()
        live = [(name, row) for name, row in last.items() if now - moment[row] <= _GAP]
        pairs = sorted(((_iou(box[row], box[old]), row, name) for row in rows for name, old in live), reverse=True)
        for overlap, row, name in pairs:
            if overlap >= _OVERLAP and not tracks[row] and name not in tracks[rows]:
                tracks[row] = name
        for row in rows:
            tracks[row] = tracks[row] or f"d{len(last)}"
            last[str(tracks[row])] = row
    return tracks


def _iou(one: Numbers, other: Numbers) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(sides.clip(0).prod())
    return both / float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - both)


def scores(groups: Labels, boxes: Boxes) -> dict[str, float]:
    """IDF1 and AssA over the boxes of both cameras whose person is known."""
    import motmetrics

    known = np.flatnonzero(boxes.person > 0)
    ours, person = np.unique(groups, return_inverse=True)[1].reshape(-1)[known], boxes.person[known]
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    rows = boxes.rows.take(known)
    moments = [f"{camera}/{frame}" for camera, frame in zip(rows.camera, rows.frame, strict=True)]  # type: ignore[arg-type]
    for moment in np.unique(moments):
        now = np.flatnonzero(np.array(moments) == moment)
        distances = np.where(np.eye(len(now), dtype=bool), 0.0, np.nan)
        accumulator.update(person[now], ours[now], distances)
    summary = motmetrics.metrics.create().compute(accumulator, metrics=["idf1"], name="all")
    both, of_ours, of_people = (Counter(each) for each in (zip(person, ours, strict=True), ours, person))
    shared = sum(n * n / (of_people[one] + of_ours[other] - n) for (one, other), n in both.items())
    return {"IDF1": round(100 * float(summary["idf1"].iloc[0]), 1), "AssA": round(100 * shared / len(known), 1)}


def ways(boxes: Boxes) -> dict[str, Labels]:
    """Groups of the same tracks: ours, and what people do instead."""
    from sklearn.cluster import DBSCAN

    rows = boxes.rows
    camera = np.full(len(rows), "") if rows.camera is None else rows.camera
    units = number_units(Sightings(camera, rows.track), np.ones(len(rows), np.bool_))
    vectors = pool_units(rows.embedding, units, np.ones(len(rows)))
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -1)
    nearest = similarities.argmax(axis=1).tolist()
    pairs = [(row, other) for row, other in enumerate(nearest) if similarities[row, other] >= 0.5]
    np.fill_diagonal(similarities, 1)
    found = cluster(rows, Embedder.load().calibration)
    click.echo(f"{len(vectors)} tracks: {found.grouping.people} people; {found.grouping.threshold}")
    groups = np.where(found.grouping.groups < 0, len(vectors) + units, found.grouping.groups)
    result = {"tracks as they are": units, "cluster": groups, "nearest at 0.5": joined(len(vectors), pairs)[units]}
    for radius in (0.5, 0.3, 0.2, 0.1):
        labels = DBSCAN(eps=radius, min_samples=2, metric="precomputed").fit_predict(np.clip(1 - similarities, 0, 2))
        alone = np.where(labels < 0, len(vectors) + np.arange(len(vectors)), labels)
        result[f"DBSCAN, eps {radius}"] = alone[units]
    return result


@click.command("across-cameras")
@click.argument("pets", type=click.Path(exists=True, path_type=Path))
@click.option("--detector", type=click.Path(exists=True, path_type=Path), required=True, help="person-detection .xml")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON.")
def main(pets: Path, detector: Path, output: Path | None) -> None:
    """Link the tracks of both views of PETS09-S2L1 in the folder PETS."""
    boxes = collect(pets, detector)
    measured = {name: scores(groups, boxes) for name, groups in ways(boxes).items()}
    for name, each in measured.items():
        click.echo(f"{name}: {each}")
    if output is not None:
        output.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
