"""The numbers that this project aims at, each beside what a report measured: a value, its interval, reached or not.

A speed, a share of a peak or of a rate is aimed at from below, a cold start from above. An aim is reached where the
whole interval is on its side, not reached where none of it is, and between the two the report says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import precision_of
from benchmarks.measurements import Row
from benchmarks.peers.measuring import OURS
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.roofline import peak
from benchmarks.throughput import COLD, DECODE, EIGHT, ENGINE, FOLDER, MIXED, OFFLINE, SPREAD
from benchmarks.timing import Interval, median_interval

SPEED = {"float32": 2.0, "bfloat16": 4.0, "int8": 7.0}
"""Times torch eager on the same weights, files to vectors, by the precision that is computed in."""
SHARE = {"float32": 0.80, "int8": 0.75}
"""Of the machine's peak in that precision, in batches of eight."""
NETWORK = "resnet50"
"""Speeds and shares are aimed at for this network: smaller ones spend more of their time outside of convolutions."""
EMBED, SIZES, START = 0.95, 0.95, 0.8
"""Of the rate that decoding leaves; of one size's rate; seconds."""
STARTS = "mobilenetv2-market1501, onnxruntime cpu"
"""Whose cold start it is: the default model's, on the default device."""


@dataclass(frozen=True)
class Aim:
    """One aim and one case that is held to it."""

    what: str
    case: str
    goal: float
    found: Interval
    most: bool = False
    """Whether the goal is the most that it may be, and not the least."""
    also: str = ""
    """What belongs beside it."""

    @property
    def verdict(self) -> str:
        """reached, not reached, or too close to tell."""
        worst, best = (self.found.high, self.found.low) if self.most else (self.found.low, self.found.high)
        sign = -1 if self.most else 1
        if sign * worst >= sign * self.goal:
            return "reached"
        return "not reached" if sign * best < sign * self.goal else "too close to tell"


def aims(rows: Sequence[Row]) -> list[Aim]:
    """Every aim that these rows, a report's, can be held to."""
    return [*_speeds(rows), *_shares(rows), *_folders(rows), *_sizes(rows), *_starts(rows)]


def _speeds(rows: Sequence[Row]) -> list[Aim]:
    found = []
    for row in rows:
        if row.part != PEERS or not row.case.startswith(OURS) or "times" not in row.facts:
            continue
        goal, against = SPEED.get(precision_of(row) or ""), row.setting["against"]
        if goal is not None and against.startswith("torch eager") and NETWORK in row.case and NETWORK in against:
            times = Interval(row.facts["times"], row.facts["times_low"], row.facts["times_high"])
            found.append(Aim("times torch eager, files to vectors", row.case.removeprefix(OURS), goal, times))
    return found


def _shares(rows: Sequence[Row]) -> list[Aim]:
    found = []
    for row in rows:
        if row.part != EIGHT or "operations" not in row.facts or NETWORK not in row.case:
            continue
        precision = precision_of(row)
        if precision is None:
            continue
        most, goal = peak(list(rows), precision), SHARE.get(precision)
        if most is not None and goal is not None:
            shares = median_interval([row.facts["operations"] / value / most for value in row.seconds])
            found.append(Aim(f"share of the {precision} peak, batches of eight", row.case, goal, shares))
    return found


def _folders(rows: Sequence[Row]) -> list[Aim]:
    """Decoding and the engine share the cores, so at best a folder takes as long as the engine with all of them, and
    then decoding, spread over them without loss.
    """
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.part == OFFLINE:
            groups.setdefault((row.setting["model"], row.setting["device"]), {})[row.case] = row
    found = []
    for (model, device), group in groups.items():
        if {FOLDER, ENGINE, DECODE} <= set(group):
            folder, engine, decode = (np.array(group[case].seconds) for case in (FOLDER, ENGINE, DECODE))
            decode = decode / group[DECODE].setting["threads"]
            left = median_interval([float(value) for value in (engine + decode) / folder])
            alone, share = np.median(engine / folder), np.median(decode / (engine + decode))
            also = f"{alone:.2f} of the engine alone; decoding and resizing are {100 * share:.0f} % of the work"
            what = "folder throughput / what decoding leaves of the engine's"
            found.append(Aim(what, f"{model}, {device}", EMBED, left, also=also))
    return found


def _sizes(rows: Sequence[Row]) -> list[Aim]:
    return [
        Aim(
            "33 widths / one size, throughput",
            f"{row.setting['model']}, {row.setting['device']}",
            SIZES,
            Interval(row.facts["times"], row.facts["times_low"], row.facts["times_high"]),
        )
        for row in rows
        if row.part == MIXED and row.case == SPREAD
    ]


def _starts(rows: Sequence[Row]) -> list[Aim]:
    return [
        Aim("seconds of a cold start with one crop", row.case, START, median_interval(row.seconds), most=True)
        for row in rows
        if row.part == COLD and row.case.startswith(STARTS)
    ]
