"""The form in which a model takes its pixels, and a batch brought into it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from reid_runtime.images.resize import Pixels

ModelInput = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.float16]


@dataclass(frozen=True)
class InputFormat:
    """How a model wants its pixels: value v of 0 to 255 goes in as (v * scale - mean) / deviation.

    Mean and deviation are in the order of `colour`. The defaults are our own graphs', which do all of that inside;
    a third-party model states its own.
    """

    layout: Literal["NHWC", "NCHW"] = "NHWC"
    dtype: Literal["uint8", "float32", "float16"] = "uint8"
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


def to_model_input(batch: Pixels, form: InputFormat) -> ModelInput:
    """A batch (N, H, W, 3) uint8 RGB in the format that a model states; for our own graphs the batch itself."""
    if form.colour == "bgr":
        batch = batch[..., ::-1]
    if form.layout == "NCHW":
        batch = batch.transpose(0, 3, 1, 2)
    if form.dtype == "uint8":
        return np.ascontiguousarray(batch)
    channels = (3, 1, 1) if form.layout == "NCHW" else (3,)
    pixels = batch.astype(np.float32, order="C")
    pixels *= np.float32(form.scale)
    pixels -= np.asarray(form.mean, np.float32).reshape(channels)
    pixels /= np.asarray(form.deviation, np.float32).reshape(channels)
    return pixels if form.dtype == "float32" else pixels.astype(np.float16)
