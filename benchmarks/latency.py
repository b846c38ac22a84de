"""python -m benchmarks.latency: single crops and frames with boxes, from pixels in memory to vectors.

Cases take turns: each has a number of queries back to back, of which every input is asked as often as any other, then
the next case has them. A row's seconds are those of every query. The names are MLPerf Inference's (Reddi et al., 2020);
percentiles are nearest ranks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from benchmarks.cases import Case, Setup, case_options
from benchmarks.inputs import equal_issue, frame_with_boxes
from benchmarks.measurements import Call, Measurements, Part, Row, emit, in_turn, output_option
from benchmarks.tables import text
from reid_runtime.cli import run
from reid_runtime.images.resize import Pixels

BOXES = (8, 16, 32, 64)
_BOXES_A_TURN = 72
"""As many different frames as have so many boxes: with 8 in each, a full measurement has a 99th percentile."""

Queries = tuple[Row, Callable[[int], object]]  # the call answers the query of a number


def measure_latency(setup: Setup, cases: Sequence[Case]) -> Measurements:
    """SingleStream and MultiStream of every case, the cases in turn."""
    return Measurements([*_single_stream(setup, cases), *_multi_stream(setup, cases)])


def _single_stream(setup: Setup, cases: Sequence[Case]) -> list[Row]:
    crops, budget = setup.evidence.crops, setup.budget
    # However many crops make one turn, some turns there must be: they are the samples that two reports compare.
    count = max(-(-budget.queries // len(crops)), budget.rounds // 2)
    issued = list(equal_issue((budget.warmup + count) * len(crops), len(crops)))
    turns = [issued[start : start + len(crops)] for start in range(0, len(issued), len(crops))]
    shapes = [crop.shape[:2] for crop in crops]

    def queries(case: Case) -> Queries:
        row = case.row(Part.SINGLE_STREAM, setting={"crops": len(crops)}, operations=case.operations(shapes))
        return row, lambda number: case.embedder.embed([crops[number]], "rgb")

    return _in_turns([queries(case) for case in cases], turns, setup)


def _multi_stream(setup: Setup, cases: Sequence[Case]) -> list[Row]:
    rows: list[Row] = []
    for count in BOXES if setup.budget.scale > 1 else BOXES[::3]:
        frames = [frame_with_boxes(setup.evidence.crops, count, seed) for seed in range(_BOXES_A_TURN // count)]
        turns = [range(len(frames))] * (setup.budget.warmup + setup.budget.rounds)
        shapes = [(int(y2 - y1), int(x2 - x1)) for _, boxes in frames for x1, y1, x2, y2 in boxes]

        queries = []
        for case in cases:
            row = case.row(Part.MULTI_STREAM, f"{count} boxes", items=count, operations=case.operations(shapes))
            queries.append((row, partial(_embed_frame, case, frames)))
        rows += _in_turns(queries, turns, setup)
    return rows


def _embed_frame(case: Case, frames: Sequence[tuple[Pixels, npt.NDArray[np.float32]]], number: int) -> None:
    case.embedder.embed_boxes(*frames[number], "rgb")


def _in_turns(cases: Sequence[Queries], turns: Sequence[Sequence[int]], setup: Setup) -> list[Row]:
    """The rows of cases that take turns of queries, the warm-up's uncounted."""
    warmup, turn = setup.budget.warmup, len(turns[0])
    latencies: list[list[float]] = [[] for _ in cases]

    def take_turns(answer: Callable[[int], object], seconds: list[float]) -> Call:
        remaining = iter(turns)

        def call() -> None:
            for number in next(remaining):
                started = time.perf_counter()
                answer(number)
                seconds.append(time.perf_counter() - started)

        return call

    calls = [(row, take_turns(answer, seconds)) for (row, answer), seconds in zip(cases, latencies, strict=True)]
    rows = in_turn(calls, len(turns) - warmup, warmup, setup.threads)
    return [
        replace(row, seconds=tuple(seconds[warmup * turn :]), turn=turn)
        for row, seconds in zip(rows, latencies, strict=True)
    ]


@click.command()
@case_options
@output_option
def main(setup: Setup, output: Path | None) -> None:
    """Time single crops and frames of boxes."""
    cases, notes = setup.cases()
    measured = Measurements(notes=notes)
    measured.add(measure_latency(setup, cases))
    emit("latency", setup.about(), measured, text(measured.rows), output)


if __name__ == "__main__":
    run(main)
