"""One image, made ready for its batch: decoded, judged and resized, or the error why it cannot be used."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.errors import ImageError, ReidRuntimeError
from reid_runtime.images.decode import ChannelOrder, ImageSource, decode_image, source_name, source_path
from reid_runtime.images.limits import ImageLimits
from reid_runtime.images.quality import DEFAULT_POLICY
from reid_runtime.images.resize import Pixels, ResizeRule, resized
from reid_runtime.io.stage_times import StageTimes


@dataclass(frozen=True)
class Prepared:
    """An image that is resized for its batch, or its error."""

    source: Any
    """Its path; None where it is not of a file."""
    pixels: Pixels | None
    error: ImageError | None
    size: tuple[int, int] = (0, 0)
    """Width and height as it was read."""
    reasons: tuple[str, ...] = ()
    quality: float = np.nan


def prepare(
    index: int,
    source: ImageSource,
    channel_order: ChannelOrder | None,
    limits: ImageLimits,
    rule: ResizeRule,
    times: StageTimes,
) -> Prepared:
    """The image, or its ImageError; raises ReidRuntimeError, naming the image, for what nobody thought of."""
    name = source_path(source)
    try:
        with times.measure("decode"):
            image = decode_image(source, channel_order, limits)
        height, width = image.pixels.shape[:2]
        with times.measure("resize"):
            quality, codes = DEFAULT_POLICY.judge(image.pixels)
            pixels = resized(image.pixels, rule)
        return Prepared(name, pixels, None, (width, height), image.reasons + codes, quality)
    except ImageError as error:
        # A new one: the traceback of the first keeps the image's bytes alive for as long as the Result.
        return Prepared(name, None, ImageError(str(error)))
    except Exception as error:
        raise ReidRuntimeError(f"{source_name(index, name)}: {type(error).__name__}: {error}") from error
