"""python -m benchmarks.compare A.json B.json: what became slower from one report to another, by more than noise; which
cases are no longer measured; and whose vectors are further from the reference's, or rank worse.

Each case's samples are cut into windows. A window's estimate is its tenth percentile, for what disturbs a sample only
ever adds to it, as a multiple of the yardstick's in the same rounds, so that a machine that was slower all in all
changes nothing. The change is the ratio of the two reports' estimates with Welch's interval over the windows; and
because noise is seldom normal, most windows of the one report must lie on the same side of most windows of the other.
The stages' windows are processes of their own, so their noise is what differs from run to run, and a stage that is
slower is named as the cause. All other cases are measured in one process: how much they differ from run to run is
taken from the stages, and without these they must differ by more. They are many, and none of them may raise an alarm
over nothing: what takes 15 % longer outside of the stages, as in handing pictures from thread to thread, may end as
unclear, which is counted and no failure. A server's rate is left out. Where a series goes over inputs of many sizes in
turn, a sample is a whole turn: single ones would be those of the smallest inputs.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance

import click

from benchmarks.measurements import YARDSTICK, Report, ResultError, Row, read_report, shown, text_table, turns
from benchmarks.roofline import PART as LIMITS
from benchmarks.stages import PART as STAGES
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
_WINDOWS = 6
_UNDISTURBED = 0.1
LEVEL = 0.98
"""Of a stage's interval; that of the other cases is raised by their number, so that many of them raise no alarm."""
_LEFT_OUT = frozenset({LIMITS, "Server", "accuracy"})
"""Of the machine and not of the code; latencies at a rate that is itself what was found; timed three times."""
_COSINE = 1e-4
"""A worst cosine that is lower by more is no rounding."""
_SAME = {
    "threads": "the same --threads",
    "budget": "both or neither with --quick",
    "evidence": "the same pictures in --crops",
}
"""What two reports must share, and how they come to."""


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
    def name(self) -> str:
        """The case for people; a stage as such."""
        return _name(self.row)


def _name(row: Row) -> str:
    whose = ", ".join(str(row.setting[key]) for key in ("model", "device", "axis", "boxes") if key in row.setting)
    case = f"the stage {row.case!r}" if row.part == STAGES else row.case
    return ": ".join(filter(None, (row.part, case))) + (f" ({whose})" if whose else "")


def require_same(before: Report, after: Report) -> None:
    """Raise ResultError for reports of other threads, another budget or other pictures, or without a common case."""
    for key, how in _SAME.items():
        first, second = (report.environment.get(key) for report in (before, after))
        if None not in (first, second) and first != second:
            raise ResultError(f"expected reports with the same {key}, found {first} and {second}: run them with {how}")
    if not {row.key for row in shown(before.rows)} & {row.key for row in shown(after.rows)}:
        raise ResultError(
            "the two reports have no case with the same setting in common: compare runs of one command with the same "
            "options on one machine"
        )


def changes(before: Report, after: Report) -> list[Change]:
    """Of the cases that both reports timed with the same setting; raises ResultError as `require_same` does."""
    require_same(before, after)
    old, new = ({row.key: row for row in report.rows} for report in (before, after))
    both = _timed([row for key, row in new.items() if key in old])
    others = sum(row.part != STAGES for row in both)
    sides = {row.key: _side_by_side(old, new, row) for row in both}
    process = _between_processes([each for row in both if row.part == STAGES for each in sides[row.key]])
    found = []
    for row in both:
        first, second = sides[row.key]
        if len(first) < 2 or len(second) < 2:
            continue
        if row.part == STAGES:
            ratio, margin = change(first, second, LEVEL), MARGIN
        else:
            ratio = change(first, second, 1 - (1 - LEVEL) / others, process or 0)
            margin = UNKNOWN_MARGIN if process is None else MARGIN
        pairs = [before < after for before in first for after in second]
        found.append(Change(row, ratio, sum(pairs) / len(pairs), margin))
    return found


def too_short(before: Report, after: Report, found: list[Change]) -> list[str]:
    """The cases that both reports timed, and too few times for two windows."""
    told = {each.row.key for each in found}
    there = {row.key for row in before.rows}
    return list(dict.fromkeys(_name(row) for row in _timed(after.rows) if row.key in there - told))


def _timed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in shown(rows) if row.part not in _LEFT_OUT]


def lost(before: Report, after: Report) -> list[str]:
    """The cases that are in the first report alone: no longer measured, or with another setting."""
    there = {row.key for row in after.rows}
    gone = [_name(row) for row in shown(before.rows) if row.key not in there and row.part != LIMITS]
    return list(dict.fromkeys(gone))


def worse_parity(before: Report, after: Report) -> list[str]:
    """The cases whose worst cosine is lower, or whose change in mAP is, by its whole interval."""
    old = {row.key: row.facts for row in before.rows}
    both = [row for row in shown(after.rows) if row.key in old]
    return list(dict.fromkeys(f"{_name(row)}: {what}" for row in both for what in _worse(old[row.key], row.facts)))


def _worse(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    found = []
    if "cosine" in before:
        was, now = before["cosine"], after.get("cosine")
        if now is None:
            found.append(f"the worst cosine to the reference was {was:.6f} and is no longer measured")
        elif not now >= was - _COSINE:  # so that NaN is worse, too
            found.append(f"the worst cosine to the reference was {was:.6f} and is {now:.6f}")
    for name in ("map_finite_sum", "map_trapezoid"):
        change, low, high = f"{name}_change", f"{name}_change_low", f"{name}_change_high"
        if {change, low} <= before.keys() and {change, high} <= after.keys() and not after[high] >= before[low]:
            points = [100 * facts[change] for facts in (before, after)]
            found.append(f"the change in {name} was {points[0]:+.2f} points and is {points[1]:+.2f}")
    return found


def _between_processes(stages: list[list[float]]) -> float | None:
    """The variance of a logarithm from one process to another, over all stages; None where there are none."""
    known = [variance([math.log(value) for value in side]) for side in stages if len(side) >= 2]
    return fmean(known) if known else None


def _side_by_side(
    old: Mapping[tuple[str, str, str], Row], new: Mapping[tuple[str, str, str], Row], row: Row
) -> list[list[float]]:
    """A case's estimates in each report, in units of the yardstick's where both have timed it with the case."""
    both = [(side[row.key], side.get((row.part, YARDSTICK, row.key[2]))) for side in (old, new)]
    missing = any(yardstick is None for _, yardstick in both)
    return [_estimates(own, None if missing else yardstick) for own, yardstick in both]


def _estimates(row: Row, yardstick: Row | None) -> list[float]:
    """One a window; without a yardstick it is seconds."""
    # Stages come in windows of a process each, which must not be mixed.
    count = int(row.setting.get("windows", _WINDOWS))
    own = [percentile(window, _UNDISTURBED) / row.items for window in windows(turns(row), count)]
    if yardstick is None:
        return own
    # Which is timed once a turn.
    unit = [percentile(window, _UNDISTURBED) for window in windows(yardstick.seconds, count)]
    return [value / measure for value, measure in zip(own, unit, strict=True)]


def slower_stages(found: list[Change]) -> list[Change]:
    """The stages that are slower: what a regression comes from."""
    return [each for each in found if each.row.part == STAGES and each.verdict == "slower"]


def verdict(found: list[Change]) -> str:
    """In a sentence or two: what is slower, and which stage it is."""
    stages = slower_stages(found)
    slower = [each for each in found if each.verdict == "slower" and each.row.part != STAGES]
    if stages:
        named = "; ".join(f"{each.name} takes {as_percent(each.ratio)}" for each in stages)
        also = f"; with it {len(slower)} other cases" if slower else ""
        return f"slower: {named}{also}"
    if slower:
        named = "; ".join(f"{each.name} takes {as_percent(each.ratio)}" for each in slower[:5])
        return f"slower, in none of the stages: {named}"
    if not found:
        return "no case was timed often enough to compare"
    unclear = [each for each in found if each.verdict == "unclear"]
    told = f"; {len(unclear)} of {len(found)} cases are too noisy to tell 15 %" if unclear else ""
    return f"nothing is slower by more than noise{told}"


def as_percent(ratio: Interval) -> str:
    """A change and its interval, for people."""
    return f"{100 * (ratio.value - 1):+.0f} % ({100 * (ratio.low - 1):+.0f} to {100 * (ratio.high - 1):+.0f})"


def as_table(found: list[Change]) -> str:
    """All changes, for people."""
    return text_table(
        ["case", "time", "verdict"], [[each.name, as_percent(each.ratio), each.verdict] for each in found]
    )


def differences(before: Report, after: Report) -> list[str]:
    """What was not the same for the two: source, processor, packages, models, what parity was measured against."""
    keys = ("git", "processor", "cores", "system", "python", "packages", "gpus", "data", "reference", "artefacts")
    return [
        f"{key}: {before.environment.get(key)} and {after.environment.get(key)}"
        for key in keys
        if before.environment.get(key) != after.environment.get(key)
    ]


@click.command()
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(before: Path, after: Path, as_json: bool) -> None:
    """Compare two reports of the same command, and say which stage is slower.

    Exit 1 where something is slower or no longer measured, or where parity is worse.
    """
    reports = read_report(before), read_report(after)
    found = changes(*reports)
    gone, worse, unlike = (tell(*reports) for tell in (lost, worse_parity, differences))
    if as_json:
        rows = [
            {"case": each.name, "verdict": each.verdict}
            | {"ratio": each.ratio.value, "low": each.ratio.low, "high": each.ratio.high}
            for each in found
        ]
        told = {"verdict": verdict(found), "changes": rows, "lost": gone, "parity": worse, "differences": unlike}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{as_table(found)}\n\n{verdict(found)}")
        for name in gone:
            click.echo(f"no longer measured: {name}")
        for line in worse:
            click.echo(f"worse parity: {line}")
    for line in unlike:
        click.echo(f"not the same for the two: {line}", err=True)
    for name in too_short(*reports, found):
        click.echo(f"too few samples to compare: {name}", err=True)
    if gone or worse or any(each.verdict == "slower" for each in found):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
