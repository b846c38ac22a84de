"""Images: decoding, the resize rules, boxes in frames."""

from reid_runtime.images.decode import load_image

__all__ = ["load_image"]
