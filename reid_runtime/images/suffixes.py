"""Which files are images, by their names."""

import os

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Whether a path's name is that of an image, whatever the case; hidden files (`._0001.jpg`) are not."""
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")
