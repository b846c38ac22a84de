"""python -m benchmarks.latency: SingleStream, MultiStream and Server, from pixels in memory to vectors."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click

from benchmarks.inputs import equal_issue, frame_with_boxes
from benchmarks.results import YARDSTICK, Found, Row, hand_over, in_turn, output_option, rows_of, shown, text_table
from benchmarks.scenarios import TAIL, arrivals, highest_rate, serve
from benchmarks.subjects import Setup, Subject, subject_options
from benchmarks.timing import paired, percentile, yardstick
from reid_runtime.cli import run

SINGLE, MULTI, SERVER = "SingleStream", "MultiStream", "Server"
BOXES = (8, 16, 32, 64)
BOUND = 0.1
"""Seconds within which a server's answers must come."""


def measure_latency(setup: Setup, subjects: list[Subject], bound: float = BOUND) -> Found:
    """All three scenarios of every subject; the subjects in turn but for Server, which needs the machine alone."""
    return Found([*_single(setup, subjects), *_multi(setup, subjects), *_server(setup, subjects, bound)])


def _single(setup: Setup, subjects: list[Subject]) -> list[Row]:
    crops = setup.evidence.crops
    queries = list(equal_issue(setup.budget.queries, len(crops)))

    def asking(subject: Subject) -> Callable[[], object]:
        # The warm-up has inputs of its own, so that the counted queries are whole turns.
        order: Iterator[int] = iter([*queries[: setup.budget.warmup], *queries])
        return lambda: subject.embedder.embed([crops[next(order)]], "rgb")

    calls = {subject.case: asking(subject) for subject in subjects}
    samples = paired({**calls, YARDSTICK: yardstick}, len(queries), setup.budget.warmup)
    setting = {"crops": len(crops), "issue": "equal", "sizes": len({crop.shape for crop in crops})}
    return rows_of(SINGLE, samples, setting, 1, facts=_parity(subjects))


def _multi(setup: Setup, subjects: list[Subject]) -> list[Row]:
    rows = []
    for count in BOXES if setup.budget.scale > 1 else BOXES[::3]:
        frame, boxes = frame_with_boxes(setup.evidence.crops, count)
        calls: dict[str, Callable[[], object]] = {
            subject.case: partial(subject.embedder.embed_boxes, frame, boxes, "rgb") for subject in subjects
        }
        rows += in_turn(MULTI, calls, {"boxes": count}, count, setup.budget, facts=_parity(subjects))
    return rows


def _server(setup: Setup, subjects: list[Subject], bound: float) -> list[Row]:
    crops, seconds = setup.evidence.crops, setup.budget.server_seconds
    rows = []
    for subject in subjects:

        def latencies(rate: float, subject: Subject = subject) -> list[float]:
            times = arrivals(rate, seconds)
            order = list(equal_issue(len(times), len(crops)))
            return serve(
                times,
                lambda some: subject.embedder.embed([crops[order[number]] for number in some], "rgb"),
                bound=bound,
            )

        alone = percentile(paired({"": partial(subject.embedder.embed, crops[:1], "rgb")}, 5)[""], 0.5)
        served = highest_rate(latencies, bound, 1 / alone, tries=7 if setup.budget.scale > 1 else 4)
        facts = {"rate": served.rate} | dict(subject.parity)
        setting = {"bound_ms": 1e3 * bound, "tail": TAIL, "seconds": seconds}
        # Where no rate held there are no latencies; that one query alone took so long is what is kept.
        rows.append(Row(subject.case, setting, served.latencies or (alone,), 1, facts, SERVER))
    return rows


def _parity(subjects: list[Subject]) -> dict[str, dict[str, float]]:
    return {subject.case: dict(subject.parity) for subject in subjects}


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = []
    for row in shown(rows):
        what = f"{row.setting['boxes']} boxes" if row.part == MULTI else ""
        rate = f"{row.facts['rate']:.1f}/s" if row.part == SERVER else f"{row.rate:.1f}/s"
        points = [f"{1e3 * percentile(row.seconds, share):.2f}" for share in (0.5, 0.9, 0.99)]
        cosine = f"{row.facts['cosine']:.6f}" if "cosine" in row.facts else ""
        lines.append([row.part, row.case, what, *points, rate, cosine, "" if row.steady else "not steady"])
    return text_table(["scenario", "case", "", "p50 ms", "p90 ms", "p99 ms", "images", "cosine", ""], lines)


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
