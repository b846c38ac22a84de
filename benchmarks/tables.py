"""The tables of a report, as plain cells: Markdown and HTML say the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.aims import aims
from benchmarks.growth import PART as GROWTH
from benchmarks.growth import axes_of, told
from benchmarks.latency import MULTI, SERVER, SINGLE
from benchmarks.limits import PART as LIMITS
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.results import Report, Row, shown
from benchmarks.stages import CROPS, GPU_PART
from benchmarks.stages import PART as STAGES
from benchmarks.throughput import COLD, EIGHT, ENGINE, MIXED, OFFLINE, share_of_peak
from benchmarks.timing import percentile, supported

AIMS = "aims"
_NONE = "–"


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
    rows = shown(report.rows)
    made = [
        _aims(rows), _latency(_of(rows, SINGLE)), _multi(_of(rows, MULTI)), _server(_of(rows, SERVER)),
        _offline(_of(rows, OFFLINE)), _mixed(_of(rows, MIXED)), _eight(_of(rows, EIGHT), rows), _cold(_of(rows, COLD)),
        _peers(_of(rows, PEERS)), _stages(_of(rows, STAGES)), _gpu(_of(rows, GPU_PART)), _limits(_of(rows, LIMITS)),
        _growth(_of(rows, GROWTH)),
    ]  # fmt: skip
    return [_full_columns(table) for table in made if table.lines]


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


def _latency(rows: list[Row]) -> Table:
    lines = [(row.case, *_points(row), f"{row.rate:.1f}", *_parity(row), _steady(row)) for row in rows]
    head = ("artefact", "p50 ms", "p90 ms", "p99 ms", "images/s", *_PARITY, "series")
    says = (
        "One crop in memory after the other, each size as often as any other; the artefacts in turn. "
        "Percentiles are nearest ranks."
    )
    return Table(SINGLE, "SingleStream", says, head, tuple(lines))


def _multi(rows: list[Row]) -> Table:
    lines = [
        (row.case, str(row.setting["boxes"]), *_points(row), f"{row.rate:.1f}", *_parity(row), _steady(row))
        for row in rows
    ]
    head = ("artefact", "boxes", "p50 ms", "p90 ms", "p99 ms", "crops/s", *_PARITY, "series")
    return Table(MULTI, "MultiStream", "A frame of 1920×1080 and its boxes as one query.", head, tuple(lines))


def _server(rows: list[Row]) -> Table:
    lines = [
        (row.case, f"{row.setting['bound_ms']:g}", f"{row.facts['rate']:.1f}", *_points(row), *_parity(row))
        for row in rows
    ]
    head = ("artefact", "bound ms", "highest rate/s", "p50 ms", "p90 ms", "p99 ms", *_PARITY)
    says = (
        "Crops come as a Poisson process; the highest rate tried whose 99th percentile keeps the bound, 0 where none. "
        "The artefacts had the machine one after the other."
    )
    return Table(SERVER, "Server", says, head, tuple(lines))


def _offline(rows: list[Row]) -> Table:
    lines = [(_model(row), row.case, f"{row.rate:.1f}", _times(row), *_parity(row), _steady(row)) for row in rows]
    says = (
        f"JPEG files to a file of embeddings; speed as a multiple of {ENGINE}. Each artefact's cases were timed in "
        "turn, the artefacts one after the other."
    )
    return Table(OFFLINE, "Offline", says, ("artefact", "case", "images/s", "speed", *_PARITY, "series"), tuple(lines))


def _mixed(rows: list[Row]) -> Table:
    lines = [(_model(row), row.case, f"{row.rate:.1f}", _times(row), *_parity(row), _steady(row)) for row in rows]
    says = (
        "Crops of 33 widths against crops of one size with exactly as many pixels in all; the two of each artefact "
        "were timed in turn."
    )
    return Table(
        MIXED, "Mixed sizes", says, ("artefact", "crops", "images/s", "speed", *_PARITY, "series"), tuple(lines)
    )


def _eight(rows: list[Row], every: Sequence[Row]) -> Table:
    lines = []
    for row in rows:
        share = share_of_peak(row, list(every))
        speed = _NONE if "operations" not in row.facts else f"{row.facts['operations'] / row.middle / 1e9:,.1f}"
        of_peak = _NONE if share is None else f"{100 * share[1]:.0f} % of {share[0]}"
        lines.append((row.case, f"{row.rate:.1f}", _times(row), speed, of_peak, *_parity(row), _steady(row)))
    head = ("artefact", "images/s", "speed", "10⁹ operations/s", "of the machine's peak", *_PARITY, "series")
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


def _peers(rows: list[Row]) -> Table:
    lines = [
        (row.case, f"{row.rate:.1f}", _times(row), *_parity(row), _steady(row))
        for row in sorted(rows, key=lambda row: row.middle)
    ]
    against = rows[0].setting["against"] if rows else ""
    says = (
        f"Files to vectors on the same files and cores, in turn, the fastest first; speed as a multiple of {against}."
    )
    return Table(
        PEERS, "Beside what people use instead", says, ("case", "images/s", "speed", *_PARITY, "series"), tuple(lines)
    )


def _stages(rows: list[Row]) -> Table:
    lines = []
    for row in rows:
        total = sum(other.middle for other in rows if other.setting == row.setting)
        each = f"{1e3 * row.middle / row.items:.3f}"
        lines.append((_model(row), row.case, each, f"{100 * row.middle / total:.1f}", _steady(row)))
    says = "Each stage alone, in turn with the others, on one core; in a folder they share all cores and overlap."
    head = ("artefact", "stage", "ms an image", "share, %", "series")
    return Table(STAGES, "Where the time goes", says, head, tuple(lines))


def _gpu(rows: list[Row]) -> Table:
    lines = [(_model(row), row.case, *_points(row), _steady(row)) for row in rows]
    head = ("artefact", "time", "p50 ms", "p90 ms", "p99 ms", "series")
    says = f"A batch of {CROPS} crops; both times are of the same calls, the device's by CUDA events."
    return Table(GPU_PART, "Host and device", says, head, tuple(lines))


def _limits(rows: list[Row]) -> Table:
    lines = [(row.case, f"{row.items / min(row.seconds) / 1e9:,.1f}") for row in rows]
    says = "The best sample of each engine here: operations of a product of square matrices; bytes of a copy."
    return Table(LIMITS, "This machine's limits, in this run", says, ("limit", "10⁹ a second"), tuple(lines))


def _growth(rows: list[Row]) -> Table:
    lines = [(axis, model, told(axis, some)) for (axis, model), some in axes_of(rows).items()]
    says = "The exponent of the cost, and its 95 % interval over the rounds; 1 is linear."
    return Table(GROWTH, "How the cost grows", says, ("axis", "of", "growth"), tuple(lines))


_PARITY = ("cosine", "mAP finite-sum", "mAP trapezoid")
"""Beside every speed: the worst cosine to the reference, and by both definitions the change in points, or the score."""


def _parity(row: Row) -> tuple[str, str, str]:
    facts = row.facts
    cosine = f"{facts['cosine']:.6f}" if "cosine" in facts else "reference" if "own_reference" in facts else _NONE
    maps = []
    for name in ("map_finite_sum", "map_trapezoid"):
        if f"{name}_change" in facts:
            points = [100 * facts[f"{name}_change{end}"] for end in ("", "_low", "_high")]
            maps.append(f"{points[0]:+.2f} ({points[1]:+.2f} to {points[2]:+.2f})")
        elif name in facts:
            maps.append(f"{100 * facts[name]:.1f}")
        else:
            maps.append(
                f"{100 * facts[recorded]:.1f}, recorded" if (recorded := f"recorded_{name}") in facts else _NONE
            )
    return cosine, maps[0], maps[1]


def _points(row: Row) -> tuple[str, str, str]:
    first, second, third = (
        f"{1e3 * percentile(row.seconds, share):.2f}" if supported(len(row.seconds), share) else _NONE
        for share in (0.5, 0.9, 0.99)
    )
    return first, second, third


def _times(row: Row) -> str:
    facts = row.facts
    if "times" not in facts:
        return "1"
    return f"{facts['times']:.2f} ({facts['times_low']:.2f} to {facts['times_high']:.2f})"


def _steady(row: Row) -> str:
    return "steady" if row.steady else "not steady"


def _model(row: Row) -> str:
    return f"{row.setting['model']}, {row.setting['device']}"
