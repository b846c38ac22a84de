"""Crops as data URIs, small enough that a page of two hundred opens at once."""

import base64
import io
from collections.abc import Callable
from functools import partial

from PIL import Image

from reid_runtime.errors import ImageError
from reid_runtime.evaluation.eval_set import Entries
from reid_runtime.images.decode import ImageSource, load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.report.markup import escaped

_BOX = (104, 208)
"""The largest width and height of a kept crop: twice what the page shows, for dense displays."""


def crop_image(entries: Entries, row: int, text: str) -> str:
    """An `img` of an entry, of a tracklet its middle frame; without pixels a box that says so. `text` is its `alt`."""
    return image_tag(loader(entries, row), text)


def loader(entries: Entries, row: int) -> Callable[[], Pixels] | None:
    """What reads the image of an entry, of a tracklet its middle frame; None without pixels."""
    images = entries.images[row]
    return images[len(images) // 2].load if images else None


def file_loader(source: ImageSource | None) -> Callable[[], Pixels] | None:
    """What reads an image; None where there is none."""
    return None if source is None else partial(load_image, source)


def image_tag(load: Callable[[], Pixels] | None, text: str) -> str:
    """An `img` of what `load` gives, (H, W, 3) RGB; without pixels a box that says so. `text` is its `alt`."""
    if load is None:
        return f'<div class="absent" role="img" aria-label="{escaped(text)}">no image</div>'
    try:
        image = Image.fromarray(load())
    except (ImageError, ValueError):  # gone since it was embedded
        return f'<div class="absent" role="img" aria-label="{escaped(text)}">not readable</div>'
    # Never enlarged here: the browser does that, and a small crop should look small in detail.
    image.thumbnail(_BOX, Image.Resampling.LANCZOS)
    width, height = image.size
    return f'<img src="{image_uri(image)}" width="{width}" height="{height}" alt="{escaped(text)}">'


def image_uri(image: Image.Image) -> str:
    """An RGB image as the `src` of an `img`."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
