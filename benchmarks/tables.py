"""The tables of a report, as plain cells: Markdown and HTML say the same."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.cases import whose
from benchmarks.latency import MULTI, SERVER, SINGLE, points
from benchmarks.measurements import Report, Row, shown, turns
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.roofline import BYTES, best, peak
from benchmarks.roofline import PART as LIMITS
from benchmarks.scaling import PART as GROWTH
from benchmarks.scaling import axes_of, told
from benchmarks.stages import CROPS, GPU_PART
from benchmarks.stages import PART as STAGES
from benchmarks.targets import aims
from benchmarks.throughput import COLD, EIGHT, ENGINE, MIXED, OFFLINE, share_of_peak

AIMS = "aims"
_NONE = "–"
_ASKED_FOR = re.compile(", (float32|bfloat16)\\b")


@dataclass(frozen=True)
class Table:
    """A titled table and what it shows."""

    part: str
    title: str
    says: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Its head and lines."""
        rows = (self.head, ["---"] * len(self.head), *self.lines)
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def tables(report: Report) -> list[Table]:
    """All that the report has rows for, in the order of the page."""
    rows = readable(report.rows)
    made = [
        _aims(rows), _latency(_of(rows, SINGLE), rows), _multi(_of(rows, MULTI), rows), _server(_of(rows, SERVER)),
        _offline(_of(rows, OFFLINE), rows), _mixed(_of(rows, MIXED), rows), _eight(_of(rows, EIGHT), rows),
        _cold(_of(rows, COLD)), _peers(_of(rows, PEERS), rows), _stages(_of(rows, STAGES)), _gpu(_of(rows, GPU_PART)),
        _limits(_of(rows, LIMITS)), _growth(_of(rows, GROWTH)),
    ]  # fmt: skip
    return [_full_columns(table) for table in made if table.lines]


def readable(rows: Iterable[Row]) -> list[Row]:
    """As `shown`, and what computes in integers says so: the precision that an engine is asked for is of the rest."""
    rows = shown(rows)
    integers = {whose(row) for row in rows if row.facts.get("integers")}
    return [_said_whole(row, integers) for row in rows]


def _said_whole(row: Row, integers: set[str]) -> Row:
    def said(name: str) -> str:
        return _ASKED_FOR.sub(r", int8, the rest in \1", name, count=1)

    setting: Mapping[str, Any] = {
        # A device is called so only beside its model: another one's rows may have the same engine.
        key: said(value) if value in integers or (key == "device" and whose(row) in integers) else value
        for key, value in row.setting.items()
    }
    return replace(row, case=said(row.case) if row.case in integers else row.case, setting=setting)


def _full_columns(each: Table) -> Table:
    """The table without the columns in which no line has anything, as mAP where there was no data set."""
    kept = [place for place in range(len(each.head)) if any(line[place] not in ("", _NONE) for line in each.lines)]
    lines = tuple(tuple(line[place] for place in kept) for line in each.lines)
    return replace(each, head=tuple(each.head[place] for place in kept), lines=lines)


def _aims(rows: list[Row]) -> Table:
    lines = []
    for aim in aims(rows):
        goal = f"{'at most' if aim.most else 'at least'} {aim.goal:g}"
        found = f"{aim.found.value:.2f} ({aim.found.low:.2f} to {aim.found.high:.2f})"
        lines.append((aim.what, aim.case, goal, found, aim.verdict, aim.also))
    says = "What this project promises itself, and the median of this run's rounds with its 95 % interval."
    return Table(AIMS, "Aims", says, ("aim", "artefact", "goal", "measured", "verdict", "beside it"), tuple(lines))


def _of(rows: Sequence[Row], part: str) -> list[Row]:
    return [row for row in rows if row.part == part]


def _latency(rows: list[Row], every: Sequence[Row]) -> Table:
    lines = [(row.case, *points(row), _rate(row), _of_peak(row, every), *_parity(row), _steady(row)) for row in rows]
    head = ("artefact", "p50 ms", "p90 ms", "p99 ms", "images/s", _OF_PEAK, *_PARITY, "series")
    says = (
        "One crop in memory after the other, each size as often as any other; the artefacts in turn. "
        "Percentiles are nearest ranks; images/s are all crops by all their time."
    )
    return Table(SINGLE, "SingleStream", says, head, tuple(lines))


def _multi(rows: list[Row], every: Sequence[Row]) -> Table:
    lines = [
        (
            row.case, str(row.setting["boxes"]), *points(row), _rate(row), _of_peak(row, every), *_parity(row),
            _steady(row),
        )
        for row in rows
    ]  # fmt: skip
    head = ("artefact", "boxes", "p50 ms", "p90 ms", "p99 ms", "crops/s", _OF_PEAK, *_PARITY, "series")
    says = "A frame of 1920×1080 and its boxes as one query, several frames in turn; the artefacts in turn."
    return Table(MULTI, "MultiStream", says, head, tuple(lines))


def _server(rows: list[Row]) -> Table:
    lines = [
        (
            row.case,
            f"{row.setting['bound_ms']:g}",
            _held(row),
            *points(row),
            *_parity(row),
            _steady(row) if row.facts["rate"] else _NONE,
        )
        for row in rows
    ]
    head = ("artefact", "bound ms", "highest rate/s", "p50 ms", "p90 ms", "p99 ms", *_PARITY, "series")
    streams = f"{rows[0].facts['seeds']:.0f} streams" if rows and "seeds" in rows[0].facts else "a stream"
    says = (
        f"Crops come as a Poisson process, at each rate in {streams}; the highest rate whose 99th percentile keeps the "
        "bound, and the lowest that was found not to. The artefacts had the machine one after the other. So near to "
        "what a server can do its queue comes and goes: few such series are steady."
    )
    return Table(SERVER, "Server", says, head, tuple(lines))


def _held(row: Row) -> str:
    held, failed = row.facts["rate"], row.facts.get("rate_failed")
    if failed is None:
        return f"at least {held:.1f}"
    return f"{held:.1f} to {failed:.1f}" if held else f"none, {failed:.1f} failed"


def _offline(rows: list[Row], every: Sequence[Row]) -> Table:
    says = (
        f"JPEG files to a file of embeddings; speed as a multiple of {ENGINE}. Each artefact's cases were timed in "
        "turn, the artefacts one after the other."
    )
    head = ("artefact", "case", "images/s", "speed", _OF_PEAK, *_PARITY, "series")
    return Table(OFFLINE, "Offline", says, head, tuple((whose(row), *_speed(row, every)) for row in rows))


def _mixed(rows: list[Row], every: Sequence[Row]) -> Table:
    says = (
        "Crops of 33 widths against crops of one size with exactly as many pixels in all; the two of each artefact "
        "were timed in turn."
    )
    head = ("artefact", "crops", "images/s", "speed", _OF_PEAK, *_PARITY, "series")
    return Table(MIXED, "Mixed sizes", says, head, tuple((whose(row), *_speed(row, every)) for row in rows))


def _eight(rows: list[Row], every: Sequence[Row]) -> Table:
    lines = []
    for row in rows:
        speed = _NONE if "operations" not in row.facts else f"{row.facts['operations'] / row.middle / 1e9:,.1f}"
        lines.append((row.case, _rate(row), _times(row), speed, _of_peak(row, every), *_parity(row), _steady(row)))
    head = ("artefact", "images/s", "speed", "10⁹ operations/s", _OF_PEAK, *_PARITY, "series")
    says = "Eight crops of 256×128, ready in memory; operations are two for each multiply-add of the ONNX graph."
    return Table(EIGHT, "Batches of eight, and the limit", says, head, tuple(lines))


def _cold(rows: list[Row]) -> Table:
    lines = [
        (
            row.case,
            f"{row.middle:.2f}",
            f"{min(row.seconds):.2f}",
            f"{max(row.seconds):.2f}",
            *_parity(row),
            _steady(row),
        )
        for row in rows
    ]
    says = (
        "`reid-runtime embed` of one crop, from the process's start to its end, all artefacts in turn; the system has "
        "the files in memory."
    )
    head = ("artefact", "median s", "least s", "most s", *_PARITY, "series")
    return Table(COLD, "Cold start", says, head, tuple(lines))


def _peers(rows: list[Row], every: Sequence[Row]) -> Table:
    lines = [_speed(row, every) for row in sorted(rows, key=lambda row: row.middle)]
    against = rows[0].setting["against"] if rows else ""
    says = (
        f"Files to vectors on the same files and cores, in turn, the fastest first; speed as a multiple of {against}. "
        "The files are of one size, as Market-1501's are; the cosine is the worst of the report's own crops, of many "
        "sizes, which some of these ways stretch."
    )
    head = ("case", "images/s", "speed", _OF_PEAK, *_PARITY, "series")
    return Table(PEERS, "Beside what people use instead", says, head, tuple(lines))


def _stages(rows: list[Row]) -> Table:
    lines = []
    for row in rows:
        total = sum(1 / other.rate for other in rows if other.setting == row.setting)
        share = f"{100 / row.rate / total:.1f}"
        lines.append((whose(row), row.case, f"{1e3 / row.rate:.3f}", share, *_parity(row), _steady(row)))
    written = next((f" of {row.items} rows" for row in rows if row.case == "write"), "")
    says = (
        "Each stage alone, in turn with the others, on one core; a folder has all cores for them. Copying "
        f"is the making of batches, writing that of a file{written}."
    )
    head = ("artefact", "stage", "ms an image", "share, %", *_PARITY, "series")
    return Table(STAGES, "Where the time goes", says, head, tuple(lines))


def _gpu(rows: list[Row]) -> Table:
    lines = [(whose(row), row.case, *points(row), *_parity(row), _steady(row)) for row in rows]
    head = ("artefact", "time", "p50 ms", "p90 ms", "p99 ms", *_PARITY, "series")
    says = f"A batch of {CROPS} crops: until its vectors are on the host; and its kernels alone, by CUDA events."
    return Table(GPU_PART, "Host and device", says, head, tuple(lines))


def _limits(rows: list[Row]) -> Table:
    moved = peak(rows, BYTES)
    lines = []
    for row in best(rows):
        most = row.items / min(row.seconds)
        balance = _NONE if moved is None or row.setting["limit"] == BYTES else f"{most / moved:,.0f}"
        lines.append((row.case, f"{most / 1e9:,.1f}", balance))
    says = (
        "The best sample of each engine, with the shape that it is best at: operations of products of matrices, one as "
        "large as a convolution's, bytes of a copy. The best engine's is the peak of the shares above: the least that "
        "the machine's own limit can be, for better code than theirs may do more. "
        "An operator that does fewer operations for each byte that it moves than the last column says is bound by the "
        "memory, where no cache holds them: the depthwise convolutions, additions and pooling of a network, not its "
        "large products."
    )
    head = ("limit", "10⁹ a second", "operations a byte")
    return Table(LIMITS, "The most that this machine was seen to do, in this run", says, head, tuple(lines))


def _growth(rows: list[Row]) -> Table:
    lines = [
        (axis, model, _engines_part(some), *_parity(some[0]), _all_steady(some), told(axis, some))
        for (axis, model), some in axes_of(rows).items()
    ]
    says = (
        "The exponent of the cost, and its 95 % interval over the rounds; 1 is linear. The values of an axis were "
        "timed in turn; the engine's part is that of the same call."
    )
    head = ("axis", "of", "the engine's part", *_PARITY, "series", "growth")
    return Table(GROWTH, "How the cost grows", says, head, tuple(lines))


def _engines_part(rows: Sequence[Row]) -> str:
    shares = [
        f"{100 * row.facts['engine_share']:.0f} % at {row.items:,}" for row in rows if "engine_share" in row.facts
    ]
    return ", ".join(dict.fromkeys((shares[0], shares[-1]))) if shares else _NONE


def _all_steady(rows: Sequence[Row]) -> str:
    steady = sum(row.steady for row in rows)
    return "steady" if steady == len(rows) else f"{steady} of {len(rows)} steady"


_OF_PEAK = "of the peak"
_PARITY = ("cosine", "mAP finite-sum", "mAP trapezoid")
"""Beside every speed: the worst cosine to the reference, and by both definitions the change in points, or the score."""


def _parity(row: Row) -> tuple[str, str, str]:
    facts = row.facts
    cosine = "reference" if facts.get("own_reference") else f"{facts['cosine']:.6f}" if "cosine" in facts else _NONE
    maps = []
    for name in ("map_finite_sum", "map_trapezoid"):
        if f"{name}_change" in facts:
            # Plus zero: a change that rounds to none has no sign of its own.
            points = [round(100 * facts[f"{name}_change{end}"], 2) + 0.0 for end in ("", "_low", "_high")]
            maps.append(f"{points[0]:+.2f} ({points[1]:+.2f} to {points[2]:+.2f})")
        elif name in facts:
            maps.append(f"{100 * facts[name]:.1f}")
        else:
            maps.append(
                f"{100 * facts[recorded]:.1f}, recorded" if (recorded := f"recorded_{name}") in facts else _NONE
            )
    return cosine, maps[0], maps[1]


def _speed(row: Row, every: Sequence[Row]) -> tuple[str, ...]:
    """A case, how fast it is in itself, beside another and beside the machine, and what it gives."""
    return row.case, _rate(row), _times(row), _of_peak(row, every), *_parity(row), _steady(row)


def _rate(row: Row) -> str:
    """Images a second: of a whole stream where the row has that, else at the median sample."""
    return f"{row.facts.get('rate', row.rate):.1f}"


def _of_peak(row: Row, every: Sequence[Row]) -> str:
    """The share of this machine's peak in the precision that the row computes in, which its whole name says."""
    share = share_of_peak(replace(row, seconds=turns(row)), list(every))
    return _NONE if share is None else f"{100 * share[1]:.1f} % of {share[0]}"


def _times(row: Row) -> str:
    facts = row.facts
    if "times" not in facts:
        return "1"
    return f"{facts['times']:.2f} ({facts['times_low']:.2f} to {facts['times_high']:.2f})"


def _steady(row: Row) -> str:
    return "steady" if row.steady else "not steady"
