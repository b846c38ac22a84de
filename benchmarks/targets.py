"""The numbers that this project aims at, each with what a report measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.measurements import Part, Row
from benchmarks.tables import Table, peak
from benchmarks.throughput import DECODE, ENGINE, FOLDER, MANY_WIDTHS
from benchmarks.timing import Interval, median_interval

NETWORK = "resnet50"
"""Speeds and shares are aimed at for this network: smaller ones spend more of their time outside of convolutions."""
SPEED = {"float32": 2.0, "bfloat16": 4.0, "int8": 7.0}
"""Times torch eager on the same weights, files to vectors, by the precision that is computed in."""
SHARE = {"float32": 0.80, "int8": 0.75}
"""Of the machine's peak in that precision, in batches of eight."""
EMBED, SIZES, START = 0.95, 0.95, 0.8
"""Of the rate that decoding leaves; of one size's rate; seconds of the default model on the default device."""
_DEFAULT = ("osnet-1.0", "onnxruntime cpu")


@dataclass(frozen=True)
class Target:
    """One target and a row that is held to it; at_most: whether the goal is the most that it may be."""

    what: str
    row: Row
    goal: float
    measured: Interval
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """reached where the whole interval is on its side, not reached where none of it is, else too close to tell."""
        missed, reached = self.measured.high < self.goal, self.measured.low >= self.goal
        if self.at_most:
            missed, reached = self.measured.low > self.goal, self.measured.high <= self.goal
        return "reached" if reached else "not reached" if missed else "too close to tell"


def tables(rows: Sequence[Row]) -> list[Table]:
    """For a report: one, or none without a target that its rows can be held to."""
    lines = [
        (each.what, each.row.label, f"{'at most' if each.at_most else 'at least'} {each.goal:g}", str(each.measured),
         each.verdict)
        for each in targets(rows)
    ]  # fmt: skip
    caption = "What this project aims at, and the median of this run's rounds with its 95 % interval."
    return [Table("Targets", caption, ("target", "case", "goal", "measured", "verdict"), lines)] if lines else []


def targets(rows: Sequence[Row]) -> Iterator[Target]:
    """Every target that these rows, a report's, can be held to."""
    eager = any(row.peer == "torch eager" and row.network == NETWORK for row in rows)
    offline = {(row.owner, row.name): row for row in rows if row.part == Part.OFFLINE}
    for row in rows:
        large = row.network == NETWORK
        most = peak(rows, row.precision) if row.precision else None
        if row.part == Part.PEERS and not row.peer and large and eager and row.speed and row.precision in SPEED:
            yield Target("times torch eager, files to vectors", row, SPEED[row.precision], row.speed)
        elif row.part == Part.EIGHT and large and row.operations and most and row.precision in SHARE:
            shares = median_interval([row.operations / second / most for second in row.seconds])
            yield Target("share of the peak, batches of eight", row, SHARE[row.precision], shares)
        elif row.part == Part.OFFLINE and row.name == FOLDER:
            yield _folder(row, offline[row.owner, ENGINE], offline[row.owner, DECODE])
        elif row.part == Part.MIXED and row.name == MANY_WIDTHS and row.speed:
            yield Target("33 widths / one size, throughput", row, SIZES, row.speed)
        elif row.part == Part.COLD and (row.network, row.engine) == _DEFAULT:
            seconds = median_interval(row.seconds)
            yield Target("seconds of a cold start with one crop", row, START, seconds, at_most=True)


def _folder(folder: Row, engine: Row, decode: Row) -> Target:
    """At best a folder takes as long as the engine on all cores, and then decoding, spread over them without loss."""
    threads = int(folder.setting["threads"])
    rounds = zip(folder.seconds, engine.seconds, decode.seconds, strict=True)
    shares = median_interval([(ready + decoded / threads) / job for job, ready, decoded in rounds])
    return Target("folder throughput / what decoding leaves of the engine's", folder, EMBED, shares)
