"""What is shown of an explanation: rows of panels, the same ones for a picture and for a page."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from reid_runtime.explain import Array, Explanation, PairExplanation
from reid_runtime.images.resize import Pixels
from reid_runtime.report.heat import overlaid

BOX = (150, 256)
"""The largest width and height of a panel; every image is brought to one of the two."""


@dataclass(frozen=True)
class Panel:
    """An image with a line or two under it."""

    image: Image.Image
    caption: str


@dataclass(frozen=True)
class Row:
    """Panels of one image, the image itself first."""

    name: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Figure:
    """Everything that is drawn of one image, or of a pair."""

    title: str
    facts: tuple[str, ...]
    rows: tuple[Row, ...]
    scales: tuple[tuple[str, float], ...]
    """Which panels a scale is for, and where its colours end."""


def image_figure(explanation: Explanation, name: str, count: int = 5) -> Figure:
    """The strongest dimensions of an image, a map each, as the method's figure 1."""
    crop, chosen = shown(explanation.pixels), explanation.strongest(count)
    # A dimension's sign means nothing by itself: a map is drawn as what makes its value larger.
    signed = {each: np.sign(explanation.embedding[each]) * explanation.maps[each] for each in chosen}
    scale = _end(signed.values())
    panels = [Panel(Image.fromarray(crop), "image")]
    for each, values in signed.items():
        caption = f"dimension {each}\n{explanation.embedding[each]:+.3f}"
        panels.append(Panel(overlaid(crop, values, scale), caption))
    share = float((explanation.embedding[chosen] ** 2).sum())
    dimensions = len(explanation.embedding)
    facts = (f"The {len(chosen)} strongest of {dimensions} dimensions, {share:.0%} of the squared length",)
    return Figure("What the vector is made of", facts, (Row(name, tuple(panels)),), (("a dimension", scale),))


def pair_figure(pair: PairExplanation, names: tuple[str, str], count: int = 5, against: int = 2) -> Figure:
    """The total map, the dimensions that contribute most and those against, over both images: figure 8."""
    most, least = pair.most(count), pair.against(against)
    maps = {each: pair.maps_of(each) for each in (*most, *least)}
    total_scale = _end((pair.total_a, pair.total_b))
    scale = _end([values for both in maps.values() for values in both])
    rows = []
    for side, (explanation, total) in enumerate(((pair.a, pair.total_a), (pair.b, pair.total_b))):
        crop = shown(explanation.pixels)
        bias = (pair.bias_a, pair.bias_b)[side]
        panels = [
            Panel(Image.fromarray(crop), "AB"[side]),
            Panel(overlaid(crop, total, total_scale), f"all: {total.sum():+.2f}\nbias {bias:+.2f}"),
        ]
        for each, both in maps.items():
            caption = f"dim. {each}: {pair.dimensions[each]:+.3f}\n{'' if each in most else 'against, '}"
            panels.append(Panel(overlaid(crop, both[side], scale), f"{caption}places {both[side].sum():+.3f}"))
        rows.append(Row(names[side], tuple(panels)))
    positive = float(pair.dimensions[pair.dimensions > 0].sum())
    facts = (
        f"{(pair.dimensions > 0).sum()} of {len(pair.dimensions)} dimensions add {positive:.3f}, the others take "
        f"{positive - pair.cosine:.3f} away",
        f"The {len(most)} that add most: {pair.dimensions[most].sum():.3f}",
    )
    title = f"Similarity {pair.cosine:.3f}"
    return Figure(title, facts, tuple(rows), (("all dimensions", total_scale), ("a dimension", scale)))


def total_overlays(pair: PairExplanation) -> tuple[Image.Image, Image.Image, float]:
    """Both images under their total maps, and where the scale of the two ends."""
    scale = _end((pair.total_a, pair.total_b))
    sides = ((pair.a, pair.total_a), (pair.b, pair.total_b))
    over_a, over_b = (overlaid(shown(explanation.pixels), total, scale) for explanation, total in sides)
    return over_a, over_b, scale


def shown(pixels: Pixels) -> Pixels:
    """An image in a panel's size, its aspect ratio kept, never less than a pixel."""
    factor = min(BOX[0] / pixels.shape[1], BOX[1] / pixels.shape[0])
    size = tuple(max(1, round(factor * side)) for side in (pixels.shape[1], pixels.shape[0]))
    return np.asarray(Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.LANCZOS))


def _end(maps: Iterable[Array]) -> float:
    """Where the colours end: what one place of a hundred is beyond, so that a single one does not leave all grey."""
    values = [np.abs(each).reshape(-1) for each in maps]
    return float(np.quantile(np.concatenate(values), 0.99, method="higher")) if values else 0.0
