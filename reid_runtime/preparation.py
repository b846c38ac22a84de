"""One image, made ready for its batch: decoded, judged and resized, or the error why it cannot be used."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from traceback import clear_frames
from typing import Any

import numpy as np

from reid_runtime.errors import ImageError, ReidRuntimeError
from reid_runtime.images.decode import ChannelOrder, ImageSource, decode_image, source_name, source_path
from reid_runtime.images.limits import ImageLimits
from reid_runtime.images.quality import DEFAULT_POLICY, Sample, sample
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
    sample: Sample | None = None
    """What the quality and its reasons are still to be made of."""


def prepare(
    index: int,
    source: ImageSource,
    channel_order: ChannelOrder | None,
    limits: ImageLimits,
    rule: ResizeRule,
    times: StageTimes,
) -> Prepared:
    """The image, not yet `judged`, or its ImageError; ReidRuntimeError, with its name, for what nobody thought of."""
    name = source_path(source)
    try:
        with times.measure("decode"):
            image = decode_image(source, channel_order, limits)
        height, width = image.pixels.shape[:2]
        with times.measure("resize"):
            pixels, looked_at = resized(image.pixels, rule, image.image), sample(image.pixels)
        return Prepared(name, pixels, None, (width, height), image.reasons, sample=looked_at)
    except ImageError as error:
        # A new one: the traceback of the first keeps the image's bytes alive for as long as the Result, and frames that
        # `contextlib` left in a circle, since Python 3.12, keep them until the next garbage collection.
        cause: BaseException | None = error
        while cause is not None:
            clear_frames(cause.__traceback__)
            cause = cause.__cause__  # a `__context__` may be of whoever calls
        return Prepared(name, None, ImageError(str(error)))
    except Exception as error:
        raise ReidRuntimeError(f"{source_name(index, name)}: {type(error).__name__}: {error}") from error


def judged(images: Sequence[Prepared], times: StageTimes) -> list[Prepared]:
    """Prepared images with their quality and its reasons."""
    with times.measure("resize", images=0):
        judgements = iter(DEFAULT_POLICY.judge_all([each.sample for each in images if each.sample is not None]))
    return [
        each
        if each.sample is None
        else replace(each, quality=(of_it := next(judgements))[0], reasons=each.reasons + of_it[1], sample=None)
        for each in images
    ]
