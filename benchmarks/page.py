"""A report as Markdown, and as one HTML page with nothing outside it."""

import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from benchmarks.charts import Bar, Point, growth, scatter, stacked
from benchmarks.growth import GALLERY, THREADS, axes_of, told
from benchmarks.growth import PART as GROWTH
from benchmarks.latency import SINGLE
from benchmarks.results import Report, Row
from benchmarks.stages import PART as STAGES
from benchmarks.tables import Table, readable, tables
from reid_runtime.report.markup import escaped, table

_STYLE = """
body { max-width: 84rem; }
th, td { text-align: left; padding: 0.35rem 0.5rem; font-size: 0.875rem; }
tbody th { min-width: 12rem; }
[aria-labelledby="growth"] td:last-child { min-width: 18rem; }
[aria-labelledby="aims"] td:last-child { min-width: 15rem; }
section > p { margin-bottom: 1rem; }
.scroll + .charts, .charts + .scroll { margin-top: 1.5rem; }
svg .dot.other { stroke: var(--wrong); }
svg .linear { fill: none; stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 5 5; }
.points { margin: 0.5rem 0 0 1.6rem; font-size: 0.9rem; } .points small { color: var(--soft); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; margin-top: 0.5rem; font-size: 0.9rem; }
.legend i { display: inline-block; width: 0.9em; height: 0.9em; margin-right: 0.4em; border-radius: 0.2em; }
.s0 { fill: var(--right); background: var(--right); } .s1 { fill: var(--wrong); background: var(--wrong); }
.s2 { fill: var(--ink); background: var(--ink); } .s3 { fill: var(--accent); background: var(--accent); opacity: 0.75; }
.s4 { fill: var(--soft); background: var(--soft); }
.commands dd { margin: 0.2rem 0 0.8rem; font-size: 0.85rem; overflow-wrap: anywhere; }
.notes { margin: 0 0 0 1.2rem; } .notes li { margin-bottom: 0.4rem; overflow-wrap: anywhere; }
"""
_BY_HAND = (
    "The engines' own tools on the same graphs, or a peer's own API, without this project's timer. Run them in the "
    "repository's folder with copies of the models in it, after the first, which makes the files. They agree within an "
    "eighth: timeit prints its best of five, with the machine for itself, tables the median of runs in turn. Without "
    "files an engine shares the cores with no decoder, and is far above its row."
)
_TOGETHER = re.compile(r"\([^()]*\)| % at | %|^at least |^not |^none, ")
_CODE = re.compile("`([^`]+)`")
_UNITS = {"threads": "threads", "image area": "pixels", "gallery": "items"}


def markdown(report: Report) -> str:
    """The tables, the facts and what was not measured."""
    lines = ["# Benchmarks", ""]
    lines += [f"- {name}: {value}" for name, value in _facts(report.environment).items()]
    for each in tables(report):
        lines += ["", f"## {each.title}", "", each.says, "", each.markdown()]
    if by_hand := report.environment.get("by_hand"):
        lines += ["", "## By hand", "", _BY_HAND]
        for what, command in by_hand.items():
            lines += ["", f"{what}:", "", "```bash", command, "```"]
    if report.notes:
        lines += ["", "## Not measured", "", *(f"- {' '.join(note.split())}" for note in report.notes)]
    return "\n".join(lines) + "\n"


def page(report: Report) -> str:
    """The HTML; the same report gives the same text."""
    style = resources.files("reid_runtime.report").joinpath("style.css").read_text(encoding="utf-8")
    facts = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in _facts(report.environment).items()
    )
    sections = "\n".join(_section(each, report) for each in tables(report))
    notes = "".join(f"<li>{escaped(note)}</li>" for note in report.notes)
    missing = (
        f'<section aria-labelledby="missing"><h2 id="missing">Not measured</h2><ul class="notes">{notes}</ul></section>'
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>reid-runtime: benchmarks</title>
<link rel="icon" href="data:,">
<style>
{style}{_STYLE}</style>
</head>
<body>
<header class="top">
<p class="kind">Person re-identification, measured</p>
<h1>Benchmarks</h1>
<dl class="facts">{facts}</dl>
</header>
<main>
{_trade_off(report)}
{sections}
{_by_hand(report)}
{missing if report.notes else ""}
</main>
<footer>
<p>What was timed in turn was so round after round, and a speed as a multiple is the median over the rounds with its
95 % interval. A series is steady where the medians of its three thirds lie within 10 % of each other. A percentile that
too few samples have is left out.</p>
<p>The cosine is the worst over the crops, to the reference named above. mAP
(finite-sum) is the mean of the precision at each right answer; mAP (trapezoid) the area under the precision-recall
curve. The two do not compare.</p>
</footer>
</body>
</html>
"""


def _trade_off(report: Report) -> str:
    """Accuracy against latency, for every artefact whose mAP is known; without any there is no such plot."""
    points = []
    for row in readable(report.rows):
        score = row.facts.get("map_finite_sum", row.facts.get("recorded_map_finite_sum"))
        if row.part == SINGLE and score is not None:
            points.append(Point(row.case, 1e3 * row.middle, 100 * score))
    caption = "mAP (finite-sum), in %, over the median latency of one crop, in ms. Left and up is better."
    if not points:
        points = [
            Point(row.case, 1e3 * row.middle, row.facts["cosine"])
            for row in readable(report.rows)
            if row.part == SINGLE and "cosine" in row.facts
        ]
        caption = "Worst cosine to the reference over the median latency of one crop, in ms: no data set was named."
    if not points:
        return ""
    y_title = "mAP, %" if "mAP" in caption else "cosine"
    drawn = scatter(points, "ms a crop", y_title, caption)
    return (
        '<section aria-labelledby="trade"><h2 id="trade">Accuracy against latency</h2>'
        f'<div class="charts"><div>{drawn}</div></div></section>'
    )


def _section(each: Table, report: Report) -> str:
    name = "".join(letter for letter in each.part.lower() if letter.isalnum())
    lines = [[_cell(cell) for cell in line] for line in each.lines]
    charts = {STAGES: _stage_bars, GROWTH: _growth_plots}.get(each.part)
    drawn = "" if charts is None else f'<div class="charts">{charts(readable(report.rows))}</div>'
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escaped(each.title)}</h2><p>{_says(each.says)}</p>'
        f"{drawn}{table([escaped(cell) for cell in each.head], lines)}</section>"
    )


def _cell(text: str) -> str:
    """A cell that may break between a value and its interval, but within neither: wide tables then fit the page."""
    return escaped(_TOGETHER.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text))


def _says(text: str) -> str:
    """Prose in which backticks enclose what is typed, as Markdown has them."""
    return _CODE.sub(r"<code>\1</code>", escaped(text))


def _by_hand(report: Report) -> str:
    commands = report.environment.get("by_hand", {})
    listed = "".join(
        f"<dt>{escaped(what)}</dt><dd><code>{escaped(said)}</code></dd>" for what, said in commands.items()
    )
    return (
        '<section aria-labelledby="hand"><h2 id="hand">By hand</h2>'
        f'<p>{escaped(_BY_HAND)}</p><dl class="commands">{listed}</dl></section>'
        if commands
        else ""
    )


def _stage_bars(rows: list[Row]) -> str:
    bars: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        if row.part == STAGES:
            whose = f"{row.setting['model']}, {row.setting['device']}"
            bars.setdefault(whose, []).append((row.case, 1e3 * row.middle / row.items))
    drawn = [Bar(name, tuple(parts)) for name, parts in bars.items()]
    return f"<div>{stacked(drawn, 'ms', 'Milliseconds an image, stage by stage.')}</div>"


def _growth_plots(rows: list[Row]) -> str:
    drawn = []
    for (axis, model), some in axes_of(rows).items():
        values = [(float(row.items), 1e3 * row.middle) for row in some]
        whose = "" if axis == GALLERY else f" ({model})"
        ideal, line = (-1, "an equal gain from each thread") if axis == THREADS else (1, "linear growth")
        caption = f"{axis[0].upper()}{axis[1:]}{whose}: {told(axis, some)}. The broken line is {line}."
        drawn.append(f"<div>{growth(values, _UNITS.get(axis, 'images'), 'ms', caption, ideal)}</div>")
    return "".join(drawn)


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    data, reference, parity = (environment.get(name) for name in ("data", "reference", "parity_from"))
    facts = {
        "Processor": f"{environment['processor']}, {environment.get('threads', environment['cores'])} cores used",
        "System": f"{environment['system']}, Python {environment['python']}",
        "Packages": packages,
        "GPU": ", ".join(environment["gpus"]),
        "Source": environment["git"] or "",
        "When": environment["time"],
        "Budget": environment.get("budget", ""),
        "Crops": environment.get("crops", ""),
        "Data set": f"{data['name']}: {data['queries']:,} queries, {data['gallery']:,} in the gallery" if data else "",
        "Reference": f"{reference['name']} ({reference['artefact_id']})" if reference else "",
        "Artefacts": ", ".join(f"{name} ({digest})" for name, digest in environment.get("artefacts", {}).items()),
        "Parity": f"taken over from the run of {parity['time']}, source {parity['git']}" if parity else "",
        "Command": environment.get("command", ""),
        "Broke": ", ".join(environment.get("failed", ())),
    }
    return {name: value for name, value in facts.items() if value}
