"""Charts as inline SVG, coloured by the page's own variables, so that they follow light and dark."""

import math

import numpy as np

from reid_runtime.report.markup import escaped, percent, table
from reid_runtime.scoring.ranking import Scores

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 22, 48
"""Units: of a chart, and of the margins about what is drawn in it."""
_MARKED = (1, 5, 10, 20, 50)
_LONGEST = 50


def cmc_curve(scores: Scores) -> str:
    """The CMC curve, and its numbers in a table that opens."""
    length = max(2, min(_LONGEST, scores.gallery))
    curve: list[float] = scores.cmc(length).tolist()
    # The axis begins a step below the first value: most curves live in its upper part.
    least = max(0, math.floor(10 * curve[0] - 0.5) * 10)
    step = 20 if least < 40 else 10 if least < 80 else 5
    least -= least % step

    def x(rank: float) -> float:
        return LEFT + (rank - 1) / (length - 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (100 - value) / (100 - least) * (HEIGHT - TOP - BOTTOM)

    parts = [line(LEFT, y(v), WIDTH - RIGHT, y(v), "grid") for v in range(least, 101, step)]
    parts += [label(LEFT - 8, y(v) + 4, f"{v}", "end") for v in range(least, 101, step)]
    marked = [rank for rank in _MARKED if rank <= length]
    parts += [label(x(rank), HEIGHT - BOTTOM + 20, f"{rank}", "middle") for rank in marked]
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "rank", "middle"))
    points = " ".join(f"{x(rank):.1f},{y(100 * value):.1f}" for rank, value in enumerate(curve, 1))
    floor = f"{x(length):.1f},{y(least):.1f} {x(1):.1f},{y(least):.1f}"
    parts.append(f'<polygon class="area" points="{points} {floor}"/><polyline class="curve" points="{points}"/>')
    for index, rank in enumerate(marked):
        value = curve[rank - 1]
        # Labels go below the curve, right of their point: above it the axis ends. What does not rise is not told again,
        # for the first ranks lie close to each other.
        anchor = "end" if rank == length else "start"
        parts.append(f'<circle class="dot" cx="{x(rank):.1f}" cy="{y(100 * value):.1f}" r="4"/>')
        if not index or percent(value) != percent(curve[marked[index - 1] - 1]):
            shifted = x(rank) + (0 if anchor == "end" else 6)
            parts.append(label(shifted, y(100 * value) + 20, percent(value), anchor, "value"))
    numbers = table(["rank", "%"], [[str(rank), percent(curve[rank - 1])] for rank in range(1, length + 1)])
    summary = "; ".join(f"rank {rank}: {percent(curve[rank - 1])} %" for rank in marked)
    chart = figure(parts, f"CMC curve. {summary}", "CMC: share of queries with a right answer up to a rank, in %.")
    return f"{chart}<details><summary>The curve as a table</summary>{numbers}</details>"


def precision_histogram(scores: Scores) -> str:
    """How many queries have which average precision."""
    counts, _ = np.histogram(scores.ap_finite_sum[scores.valid], bins=10, range=(0, 1))
    most = int(counts.max())
    slot = (WIDTH - LEFT - RIGHT) / 10
    base = HEIGHT - BOTTOM
    parts = [line(LEFT, base, WIDTH - RIGHT, base, "grid")]
    for decile, count in enumerate(counts.tolist()):
        height = count / most * (base - TOP - 14)
        left = LEFT + decile * slot
        box = f'x="{left + 3:.1f}" y="{base - height:.1f}" width="{slot - 6:.1f}" height="{height:.1f}"'
        parts.append(f'<rect class="bar" {box}/>')
        parts.append(label(left + slot / 2, base - height - 6, f"{count:,}", "middle", "value" if count else ""))
        parts.append(label(left, base + 20, f"{decile * 10}", "middle"))
    parts.append(label(WIDTH - RIGHT, base + 20, "100", "middle"))
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "average precision, %", "middle"))
    summary = "; ".join(f"{10 * decile} to {10 * decile + 10} %: {n}" for decile, n in enumerate(counts.tolist()))
    return figure(parts, f"Queries by average precision. {summary}", "Queries by average precision (finite-sum).")


def figure(parts: list[str], description: str, caption: str) -> str:
    """A chart of WIDTH by HEIGHT units; `description` is for who does not see it."""
    attributes = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(description)}"'
    drawing = f"<svg {attributes}>{''.join(parts)}</svg>"
    return f'<figure class="chart"><figcaption>{escaped(caption)}</figcaption>{drawing}</figure>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line; `kind` is its class."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def label(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    """A text; `anchor` says which end of it is at x: start, middle or end."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'
