"""Rows as Markdown tables: each speed with its share of the machine's peak, its parity, and whether it was stable."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.measurements import Key, Part, Report, Row, markdown_table
from benchmarks.timing import Interval, median_interval, percentile, supported

NONE = "–"
LINEAR = 1.05
"""A cost whose exponent is above this with its whole interval grows worse than linearly."""
Rows = Sequence[Row]
Column = tuple[str, Callable[[Row, Rows], str]]
"""A head, and the cell of a row, which may need the other rows of the report."""

_CAPTIONS = {
    Part.MULTI_STREAM: "A frame of 1920×1080 and its boxes as one query, several frames in turn.",
    Part.OFFLINE: "JPEG files to a file of embeddings.",
    Part.MIXED: "Crops of 33 widths against crops of one size with exactly as many pixels in all; both in turn.",
    Part.EIGHT: "Crops of 256×128, ready in memory.",
    Part.COLD: "`reid-runtime embed` of one crop, from the process's start to its end; the files are in memory.",
    Part.PEERS: "Files of one size to vectors on the same cores, in turn, the fastest first. The cosine is the worst "
    "of the report's own crops, of many sizes, which some of these ways stretch.",
    Part.STAGES: "Each stage alone, in turn with the others, on one core; a folder has all cores for them.",
    Part.ROOFLINE: "The most that this machine was seen to do: each engine's best sample, operations of products of "
    "matrices and bytes of a copy. What does fewer operations a byte than the last column says is bound by the memory.",
    Part.SCALING: "The exponent of the cost and its 95 % interval over the rounds; 1 is linear.",
}


@dataclass(frozen=True)
class Table:
    """A titled table and what it shows."""

    title: str
    caption: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Its section, without the columns in which no line has anything."""
        kept = [at for at in range(len(self.head)) if any(line[at] not in ("", NONE) for line in self.lines)]
        table = markdown_table([self.head[at] for at in kept], [[line[at] for at in kept] for line in self.lines])
        return "\n\n".join(filter(None, (f"## {self.title}", self.caption, table)))


def text(rows: Rows) -> str:
    """All tables of the rows, one after the other."""
    return "\n\n".join(table.markdown() for table in tables(rows))


def tables(rows: Rows) -> list[Table]:
    """One for each part that has rows, in the order of Part."""
    made = []
    for part in Part:
        mine, columns = [row for row in rows if row.part == part], _COLUMNS
        if part == Part.PEERS:
            mine.sort(key=lambda row: row.median)
        elif part == Part.ROOFLINE:
            mine, columns = best(mine), _ROOFLINE
        elif part == Part.SCALING:
            mine, columns = [axis[-1] for axis in axes_of(mine)], _SCALING
        if mine:
            title, lines = part[0].upper() + part[1:], [[cell(row, rows) for _, cell in columns] for row in mine]
            made.append(Table(title, _CAPTIONS.get(part, ""), [head for head, _ in columns], lines))
    return made


def page(title: str, report: Report, before: Sequence[Table] = ()) -> str:
    """A report as Markdown: what was measured on, tables, and what was not measured."""
    about = report.environment
    facts = [f"- {key}: {_fact(value)}" for key, value in about.items() if value]
    sections = [f"# {title}, {str(about['time']).partition('T')[0]}", "\n".join(facts)]
    sections += [table.markdown() for table in (*before, *tables(report.rows))]
    if report.notes:
        sections += ["## Not measured", "\n".join(f"- {' '.join(note.split())}" for note in report.notes)]
    return "\n\n".join(sections) + "\n"


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def reached(row: Row) -> float:
    """Items a second of a row's best sample: a limit that something disturbed is none."""
    return row.items / min(row.seconds)


def best(rows: Iterable[Row]) -> list[Row]:
    """Of the limits of one engine in one precision the one with the shape that it is best at."""
    most = {(row.engine, row.precision): row for row in sorted(rows, key=reached)}
    return sorted(most.values(), key=lambda row: (row.precision, row.engine))


def peak(rows: Rows, precision: str) -> float | None:
    """Operations a second, of "" bytes: the best that any engine reached; None where none was measured."""
    limits = (reached(row) for row in rows if row.part == Part.ROOFLINE and row.precision == precision)
    return max(limits, default=None)


def share_of_peak(row: Row, rows: Rows) -> float | None:
    """A row's share of this machine's peak in its precision, at the median turn; None where one is unknown."""
    most = peak(rows, row.precision) if row.precision else None
    if row.operations is None or most is None:
        return None
    return row.operations / percentile(row.turns, 0.5) / most


def axes_of(rows: Rows) -> list[list[Row]]:
    """The scaling rows of each axis and model, in the order of their values."""
    axes: dict[Key, list[Row]] = {}
    for row in rows:
        if row.part == Part.SCALING:
            axes.setdefault((row.name, *row.owner), []).append(row)
    return [sorted(axis, key=lambda row: row.items) for axis in axes.values()]


def exponent(axis: Rows) -> Interval:
    """Of the growth of the cost over two or more values: the slope of a line through the logarithms, one a round."""
    values = np.log([row.items for row in axis])
    centred = values - values.mean()
    slopes = (centred @ np.log([row.seconds for row in axis])) / (centred @ centred)
    return median_interval(slopes.tolist())


def growth(row: Row, rows: Rows) -> str:
    """The growth along the axis of a row in a sentence."""
    axis = next(axis for axis in axes_of(rows) if row in axis)
    power, times = exponent(axis), axis[-1].median / axis[0].median
    text = f"exponent {power}, {times:.2f} times the time from {axis[0].items:,} to {axis[-1].items:,}"
    stable = sum(each.stable for each in axis)
    return f"{text}{': worse than linear' if power.low > LINEAR else ''}; {stable} of {len(axis)} series stable"


def _milliseconds(share: float) -> Column:
    """A percentile, a dash for one that so few samples do not have."""

    def cell(row: Row, _: Rows) -> str:
        return f"{1e3 * percentile(row.seconds, share):.2f}" if supported(len(row.seconds), share) else NONE

    return f"p{100 * share:.0f} ms", cell


def speed(row: Row, _: Rows) -> str:
    """As a multiple of another row's; 1 for that one."""
    if row.speed is None:
        return NONE
    return "1" if row.speed.low == row.speed.high == 1 else str(row.speed)


def cosine(row: Row, _: Rows) -> str:
    """The worst cosine to the reference."""
    if row.parity.is_reference:
        return "reference"
    return NONE if row.parity.cosine is None else f"{row.parity.cosine:.6f}"


def mean_ap(metric: str) -> Callable[[Row, Rows], str]:
    """By one of the two definitions: the change in points with its interval, or else the score."""

    def cell(row: Row, _: Rows) -> str:
        value, change = getattr(row.parity, metric), getattr(row.parity, f"{metric}_change")
        if change is not None:
            # Plus zero: a change that rounds to none has no sign of its own.
            points = [round(100 * end, 2) + 0.0 for end in (change.value, change.low, change.high)]
            return f"{points[0]:+.2f} ({points[1]:+.2f} to {points[2]:+.2f})"
        return NONE if value is None else f"{100 * value:.1f}"

    return cell


def _of_peak(row: Row, rows: Rows) -> str:
    share = share_of_peak(row, rows)
    return NONE if share is None else f"{100 * share:.1f} %"


def _stage_share(row: Row, rows: Rows) -> str:
    """Of the time of an image in all stages."""
    if row.part != Part.STAGES:
        return NONE
    total = sum(1 / other.rate for other in rows if other.part == row.part and other.owner == row.owner)
    return f"{100 / row.rate / total:.1f} %"


def _balance(row: Row, rows: Rows) -> str:
    moved = peak(rows, "")
    return NONE if moved is None or not row.precision else f"{reached(row) / moved:,.0f}"


_CASE: list[Column] = [
    ("", lambda row, _: row.peer or ("reid-runtime" if row.part == Part.PEERS else "")),
    ("case", lambda row, _: row.name),
    ("model", lambda row, _: row.model),
    ("engine", lambda row, _: row.engine),
    ("precision", lambda row, _: row.precision),
    ("setting", lambda row, _: ", ".join(f"{name} {value}" for name, value in row.setting.items())),
]
_PARITY: list[Column] = [
    ("cosine", cosine),
    ("difference", lambda row, _: NONE if row.parity.difference is None else f"{row.parity.difference:.3g}"),
    ("mAP finite-sum", mean_ap("map_finite_sum")),
    ("mAP trapezoid", mean_ap("map_trapezoid")),
]
_COLUMNS: list[Column] = [
    *_CASE, *map(_milliseconds, (0.5, 0.9, 0.99)), ("items/s", lambda row, _: f"{row.rate:,.1f}"), ("speed", speed),
    ("of the peak", _of_peak), ("share", _stage_share), *_PARITY,
    ("series", lambda row, _: "stable" if row.stable else "not stable"),
]  # fmt: skip
_ROOFLINE: list[Column] = [
    *_CASE, ("10⁹ a second", lambda row, _: f"{reached(row) / 1e9:,.1f}"), ("operations a byte", _balance)
]  # fmt: skip
_SCALING: list[Column] = [*_CASE, *_PARITY, ("growth", growth)]
