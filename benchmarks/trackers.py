"""python -m benchmarks.trackers FOLDER...: do vectors help trackers? HOTA, IDF1, switches, with them and without.

Each MOT sequence is tracked on several kinds of boxes: the truth; `det/det.txt`, where there is one;
the truth as a detector would see it, without people who are hidden and with 10 % of the rest
missing and all edges moved; and that at two frames a second.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment
from benchmarks.scenes import visible_shares
from benchmarks.tracker_runs import Detected, Remembered, Tracker, deepsort, followed, norfair, roboflow
from benchmarks.tracker_scores import Boxed, TrackScores, score_tracks
from reid_runtime import EmbedBoxes, Embedder
from reid_runtime.cli import run
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.layouts.mot import MotSequence, find_sequences
from reid_runtime.tracking import Budget, EmbedOnBudget, ReassociateTracks, TrackMemory

RETURNED = {"PETS09-S2L1": ((1, 19), (2, 13), (3, 11), (4, 12), (5, 9), (6, 10), (8, 14, 15, 18))}
"""People whom the ground truth numbers anew when they come back: compared by eye, crop by crop."""
SPARSE = 2.0
"""Frames a second of the sparse video."""
_MISSED, _MOVED, _HIDDEN = 0.1, 0.03, 0.5
"""Of a simulated detector: the share it misses; how far edges move, by the box's sides; what it must see of a box."""


@dataclass(frozen=True)
class Row:
    """One tracker on one kind of boxes."""

    sequence: str
    boxes: str
    tracker: str
    vectors: str
    scores: TrackScores
    embedded: int
    """Boxes that a model would have embedded."""
    given: int
    """Boxes that the tracker was given."""


def people_of(sequence: MotSequence) -> Integers:
    """(N,) the identities, one number a person."""
    people = sequence.identities.copy()
    for same in RETURNED.get(sequence.folder.name, ()):
        people[np.isin(people, same)] = same[0]
    return people


def kinds_of_boxes(sequence: MotSequence, frames: Mapping[int, Pixels]) -> Iterator[tuple[str, list[Detected]]]:
    """Each kind of boxes, with the frames that it has; frames without a box stay."""
    truth = {number: sequence.xyxy[sequence.frames == number].astype(np.float64) for number in frames}
    ones = {number: np.ones(len(boxes)) for number, boxes in truth.items()}
    yield "truth", [Detected(number, frame, truth[number], ones[number]) for number, frame in frames.items()]
    detections = sequence.folder / "det" / "det.txt"
    if detections.is_file():
        rows = np.loadtxt(detections, delimiter=",", ndmin=2)
        rows = rows[rows[:, 6] >= 0.1]
        yield (
            "detector",
            [
                Detected(number, frame, np.concatenate([part[:, 2:4], part[:, 2:4] + part[:, 4:6]], axis=1), part[:, 6])
                for number, frame in frames.items()
                for part in [rows[rows[:, 0] == number]]
            ],
        )
    generator = np.random.default_rng(0)
    gaps = []
    for number, frame in frames.items():
        boxes = truth[number]
        kept = (visible_shares(boxes) >= _HIDDEN) & (generator.random(len(boxes)) >= _MISSED)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        moved = (boxes + _MOVED * sides * generator.normal(size=boxes.shape))[kept]
        gaps.append(Detected(number, frame, moved, np.full(len(moved), 0.9)))
    yield "gaps", gaps
    step = max(1, round(sequence.frames_a_second / SPARSE))
    yield f"gaps, {sequence.frames_a_second / step:.1f} frames/s", gaps[::step]


def trackers_of(
    rate: float, embed: Remembered, thresholds: tuple[float, float]
) -> Iterator[tuple[str, str, Tracker, Budget | None]]:
    """(name, with which vectors, tracker, what counts its crops); `thresholds` are of single crops and of tracks."""
    crop, track = thresholds
    yield "ByteTrack", "none", roboflow("ByteTrackTracker", rate), None
    yield "Norfair", "none", norfair(rate, None, track), None
    yield "Norfair", "its own use of them", norfair(rate, embed, track), None
    yield "DeepSORT", "its own use of them", deepsort(rate, embed, crop), None
    for name, budget in (("", Budget()), (", one crop a frame", Budget(crops=1))):
        yield "DeepSORT", f"on a budget{name}", deepsort(rate, EmbedOnBudget(embed, budget), crop), budget


def measure(
    sequence: MotSequence, embed: Remembered, thresholds: tuple[float, float], kinds: Sequence[str]
) -> Iterator[Row]:
    """Every tracker on these kinds of boxes of one sequence, none for all."""
    people = people_of(sequence)
    frames = {number: load_image(path) for number, path in sorted(sequence.images.items())}
    for kind, seen in kinds_of_boxes(sequence, frames):
        if kinds and kind.split(",")[0] not in kinds:
            continue
        rate = sequence.frames_a_second * len(seen) / len(frames)
        truth = [
            Boxed(sequence.xyxy[rows].astype(np.float64), people[rows])
            for each in seen
            for rows in [sequence.frames == each.number]
        ]
        given = sum(len(each.boxes) for each in seen)

        def row(
            tracker: str, vectors: str, tracks: Sequence[Boxed], embedded: int,
            kind: str = kind, truth: Sequence[Boxed] = truth, given: int = given,
        ) -> Row:  # fmt: skip
            name = sequence.folder.name
            return Row(name, kind, tracker, vectors, score_tracks(truth, tracks), embedded, given)

        for name, vectors, tracker, budget in trackers_of(rate, embed, thresholds):
            tracks = list(followed(tracker, seen, embed))
            yield row(name, vectors, tracks, 0 if vectors == "none" else given if budget is None else budget.embedded)
            if vectors != "none":
                continue
            ways: dict[str, dict[str, Any]] = {"people behind tracks": {}}
            if name == "ByteTrack":
                everything = TrackMemory(crops=10**6, apart=1, least_quality=0.0)
                ways["people, every box embedded"] = {"memory": everything}
                ways["people, one crop a frame"] = {"budget": Budget(crops=1)}
            for how, settings in ways.items():
                linked = ReassociateTracks(embed, thresholds[1], **settings)
                online = list(_linked(linked, seen, tracks, embed))
                yield row(name, how, online, linked.budget.embedded)
                if not settings:
                    after = [Boxed(each.boxes, _told(each.numbers, linked.became)) for each in online]
                    yield row(name, "the same, set right afterwards", after, linked.budget.embedded)


def _linked(
    people: ReassociateTracks, seen: Sequence[Detected], tracks: Sequence[Boxed], embed: Remembered
) -> Iterator[Boxed]:
    for frame, each in zip(seen, tracks, strict=True):
        embed.number = frame.number
        yield Boxed(each.boxes, people(frame.frame, each.boxes, each.numbers))


def _told(numbers: Integers, became: Mapping[int, int]) -> Integers:
    return np.array([became.get(number, number) for number in numbers.tolist()], dtype=np.int64)


def table(rows: Sequence[Row]) -> str:
    """Markdown, a row each."""
    lines = [
        "| sequence | boxes | tracker | vectors | HOTA | AssA | IDF1 | switches | numbers given | boxes embedded |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        scores = row.scores
        shares = " | ".join(f"{100 * value:.1f}" for value in (scores.hota, scores.association, scores.idf1))
        embedded = f"{row.embedded:,} of {row.given:,}" if row.embedded else ""
        lines.append(
            f"| {row.sequence} | {row.boxes} | {row.tracker} | {row.vectors} | {shares} | {scores.switches} | "
            f"{scores.people} | {embedded} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("folders", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--model", help="As for the command line; the default model without it.")
@click.option("--device", default="cpu", show_default=True, help="As for the command line.")
@click.option("--boxes", "kinds", multiple=True, type=click.Choice(["truth", "detector", "gaps"]), help="[all]")
@click.option("--fmr", type=click.FloatRange(0, 1), default=0.001, show_default=True)
def main(
    folders: tuple[Path, ...], output: Path, model: str | None, device: str, kinds: tuple[str, ...], fmr: float
) -> None:
    """Track every sequence in FOLDERS; OUTPUT/trackers.json and trackers.md have all rows."""
    embedder = Embedder.load(model, device=device)
    model_of = EmbedBoxes(embedder, "rgb")
    linked = ReassociateTracks.calibrated(model_of, fmr)
    calibration = embedder.calibration
    assert calibration is not None  # `calibrated` would have said so
    thresholds = (calibration.stratum("1x1", "within").threshold(fmr), linked.threshold)
    rows: list[Row] = []
    output.mkdir(parents=True, exist_ok=True)
    for sequence in (each for folder in folders for each in find_sequences(folder)):
        for row in measure(sequence, Remembered(model_of), thresholds, kinds):
            rows.append(row)
            click.echo(table([row]).splitlines()[-1], err=True)
        facts: dict[str, Any] = {
            "environment": environment(), "contract_id": embedder.contract.contract_id, "thresholds": thresholds
        }  # fmt: skip
        (output / "trackers.json").write_text(json.dumps(facts | {"rows": [*map(asdict, rows)]}, indent=1) + "\n")
        (output / "trackers.md").write_text(table(rows))


if __name__ == "__main__":
    run(main)
