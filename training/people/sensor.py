"""From light to the bytes of an image: exposure, tone, blur, noise, compression."""

import io

import numpy as np
from PIL import Image, ImageFilter

from training.people import rasteriser
from training.people.cameras import Camera
from training.people.rasteriser import Bytes, Floats

MIDDLE = 0.2
"""The mean luminance that an automatic exposure aims at, in linear light."""


def _bell() -> Floats:
    """4,096 values whose distribution is a standard normal one's: noise is drawn as whole numbers that index it."""
    generator = np.random.default_rng(0)
    sums = generator.integers(0, 4096, (4096, 12)).sum(axis=1)  # twelve uniform ones: exact, and normal enough
    return np.sort((sums - 12 * 2047.5) / 4096).astype(np.float32)


BELL = _bell()


def exposed(light: Floats, camera: Camera, rng: np.random.Generator) -> Floats:
    """(H, W, 3) of 0 to 255 in sRGB, as the camera's exposure and tone render the light.

    An automatic exposure takes most of what makes a scene dark or bright; none comes out black or white.
    """
    mean = round(float(light.mean(dtype=np.float64)), 6)
    target = MIDDLE * 2 ** (camera.exposure * 1.2 + float(rng.normal(0, 0.25)))
    gain = float(np.clip((target / max(mean, 1e-4)) ** 0.75, 0.25, 6))
    grey = (light[..., 0] * np.float32(0.25) + light[..., 1] * np.float32(0.6)) + light[..., 2] * np.float32(0.15)
    light = grey[..., None] + (light - grey[..., None]) * np.float32(round(camera.saturation, 6))
    tint = np.array(camera.tint) * rng.uniform(0.98, 1.02, 3)
    contrast = camera.contrast * float(rng.uniform(0.95, 1.05))
    return rasteriser.develop(
        light, (tint * gain).round(6).astype(np.float32), round(camera.lift, 6), round(contrast, 6)
    )


def encoded(levels: Floats, camera: Camera, rng: np.random.Generator) -> bytes:
    """The JPEG file of an image of levels 0 to 255, as `seen` has it."""
    pixels = seen(levels, camera, rng)
    file = io.BytesIO()
    quality = int(np.clip(camera.quality + rng.integers(-6, 7), 40, 96))
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def seen(levels: Floats, camera: Camera, rng: np.random.Generator, faults: bool = True) -> Bytes:
    """(H, W, 3) what a sensor makes of levels 0 to 255: blurred, noisy, and with `faults` at times out of focus or
    enlarged from fewer pixels."""
    height, width = levels.shape[:2]
    image = Image.fromarray((levels + np.float32(0.5)).clip(0, 255).astype(np.uint8))
    if faults and rng.random() < 0.16:
        share = float(rng.uniform(0.25, 0.7))
        few = (max(12, round(width * share)), max(24, round(height * share)))
        image = image.resize(few, Image.Resampling.BOX).resize((width, height), Image.Resampling.BICUBIC)
    blur = camera.blur * float(rng.uniform(0.4, 1.4)) * height / 256
    if faults and rng.random() < 0.1:  # moving, or out of focus
        blur += float(rng.uniform(0.5, 2.0)) * height / 256
    if blur > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(round(blur, 3)))
    noise = camera.noise * float(rng.uniform(0.5, 1.4))
    if noise > 0.5:
        drawn = BELL[rng.integers(0, len(BELL), (height, width, 3), dtype=np.uint16)]
        grey = drawn[..., :1] * np.float32(noise * 0.8) + drawn * np.float32(noise * 0.6)
        return (np.asarray(image) + grey + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return np.array(image)
