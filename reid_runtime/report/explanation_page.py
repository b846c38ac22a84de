"""Figures of explanations as a page: one file, each panel an image of its own."""

from collections.abc import Sequence
from importlib import resources

from reid_runtime.report.crops import image_uri
from reid_runtime.report.explanation import Figure, Panel, Row
from reid_runtime.report.heat import colour_bar
from reid_runtime.report.markup import escaped

_STYLE = """
.panels { display: flex; flex-wrap: wrap; gap: 0.9rem; align-items: flex-end; }
.panels img { display: block; max-width: 9.4rem; height: auto; border-radius: 0.2rem; }
.panels figcaption { font-size: 0.75rem; line-height: 1.35; margin-top: 0.3rem; white-space: pre-line; }
.panels figure { min-width: 7.4rem; }
.scales { display: flex; flex-wrap: wrap; gap: 1rem 3rem; margin-top: 1rem; font-size: 0.8rem; color: var(--soft); }
.scales img { display: block; width: 14rem; height: 0.9rem; border: 1px solid var(--line); }
.scales span { display: flex; justify-content: space-between; }
"""


def explanation_page(figures: Sequence[Figure], model: str, contract_id: str) -> str:
    """The HTML of some figures; the same figures give the same text."""
    style = resources.files("reid_runtime.report").joinpath("style.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Explanation: {escaped(model)}</title>
<link rel="icon" href="data:,">
<style>
{style}{_STYLE}</style>
</head>
<body>
<header class="top">
<p class="kind">Person re-identification: explanation</p>
<h1>Which places, which dimensions</h1>
<dl class="facts"><div><dt>Model</dt><dd>{escaped(model)}</dd></div>
<div><dt>Contract</dt><dd>{escaped(contract_id)}</dd></div></dl>
</header>
<main>
{"".join(_section(figure) for figure in figures)}
</main>
<footer>
<p>A similarity is the sum of its dimensions, and each dimension is a sum over the places of the model's feature map
and a bias: the numbers add up, nothing is estimated. A map shows what each place adds (light) or takes away (dark),
between the places by bilinear interpolation. A place sees more of the image than it covers.</p>
</footer>
</body>
</html>
"""


def _section(figure: Figure) -> str:
    facts = "".join(f"<p>{escaped(fact)}.</p>" for fact in figure.facts)
    return (
        f"<section><h2>{escaped(figure.title)}</h2>{facts}{''.join(_row(row) for row in figure.rows)}"
        f'<div class="scales">{"".join(_scale(what, end) for what, end in figure.scales)}</div></section>\n'
    )


def _row(row: Row) -> str:
    return f'<h3>{escaped(row.name)}</h3><div class="panels">{"".join(_panel(panel) for panel in row.panels)}</div>'


def _panel(panel: Panel) -> str:
    width, height = panel.image.size
    caption = escaped(panel.caption)
    return (
        f'<figure><img src="{image_uri(panel.image)}" width="{width}" height="{height}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _scale(what: str, end: float) -> str:
    return (
        f'<div><img src="{image_uri(colour_bar(220, 14))}" alt="from dark to light"><span><b>{-end:.2g}</b>'
        f"<i>0, {escaped(what)}</i><b>{end:+.2g}</b></span></div>"
    )
