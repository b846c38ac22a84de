"""python -m benchmarks.compare A.json B.json: what became slower from one report to another, by more than noise.

Each case's samples are cut into windows. A window's estimate is its tenth percentile, for what disturbs a sample only
ever adds to it, as a multiple of the yardstick's in the same rounds, so that a machine that was slower all in all
changes nothing. The change is the ratio of the two reports' estimates with Welch's interval over the windows; and
because noise is seldom normal, most windows of the one report must lie on the same side of most windows of the other.
The stages' windows are processes of their own, so their noise is what differs from run to run, and a stage that is
slower is named as the cause. All other cases are measured in one process: how much they differ from run to run is
taken from the stages, and without these they must differ by more.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance

import click

from benchmarks.results import YARDSTICK, Report, ResultError, Row, read_report, text_table
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
_LEFT_OUT = frozenset({"limits", "Server", "accuracy"})
"""Of the machine and not of the code; latencies at a rate that is itself what was found; timed three times."""


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
        setting = self.row.setting
        whose = ", ".join(str(setting[key]) for key in ("model", "device", "axis", "boxes") if key in setting)
        case = f"the stage {self.row.case!r}" if self.row.part == STAGES else self.row.case
        return f"{self.row.part}: {case}" + (f" ({whose})" if whose else "")


def changes(before: Report, after: Report) -> list[Change]:
    """Of all cases that both reports have with the same setting; raises ResultError where there is none."""
    old, new = ({row.key: row for row in report.rows} for report in (before, after))
    both = [row for key, row in new.items() if key in old and row.case != YARDSTICK and row.part not in _LEFT_OUT]
    others = sum(row.part != STAGES for row in both)
    sides = {row.key: [_estimates(side[row.key], _yardstick(side, row)) for side in (old, new)] for row in both}
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
    if not found:
        raise ResultError(
            "the two reports have no case with the same setting in common: compare runs of one command with the same "
            "options on one machine"
        )
    return found


def _between_processes(stages: list[list[float]]) -> float | None:
    """The variance of a logarithm from one process to another, over all stages; None where there are none."""
    known = [variance([math.log(value) for value in side]) for side in stages if len(side) >= 2]
    return fmean(known) if known else None


def _yardstick(side: Mapping[tuple[str, str, str], Row], row: Row) -> Row | None:
    """What was timed in turn with a row and is always the same work."""
    return side.get((row.part, YARDSTICK, row.key[2]))


def _estimates(row: Row, yardstick: Row | None) -> list[float]:
    """One a window; without a yardstick it is seconds."""
    # Stages come in windows of a process each, which must not be mixed.
    count = int(row.setting.get("windows", _WINDOWS))
    own = [percentile(window, _UNDISTURBED) for window in windows(row.seconds, count)]
    if yardstick is None:
        return own
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
        named = "; ".join(f"{each.name} takes {_percent(each.ratio)}" for each in stages)
        also = f"; with it {len(slower)} other cases" if slower else ""
        return f"slower: {named}{also}"
    if slower:
        named = "; ".join(f"{each.name} takes {_percent(each.ratio)}" for each in slower[:5])
        return f"slower, in none of the stages: {named}"
    unclear = [each for each in found if each.verdict == "unclear"]
    told = f"; {len(unclear)} of {len(found)} cases are too noisy to tell 15 %" if unclear else ""
    return f"nothing is slower by more than noise{told}"


def _percent(ratio: Interval) -> str:
    return f"{100 * (ratio.value - 1):+.0f} % ({100 * (ratio.low - 1):+.0f} to {100 * (ratio.high - 1):+.0f})"


def as_table(found: list[Change]) -> str:
    """All changes, for people."""
    return text_table(["case", "time", "verdict"], [[each.name, _percent(each.ratio), each.verdict] for each in found])


def differences(before: Report, after: Report) -> list[str]:
    """What was not the same for the two: processor, packages, engines."""
    keys = ("processor", "cores", "system", "python", "packages", "gpus")
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
    """Compare two reports of the same command: exit 1 where something is slower, and say which stage."""
    reports = read_report(before), read_report(after)
    found = changes(*reports)
    if as_json:
        rows = [
            {"case": each.name, "verdict": each.verdict}
            | {"ratio": each.ratio.value, "low": each.ratio.low, "high": each.ratio.high}
            for each in found
        ]
        click.echo(json.dumps({"verdict": verdict(found), "changes": rows}, indent=2))
    else:
        click.echo(f"{as_table(found)}\n\n{verdict(found)}")
    for line in differences(*reports):
        click.echo(f"not the same machine or packages: {line}", err=True)
    if any(each.verdict == "slower" for each in found):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
