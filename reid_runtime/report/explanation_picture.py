"""Figures of explanations as one picture, drawn with Pillow alone."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from reid_runtime.report.explanation import Figure, Row
from reid_runtime.report.heat import colour_bar

_MARGIN, _GAP, _LINE = 24, 12, 18
_INK, _SOFT, _PAPER = (29, 28, 26), (99, 96, 90), (255, 255, 255)
_BAR = (220, 14)
_LEAST = 128
"""The width of a column at least: that of a caption."""
_CAPTION = 2 * _LINE + 4


def picture(figures: Sequence[Figure]) -> Image.Image:
    """All figures, one under the other."""
    pictures = [_figure(figure) for figure in figures]
    sheet = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), _PAPER)
    top = 0
    for each in pictures:
        sheet.paste(each, (0, top))
        top += each.height
    return sheet


def _figure(figure: Figure) -> Image.Image:
    columns = max(len(row.panels) for row in figure.rows)
    widths = [max(row.panels[each].image.width for row in figure.rows) for each in range(columns)]
    widths = [max(each, _LEAST) for each in widths]
    heights = [max(panel.image.height for panel in row.panels) for row in figure.rows]
    head = _LINE * (2 + len(figure.facts))
    width = 2 * _MARGIN + sum(widths) + _GAP * (columns - 1)
    foot = 4 * _LINE
    height = _MARGIN + head + sum(each + _LINE + _CAPTION + _GAP for each in heights) + foot
    canvas = Image.new("RGB", (max(width, 2 * _MARGIN + len(figure.scales) * (_BAR[0] + 100)), height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), figure.title, _INK, _font(20))
    for number, fact in enumerate(figure.facts):
        draw.text((_MARGIN, _MARGIN + 8 + _LINE * (number + 1)), fact, _SOFT, _font(14))
    top = _MARGIN + head
    for row, tallest in zip(figure.rows, heights, strict=True):
        _draw_row(canvas, draw, row, widths, top, tallest)
        top += tallest + _LINE + _CAPTION + _GAP
    left = _MARGIN
    for what, end in figure.scales:
        canvas.paste(colour_bar(*_BAR), (left, top))
        draw.rectangle((left, top, left + _BAR[0] - 1, top + _BAR[1] - 1), outline=_SOFT)
        for x, anchor, text in ((0, "la", f"{-end:.2g} or less"), (0.5, "ma", "0"), (1, "ra", f"{end:+.2g} or more")):
            draw.text((left + x * _BAR[0], top + _BAR[1] + 3), text, _SOFT, _font(12), anchor=anchor)
        draw.text((left, top + _BAR[1] + 3 + _LINE), what, _SOFT, _font(12))
        left += _BAR[0] + 100
    return canvas


def _draw_row(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, row: Row, widths: Sequence[int], top: int, tallest: int
) -> None:
    draw.text((_MARGIN, top), _fitted(row.name, sum(widths)), _INK, _font(14))
    left = _MARGIN
    for panel, width in zip(row.panels, widths, strict=False):
        canvas.paste(panel.image, (left, top + _LINE + tallest - panel.image.height))
        caption = "\n".join(panel.caption.split("\n")[:2])
        draw.multiline_text((left, top + _LINE + tallest + 3), caption, _INK, _font(12), spacing=3)
        left += width + _GAP


def _fitted(text: str, width: int) -> str:
    """The end of a text that is too long: a path's last part says most."""
    font = _font(14)
    while font.getlength(text) > width:
        text = f"...{text[4:]}"
    return text


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
