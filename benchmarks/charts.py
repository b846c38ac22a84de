"""Charts of the report as inline SVG, coloured by the page's own variables, so that they follow light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reid_runtime.report.markup import escaped

_WIDTH, _HEIGHT = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 26, 56
_BAR, _GAP = 30, 40
_LONG = 74
"""Characters of a label that fill the width; one with more is drawn narrower."""


@dataclass(frozen=True)
class Point:
    """A place in a scatter plot."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Bar:
    """A line of stacked bars: what it is of, and (part, value) each."""

    name: str
    parts: tuple[tuple[str, float], ...]


def scatter(points: Sequence[Point], x_title: str, y_title: str, caption: str) -> str:
    """Points over a logarithmic horizontal axis, numbered; their names are a list below, for they would overlap."""
    xs, ys = _log_range([point.x for point in points]), _range([point.y for point in points])
    parts = _axes(xs, ys, x_title, y_title, _log_ticks(*xs))
    for number, point in enumerate(points, 1):
        x, y = _x(point.x, xs), _y(point.y, ys)
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
        parts.append(_text(x + 10, y - 7, str(number), "start", "value"))
    listed = "".join(f"<li>{escaped(point.name)} <small>{point.x:,.3g}; {point.y:.4g}</small></li>" for point in points)
    said = "; ".join(f"{point.name}: {point.x:.3g}, {point.y:.4g}" for point in points)
    return _figure(parts, said, caption, _HEIGHT) + f'<ol class="points">{listed}</ol>'


def growth(values: Sequence[tuple[float, float]], x_title: str, y_title: str, caption: str, exponent: int = 1) -> str:
    """Cost over size, both axes logarithmic, with the line of growth by `exponent`, 1 or -1, from the first point."""
    xs, ys = _log_range([x for x, _ in values]), _log_range([y for _, y in values])
    # Marked where something was measured: there is no half of a thread.
    parts = _axes(xs, ys, x_title, y_title, [x for x, _ in values], log_y=True)
    (x0, y0), (x1, _) = values[0], values[-1]
    # Cut where it leaves the drawing.
    end = min(x1, x0 * (ys[1] / y0 if exponent > 0 else y0 / ys[0]))
    linear = (x0, y0), (end, y0 * (end / x0) ** exponent)
    parts.append(
        f'<polyline class="linear" points="{" ".join(f"{_x(x, xs):.1f},{_log_y(y, ys):.1f}" for x, y in linear)}"/>'
    )
    line = " ".join(f"{_x(x, xs):.1f},{_log_y(y, ys):.1f}" for x, y in values)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    parts += [f'<circle class="dot" cx="{_x(x, xs):.1f}" cy="{_log_y(y, ys):.1f}" r="4"/>' for x, y in values]
    said = "; ".join(f"{x:,.0f}: {y:.4g}" for x, y in values)
    return _figure(parts, said, caption, _HEIGHT)


def stacked(bars: Sequence[Bar], unit: str, caption: str) -> str:
    """A bar a line, its parts next to each other, with a legend; each bar as long as its total."""
    names = list(dict.fromkeys(name for bar in bars for name, _ in bar.parts))
    most = max(sum(value for _, value in bar.parts) for bar in bars)
    height = _TOP + len(bars) * (_BAR + _GAP)
    parts = []
    for line, bar in enumerate(bars):
        top = _TOP + line * (_BAR + _GAP)
        total = sum(value for _, value in bar.parts)
        parts.append(_text(0, top - 7, f"{bar.name}: {total:.3g} {unit}", "start", "value"))
        left = 0.0
        for name, value in bar.parts:
            wide = value / most * _WIDTH
            place = f'x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_BAR}"'
            share = f"{name}: {value:.3g} {unit}, {100 * value / total:.1f} %"
            parts.append(f'<rect class="stage s{names.index(name)}" {place}><title>{escaped(share)}</title></rect>')
            left += wide
    said = "; ".join(f"{bar.name}: " + ", ".join(f"{name} {value:.3g}" for name, value in bar.parts) for bar in bars)
    legend = "".join(f'<li><i class="s{place}"></i>{escaped(name)}</li>' for place, name in enumerate(names))
    return _figure(parts, said, caption, height) + f'<ul class="legend">{legend}</ul>'


def _axes(
    xs: tuple[float, float],
    ys: tuple[float, float],
    x_title: str,
    y_title: str,
    x_ticks: Sequence[float],
    *,
    log_y: bool = False,
) -> list[str]:
    place = _log_y if log_y else _y
    parts = []
    for value in _log_ticks(*ys) if log_y else _ticks(*ys):
        parts.append(_line(_LEFT, place(value, ys), _WIDTH - _RIGHT, place(value, ys)))
        parts.append(_text(_LEFT - 8, place(value, ys) + 4, f"{value:,.4g}", "end"))
    parts += [_text(_x(value, xs), _HEIGHT - _BOTTOM + 22, _short(value), "middle") for value in x_ticks]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x_title, "middle"))
    parts.append(_text(0, 14, y_title, "start"))
    return parts


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    return min(values) / 1.25, max(values) * 1.25


def _range(values: Sequence[float]) -> tuple[float, float]:
    room = (max(values) - min(values)) * 0.15 or abs(max(values)) * 0.01 or 1.0
    return min(values) - room, max(values) + room


def _x(value: float, ends: tuple[float, float]) -> float:
    share = math.log(value / ends[0]) / math.log(ends[1] / ends[0])
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, ends: tuple[float, float]) -> float:
    return _TOP + (ends[1] - value) / (ends[1] - ends[0]) * (_HEIGHT - _TOP - _BOTTOM)


def _log_y(value: float, ends: tuple[float, float]) -> float:
    return _y(math.log(value), (math.log(ends[0]), math.log(ends[1])))


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next(many for many in (1, 2, 5, 10) if (high - low) / (step * many) <= 6)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten, or those powers alone where that would be many."""
    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    fine = [power * many for power in powers for many in (1, 2, 5) if low <= power * many <= high]
    coarse = [power for power in powers if low <= power <= high]
    if len(fine) < 3:
        return _ticks(low, high)  # less than a factor of ten or so: plain steps are rounder
    return fine if len(fine) <= 7 or len(coarse) < 2 else coarse


def _short(value: float) -> str:
    return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k" if value >= 1e4 else f"{value:,.4g}"


def _figure(parts: list[str], label: str, caption: str, height: float) -> str:
    drawing = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escaped(label)}">{"".join(parts)}</svg>'
    return f'<figure class="chart"><figcaption>{escaped(caption)}</figcaption>{drawing}</figure>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    fitted = f' textLength="{_WIDTH - x:.0f}" lengthAdjust="spacingAndGlyphs"' if len(text) > _LONG else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{fitted}>{escaped(text)}</text>'
