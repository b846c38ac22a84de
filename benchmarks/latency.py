"""python -m benchmarks.latency: SingleStream, MultiStream and Server, from pixels in memory to vectors.

Single- and MultiStream are measured in turns: each artefact has a number of queries back to back, SingleStream's all
crops once, then the next artefact has them. A row's seconds are those of every query in order, `turn` in its setting
says how many are a turn, its fact `rate` is images by the time of all queries, and `operations`, where they can be
counted, are the engine's in a turn.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.cases import Setup, Subject, subject_options
from benchmarks.inputs import equal_issue, frame_with_boxes
from benchmarks.measurements import YARDSTICK, Found, Row, hand_over, output_option, rows_of, shown, text_table
from benchmarks.scenarios import MOST, SEEDS, TAIL, TRIES, arrivals, highest_rate, serve, stream
from benchmarks.timing import paired, percentile, supported, yardstick
from reid_runtime.cli import run
from reid_runtime.images.resize import Pixels

SINGLE, MULTI, SERVER = "SingleStream", "MultiStream", "Server"
BOXES = (8, 16, 32, 64)
BOUND = 0.1
"""Seconds within which a server's answers must come."""
_BOXES_A_TURN = 72
"""As many different frames as have so many boxes: with 8 in each, the turns of a full measurement have a 99th
percentile."""


def measure_latency(setup: Setup, subjects: list[Subject], bound: float = BOUND) -> Found:
    """All three scenarios of every subject; the subjects in turn but for Server, which needs the machine alone."""
    return Found([*_single(setup, subjects), *_multi(setup, subjects), *_server(setup, subjects, bound)])


def _single(setup: Setup, subjects: list[Subject]) -> list[Row]:
    crops, budget = setup.evidence.crops, setup.budget
    # However many crops make one turn, some turns there must be: they are the samples that two reports compare.
    count = max(-(-budget.queries // len(crops)), budget.rounds // 2)
    issued = list(equal_issue((budget.warmup + count) * len(crops), len(crops)))
    turns = [issued[start : start + len(crops)] for start in range(0, len(issued), len(crops))]
    asked = {subject.case: partial(_embed_one, subject, crops) for subject in subjects}
    shapes = [crop.shape[:2] for crop in crops]
    setting = {"crops": len(crops), "issue": "equal", "sizes": len(set(shapes))}
    facts = {subject.case: subject.facts | subject.operations(shapes) for subject in subjects}
    return _in_turns(SINGLE, asked, turns, setup, setting, 1, facts)


def _embed_one(subject: Subject, crops: Sequence[Pixels], number: int) -> None:
    subject.embedder.embed([crops[number]], "rgb")


def _multi(setup: Setup, subjects: list[Subject]) -> list[Row]:
    budget = setup.budget
    rows = []
    for count in BOXES if budget.scale > 1 else BOXES[::3]:
        frames = [frame_with_boxes(setup.evidence.crops, count, seed) for seed in range(_BOXES_A_TURN // count)]
        turns = [range(len(frames))] * (budget.warmup + budget.rounds)
        asked = {subject.case: partial(_embed_frame, subject, frames) for subject in subjects}
        shapes = [(int(bottom - top), int(right - left)) for _, boxes in frames for left, top, right, bottom in boxes]
        facts = {subject.case: subject.facts | subject.operations(shapes) for subject in subjects}
        rows += _in_turns(MULTI, asked, turns, setup, {"boxes": count}, count, facts)
    return rows


def _embed_frame(subject: Subject, frames: Sequence[tuple[Pixels, npt.NDArray[np.float32]]], number: int) -> None:
    subject.embedder.embed_boxes(*frames[number], "rgb")


def _in_turns(
    part: str,
    asked: Mapping[str, Callable[[int], object]],
    turns: Sequence[Sequence[int]],
    setup: Setup,
    setting: Mapping[str, Any],
    items: int,
    facts: Mapping[str, Mapping[str, float]],
) -> list[Row]:
    """The rows of cases that take turns of queries, the warm-up's uncounted; the yardstick has one a turn.

    items: images of a query.
    """
    warmup = setup.budget.warmup
    latencies: dict[str, list[float]] = {case: [] for case in asked}

    def taking(case: str) -> Callable[[], object]:
        left = iter(turns)
        return lambda: latencies[case].extend(stream(next(left), asked[case]))

    calls = {case: taking(case) for case in asked}
    samples = paired({**calls, YARDSTICK: partial(yardstick, setup.threads)}, len(turns) - warmup, warmup)
    turn = len(turns[0])
    counted = {case: seconds[warmup * turn :] for case, seconds in latencies.items()}
    rates = {case: {"rate": items * len(seconds) / sum(seconds)} for case, seconds in counted.items()}
    own = {case: {**facts[case], **rates[case]} for case in asked}
    return rows_of(part, samples | counted, {**setting, "turn": turn}, items, facts=own)


def _server(setup: Setup, subjects: list[Subject], bound: float) -> list[Row]:
    return [_served(setup, subject, bound) for subject in subjects]


def _served(setup: Setup, subject: Subject, bound: float) -> Row:
    crops, seconds = setup.evidence.crops, setup.budget.server_seconds

    def answer(order: Sequence[int], some: Sequence[int]) -> None:
        subject.embedder.embed([crops[order[number]] for number in some], "rgb")

    def latencies(rate: float, seed: int) -> list[float]:
        times = arrivals(rate, seconds, seed)
        order = list(equal_issue(len(times), len(crops), seed))
        return serve(times, partial(answer, order), bound=bound)

    alone = _warm(len(crops), partial(answer, range(len(crops))))
    tries = TRIES if setup.budget.scale > 1 else 4
    served = highest_rate(latencies, bound, 1 / alone, least=1 / seconds, tries=tries)
    facts = {"rate": served.rate, "seeds": float(SEEDS)} | subject.facts
    if served.failed is not None:
        facts["rate_failed"] = served.failed
    setting = {"bound_ms": 1e3 * bound, "tail": TAIL, "seconds": seconds}
    # Where no rate held there are no latencies; that one query alone took so long is what is kept.
    return Row(subject.case, setting, served.latencies or (alone,), 1, facts, SERVER)


def _warm(crops: int, answer: Callable[[Sequence[int]], None]) -> float:
    """Answer all crops in calls of MOST, and of half as many down to one: engines prepare for each shape of a batch.

    Gives the mean seconds of a query alone, of a turn after that.
    """
    size = MOST
    while size:
        for start in range(0, crops, size):
            answer(range(start, min(start + size, crops)))
        size //= 2
    alone = stream(range(crops), lambda number: answer([number]))
    return sum(alone) / len(alone)


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = []
    for row in shown(rows):
        what = f"{row.setting['boxes']} boxes" if row.part == MULTI else ""
        cosine = f"{row.facts['cosine']:.6f}" if "cosine" in row.facts else ""
        lines.append([row.part, row.case, what, *points(row), _rate(row), cosine, "" if row.steady else "not steady"])
    return text_table(["scenario", "case", "", "p50 ms", "p90 ms", "p99 ms", "images", "cosine", ""], lines)


def points(row: Row) -> tuple[str, ...]:
    """The 50th, 90th and 99th percentile in milliseconds, a dash for one that so few samples do not have."""
    return tuple(
        f"{1e3 * percentile(row.seconds, share):.2f}" if supported(len(row.seconds), share) else "–"
        for share in (0.5, 0.9, 0.99)
    )


def _rate(row: Row) -> str:
    held, failed = row.facts["rate"], row.facts.get("rate_failed")
    if row.part != SERVER:
        return f"{held:.1f}/s"
    return f"at least {held:.1f}/s" if failed is None else f"{held:.1f}–{failed:.1f}/s"


@click.command()
@subject_options
@click.option("--bound", default=1e3 * BOUND, show_default=True, help="Server: the latency to keep within, in ms.")
@output_option
def main(setup: Setup, bound: float, output: Path | None) -> None:
    """Time single crops, frames of boxes and a Poisson stream of crops, as MLPerf's scenarios have them."""
    subjects, notes = setup.subjects()
    found = Found(notes=notes)
    found.add(measure_latency(setup, subjects, bound / 1e3))
    hand_over("latency", found, as_table(found.rows), output)


if __name__ == "__main__":
    run(main)
