"""What happens to an image on its way to the network in classification and ranking, and a sheet to look at it."""

import numpy as np
from PIL import Image

from reid_runtime.images.resize import Pixels, ResizeRule, resize
from training.data.cutout import cut_out
from training.recipe import Augmentation


def augment(
    image: Pixels, rule: ResizeRule, choices: Augmentation, extent: float, random: np.random.Generator
) -> Pixels:
    """The image as the network gets it: (H, W, 3) uint8 at the rule's shape; `extent` is cut-out's at this moment."""
    if choices.flip and random.random() < 0.5:
        image = image[:, ::-1]
    if choices.crop:
        image = moved(image, choices.crop, random)
    image = resize(np.ascontiguousarray(image), rule.shape(*image.shape[:2]))
    # After the resize, so that the noise is per pixel of what the network sees.
    return cut_out(image, extent, random)


def moved(image: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """A window of the image's own size, up to `share` of each side off the middle, the edge repeated."""
    height, width = image.shape[:2]
    rows = np.arange(height) + round(random.uniform(-share, share) * height)
    columns = np.arange(width) + round(random.uniform(-share, share) * width)
    window: Pixels = image[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    return window


def contact_sheet(rows: list[list[Pixels]], height: int = 192) -> Image.Image:
    """The images, a list a row, all scaled to one height and kept in shape, on white."""
    gap = 6
    scaled = [[_scaled(image, height) for image in row] for row in rows]
    widths = [max(column.width for column in columns) for columns in zip(*scaled, strict=True)]
    sheet = Image.new("RGB", (sum(widths) + gap * (len(widths) + 1), len(rows) * (height + gap) + gap), "white")
    for down, row in enumerate(scaled):
        left = gap
        for image, width in zip(row, widths, strict=True):
            sheet.paste(image, (left + (width - image.width) // 2, gap + down * (height + gap)))
            left += width + gap
    return sheet


def _scaled(image: Pixels, height: int) -> Image.Image:
    # Nearest: what is noise of single pixels to the network should look so.
    width = max(1, round(height * image.shape[1] / image.shape[0]))
    return Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
