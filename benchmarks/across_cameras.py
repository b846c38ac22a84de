"""python -m benchmarks.across_cameras PETS --detector XML, or FOLDER FOLDER: one identity over several cameras.

PETS09-S2L1: View_001 has annotated boxes; in View_006 a detector finds boxes, which are joined to tracks by overlap
alone; whose they are, the points say that were projected from View_001, within a radius. Boxes that no point is near
are grouped too, not scored. Or folders in the layout of MOT, of cameras with one clock and one count of people, as
`python -m benchmarks.scenes` renders them: every box is annotated. Annotated tracks are cut as trackers cut them: where
they have a gap, and every 30 boxes. HOTA, its association part and IDF1 by TrackEval, on boxes that are all found.
"""

import json
from collections.abc import Iterator, Sequence
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
_EVERY, _VISIBLE = 3, 0.3
"""Of scenes: frames that are looked at, and how much of a person has to be seen."""
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


def collect_scenes(folders: Sequence[Path]) -> Boxes:
    """Boxes, tracks, vectors and people of folders in MOT's layout, every `_EVERY`th frame."""
    embedder = Embedder.load()
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "vector", "box", "camera", "frame", "number")}
    for folder in folders:
        annotated = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",")
        annotated = annotated[annotated[:, 8] >= _VISIBLE]
        for number in np.unique(annotated[:, 0]).astype(int).tolist()[::_EVERY]:
            now = annotated[annotated[:, 0] == number]
            boxes = np.column_stack([now[:, 2:4], now[:, 2:4] + now[:, 4:6]])
            image = np.asarray(Image.open(folder / "img1" / f"{number:06}.jpg").convert("RGB"))
            vectors, valid = embedder.embed_boxes(image, boxes, "rgb", return_valid=True)
            for row in np.flatnonzero(valid).tolist():
                values = (
                    f"{folder.name}/{number}/{row}",
                    vectors[row],
                    boxes[row],
                    folder.name,
                    number,
                    int(now[row, 1]),
                )
                for name, value in zip(columns, values, strict=True):
                    columns[name].append(value)
    moment, person, camera = (np.array(columns[name]) for name in ("frame", "number", "camera"))
    track = np.full(len(person), "", dtype="<U16")
    for each in np.unique(camera):
        own = camera == each
        track[own] = _cut(person[own], moment[own], _GAP * _EVERY)
    sizes = np.array([box[2:] - box[:2] for box in columns["box"]]).astype(np.int32)
    rows = Embeddings.of(
        embedder, columns["id"], np.array(columns["vector"]), sizes, camera=camera, track=track, frame=moment
    )
    return Boxes(rows, person)


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


def _cut(number: Labels, moment: Labels, gap: int = _GAP) -> Labels:
    tracks = np.full(len(number), "", dtype="<U16")
    for each in np.unique(number).tolist():
        piece, length, last = 0, 0, -gap
        for row in np.flatnonzero(number == each).tolist():
            if length == _CUT or (length and moment[row] - last > gap):
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
    """HOTA, AssA and IDF1 in percent, over the boxes of all cameras whose person is known."""
    from trackeval.metrics import HOTA, Identity

    known = np.flatnonzero(boxes.person > 0)
    rows = boxes.rows.take(known)
    ours, person = (
        np.unique(each, return_inverse=True)[1].reshape(-1) for each in (groups[known], boxes.person[known])
    )
    assert rows.camera is not None
    assert rows.frame is not None
    moments = [f"{camera}/{frame}" for camera, frame in zip(rows.camera, rows.frame, strict=True)]
    number = np.unique(moments, return_inverse=True)[1].reshape(-1)
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    data: dict[str, Any] = {
        "num_timesteps": len(parts),
        "gt_ids": [person[part] for part in parts],
        "tracker_ids": [ours[part] for part in parts],
        "similarity_scores": [np.eye(len(part)) for part in parts],
        "num_gt_ids": int(person.max()) + 1, "num_tracker_ids": int(ours.max()) + 1,
        "num_gt_dets": len(known), "num_tracker_dets": len(known),
    }  # fmt: skip
    hota, identity = HOTA().eval_sequence(data), Identity({"PRINT_CONFIG": False}).eval_sequence(data)
    found = {"HOTA": np.mean(hota["HOTA"]), "AssA": np.mean(hota["AssA"]), "IDF1": identity["IDF1"]}
    return {name: round(100 * float(value), 1) for name, value in found.items()}


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
    people = found.grouping
    click.echo(f"{len(vectors)} tracks: {people.people} people, {people.least} to {people.most}; {people.threshold}")
    groups = np.where(found.grouping.groups < 0, len(vectors) + units, found.grouping.groups)
    result = {"tracks as they are": units, "cluster": groups, "nearest at 0.5": joined(len(vectors), pairs)[units]}
    for radius in (0.5, 0.3, 0.2, 0.1):
        labels = DBSCAN(eps=radius, min_samples=2, metric="precomputed").fit_predict(np.clip(1 - similarities, 0, 2))
        alone = np.where(labels < 0, len(vectors) + np.arange(len(vectors)), labels)
        result[f"DBSCAN, eps {radius}"] = alone[units]
    return result


@click.command("across-cameras")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--detector", type=click.Path(exists=True, path_type=Path), help="person-detection .xml, for PETS09.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON.")
def main(folders: tuple[Path, ...], detector: Path | None, output: Path | None) -> None:
    """Link the tracks of both views of PETS09-S2L1 in a folder, or of the cameras in folders of MOT's layout."""
    if len(folders) == 1:
        if detector is None:
            raise click.UsageError("expected --detector XML: View_006 has no annotated boxes")
        boxes = collect(folders[0], detector)
    else:
        boxes = collect_scenes(folders)
    known = np.unique(boxes.person[boxes.person > 0])
    click.echo(f"{len(boxes.rows)} boxes, {len(known)} people are known")
    measured = {name: scores(groups, boxes) for name, groups in ways(boxes).items()}
    for name, each in measured.items():
        click.echo(f"{name}: {each}")
    if output is not None:
        output.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
