"""Figures of explanations as a page: one file, each panel an image of its own."""

from collections.abc import Sequence

from reid_runtime.report.crops import image_uri
from reid_runtime.report.document import document, facts
from reid_runtime.report.explanation import Figure, Panel, Row
from reid_runtime.report.heat import colour_bar
from reid_runtime.report.markup import escaped

_FOOT = """<footer>
<p>A similarity is the sum of its dimensions, and each dimension is a sum over the places of the model's feature map
and a bias: the numbers add up, nothing is estimated. A map shows what each place adds (light) or takes away (dark),
between the places by bilinear interpolation. A place sees more of the image than it covers.</p>
</footer>"""


def explanation_page(figures: Sequence[Figure], model: str, contract_id: str) -> str:
    """The HTML of some figures; the same figures give the same text."""
    sections = "".join(_section(figure) for figure in figures)
    body = f"""<header class="top">
<p class="kind">Person re-identification: explanation</p>
<h1>Which places, which dimensions</h1>
{facts({"Model": model, "Contract": contract_id})}
</header>
<main>
{sections}
</main>
{_FOOT}"""
    return document(f"Explanation: {model}", body)


def _section(figure: Figure) -> str:
    paragraphs = "".join(f"<p>{escaped(fact)}.</p>" for fact in figure.facts)
    return (
        f"<section><h2>{escaped(figure.title)}</h2>{paragraphs}{''.join(_row(row) for row in figure.rows)}"
        f'<div class="scales">{"".join(_scale(what, end) for what, end in figure.scales)}</div></section>\n'
    )


def _row(row: Row) -> str:
    panels = "".join(_panel(panel) for panel in row.panels)
    style = f"--count:{len(row.panels)}"
    return (
        f'<h3>{escaped(row.name)}</h3><div class="scroll"><div class="panels even" style="{style}">{panels}</div></div>'
    )


def _panel(panel: Panel) -> str:
    width, height = panel.image.size
    caption = escaped(panel.caption)
    return (
        f'<figure><img src="{image_uri(panel.image)}" width="{width}" height="{height}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _scale(what: str, end: float) -> str:
    return (
        f'<div><img src="{image_uri(colour_bar(220, 14))}" alt="from dark to light"><span><b>≤ {-end:.2g}</b>'
        f"<i>0, {escaped(what)}</i><b>≥ {end:+.2g}</b></span></div>"
    )
