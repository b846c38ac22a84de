"""python -m benchmarks.compare A.json B.json: what became slower from one report to another, by more than noise; which
cases are no longer measured; and whose vectors are further from the reference's, or rank worse.

Each case's samples are cut into windows. A window's estimate is its tenth percentile, for what disturbs a sample only
ever adds to it, as a multiple of the reference load's in the same rounds, so that a slower machine changes nothing.
The change is the ratio of the two reports' estimates with Welch's interval over the windows, most of which must also
lie on one side of most of the other report's. The stages' windows are processes of their own: what differs from process
to process is part of their noise, and of that of all other cases, which one process measured. A stage that is slower is
named as the cause.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance

import click

from benchmarks.measurements import Part, Report, ResultError, Row, markdown_table, read_report
from benchmarks.timing import Interval, change, percentile, windows
from reid_runtime.cli import run

MARGIN = 1.05
"""A change within this, both ways, is nobody's concern: another order of the code in memory makes as much."""
UNKNOWN_MARGIN = 1.1
"""That of cases that one process measured, in reports that cannot tell what differs from process to process."""
SENSITIVE = 1.15
"""Cases whose interval reaches beyond this are too noisy to say that nothing changed."""
APART = 0.85
"""The share of pairs of windows, one of each report, that must agree on which is slower: a few windows that something
disturbed all along hide nothing."""
LEVEL = 0.98
"""Of a stage's interval; that of the other cases is raised by their number, so that many of them raise no alarm."""
_WINDOWS = 6
_UNDISTURBED = 0.1
_COSINE = 1e-4  # a worst cosine that is lower by more is no rounding
_SAME = {
    "threads": "the same --threads",
    "budget": "both or neither with --quick",
    "evidence": "the same images in --crops",
}
"""What two reports must share, and how they come to."""
_MAY_DIFFER = ("git", "processor", "cores", "system", "python", "packages", "gpus", "data", "reference", "artefacts")


@dataclass(frozen=True)
class Change:
    """How one case's time changed: the ratio after / before."""

    row: Row
    ratio: Interval
    slower: float
    """The share of pairs of windows, one of each report, in which the one after takes longer."""
    margin: float

    @property
    def verdict(self) -> str:
        """slower, faster, unchanged, or unclear: too noisy to tell a change of 15 % from none."""
        if self.ratio.low > self.margin and self.slower >= APART:
            return "slower"
        if self.ratio.high < 1 / self.margin and self.slower <= 1 - APART:
            return "faster"
        return "unchanged" if self.ratio.high < SENSITIVE and self.ratio.low > 1 / SENSITIVE else "unclear"

    @property
    def percent(self) -> str:
        """The change and its interval, for people."""
        value, low, high = (100 * (ratio - 1) for ratio in (self.ratio.value, self.ratio.low, self.ratio.high))
        return f"{value:+.0f} % ({low:+.0f} to {high:+.0f})"


def name_of(row: Row) -> str:
    """The case for people; a stage as such."""
    return f"{'the stage' if row.part == Part.STAGES else row.part}: {row.label}"


def changes(before: Report, after: Report) -> list[Change]:
    """Of the cases that both reports timed with the same setting.

    Raises ResultError for reports of other threads, another budget or other images, or without a common case.
    """
    for key, how in _SAME.items():
        first, second = (report.environment.get(key) for report in (before, after))
        if None not in (first, second) and first != second:
            raise ResultError(f"expected reports with the same {key}, found {first} and {second}: run them with {how}")
    both = _both(before, after)
    if not both:
        raise ResultError(
            "the two reports have no case with the same setting in common: compare runs of one command with the same "
            "options on one machine"
        )
    # The roofline is the machine's, and not the code's.
    pairs = [(row, estimates(old), estimates(row)) for old, row in both if row.part != Part.ROOFLINE]
    pairs = [pair for pair in pairs if min(len(pair[1]), len(pair[2])) >= 2]
    stages = [side for row, *sides in pairs if row.part == Part.STAGES for side in sides]
    others = sum(row.part != Part.STAGES for row, *_ in pairs)
    # The variance of a logarithm from one process to another, over all stages.
    process = fmean(variance([math.log(value) for value in side]) for side in stages) if stages else None
    compared = []
    for row, first, second in pairs:
        if row.part == Part.STAGES:
            ratio, margin = change(first, second, LEVEL), MARGIN
        else:
            ratio = change(first, second, 1 - (1 - LEVEL) / others, process or 0)
            margin = UNKNOWN_MARGIN if process is None else MARGIN
        slower = [one < other for one in first for other in second]
        compared.append(Change(row, ratio, sum(slower) / len(slower), margin))
    return compared


def _both(before: Report, after: Report) -> list[tuple[Row, Row]]:
    old = {row.key: row for row in before.rows}
    return [(old[row.key], row) for row in after.rows if row.key in old]


def estimates(row: Row) -> list[float]:
    """One a window, in units of the reference load's where that was timed, else in seconds."""
    # Stages come in windows of a process each, which must not be mixed.
    count = row.processes or _WINDOWS
    series = [percentile(window, _UNDISTURBED) / row.items for window in windows(row.turns, count)]
    unit = [percentile(window, _UNDISTURBED) for window in windows(row.load, count)] if row.load else [1] * count
    return [value / measure for value, measure in zip(series, unit, strict=bool(row.load))]


def lost(before: Report, after: Report) -> list[str]:
    """The cases that are in the first report alone: no longer measured, or with another setting."""
    there = {row.key for row in after.rows}
    return [name_of(row) for row in before.rows if row.key not in there and row.part != Part.ROOFLINE]


def worse_parity(before: Report, after: Report) -> list[str]:
    """The cases whose worst cosine is lower, or whose change in mAP is, by its whole interval."""
    worse = []
    for old, row in _both(before, after):
        was, now = old.parity.cosine, row.parity.cosine
        if was is not None and (now is None or not now >= was - _COSINE):  # so that NaN is worse, too
            text = "is no longer measured" if now is None else f"is {now:.6f}"
            worse.append(f"{name_of(row)}: the worst cosine to the reference was {was:.6f} and {text}")
        for name in ("map_finite_sum_change", "map_trapezoid_change"):
            one, other = getattr(old.parity, name), getattr(row.parity, name)
            if one is not None and other is not None and not other.high >= one.low:
                points = f"was {100 * one.value:+.2f} points and is {100 * other.value:+.2f}"
                worse.append(f"{name_of(row)}: the {name} {points}")
    return list(dict.fromkeys(worse))


def verdict(compared: Sequence[Change]) -> str:
    """In a sentence or two: what is slower, and which stage it is."""
    slower = [each for each in compared if each.verdict == "slower"]
    stages = [each for each in slower if each.row.part == Part.STAGES]
    named = "; ".join(f"{name_of(each.row)} takes {each.percent}" for each in (stages or slower[:5]))
    if stages:
        return f"slower: {named}" + (f"; with it {len(slower) - len(stages)} other cases" if slower != stages else "")
    if slower:
        return f"slower, in none of the stages: {named}"
    if not compared:
        return "no case was timed often enough to compare"
    unclear = sum(each.verdict == "unclear" for each in compared)
    noisy = f"; {unclear} of {len(compared)} cases are too noisy to tell 15 %" if unclear else ""
    return f"nothing is slower by more than noise{noisy}"


@click.command()
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(before: Path, after: Path, as_json: bool) -> None:
    """Compare two reports of the same command, and say which stage is slower.

    Exit 1 where something is slower or no longer measured, or where parity is worse.
    """
    reports = read_report(before), read_report(after)
    compared = changes(*reports)
    gone, worse = lost(*reports), worse_parity(*reports)
    pairs = {key: [report.environment.get(key) for report in reports] for key in _MAY_DIFFER}
    unlike = [f"{key}: {first} and {second}" for key, (first, second) in pairs.items() if first != second]
    if as_json:
        rows = [
            {"case": name_of(each.row), "verdict": each.verdict, "ratio": each.ratio.value, "low": each.ratio.low,
             "high": each.ratio.high}
            for each in compared
        ]  # fmt: skip
        result = {"verdict": verdict(compared), "changes": rows, "lost": gone, "parity": worse, "differences": unlike}
        click.echo(json.dumps(result, indent=2))
    else:
        lines = [[name_of(each.row), each.percent, each.verdict] for each in compared]
        click.echo(f"{markdown_table(['case', 'time', 'verdict'], lines)}\n\n{verdict(compared)}")
        for line in (*(f"no longer measured: {name}" for name in gone), *(f"worse parity: {line}" for line in worse)):
            click.echo(line)
    for line in unlike:
        click.echo(f"not the same for the two: {line}", err=True)
    keys = {each.row.key for each in compared}
    for _, row in _both(*reports):
        if row.key not in keys and row.part != Part.ROOFLINE:
            click.echo(f"too few samples to compare: {name_of(row)}", err=True)
    if gone or worse or any(each.verdict == "slower" for each in compared):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
