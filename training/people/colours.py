"""Colours of clothes, hair and skin by chance, as streets show them."""

import numpy as np

Colour = tuple[float, float, float]

CLOTH = np.array(
    [
        (22, 22, 25), (48, 48, 52), (98, 98, 100), (160, 160, 160), (236, 236, 232), (28, 36, 66), (46, 74, 124),
        (120, 150, 190), (196, 180, 150), (96, 72, 52), (150, 30, 34), (44, 82, 56), (92, 98, 62), (214, 130, 150),
        (222, 184, 60), (92, 56, 120), (210, 98, 44), (40, 140, 150),
    ],
    np.float64,
)  # fmt: skip
"""Black, three greys, white, navy, blue, sky, beige, brown, red, green, olive, pink, yellow, violet, orange, teal."""
TOP = np.array([15, 8, 7, 8, 13, 9, 8, 6, 6, 5, 7, 5, 5, 5, 4, 3, 3, 3], np.float64)
BOTTOM = np.array([22, 11, 8, 4, 5, 18, 14, 6, 9, 6, 2, 1, 5, 1, 0.5, 1, 0.5, 1], np.float64)
SHOE = np.array([30, 8, 8, 5, 22, 5, 3, 2, 4, 14, 3, 1, 1, 2, 0.5, 0.3, 1, 1], np.float64)
HAIR = np.array(
    [(18, 16, 15), (34, 26, 20), (62, 42, 28), (104, 72, 44), (168, 130, 82), (128, 124, 120), (112, 50, 26)],
    np.float64,
)
"""Black, two darks, brown, blond, grey, red."""
SKINS = np.array([(226, 182, 158), (222, 178, 142), (112, 76, 58)], np.float64)
"""Fair, Asian and dark: what the three origins mix."""


def cloth(rng: np.random.Generator, shares: np.ndarray[tuple[int], np.dtype[np.float64]], free: float = 0.05) -> Colour:
    """A colour that clothes have, now and then any colour."""
    if rng.random() < free:
        colour = rng.uniform(25, 225, 3) * 0.75 + 0.25 * rng.uniform(25, 225)
    else:
        row = rng.choice(len(CLOTH), p=shares / shares.sum())
        colour = CLOTH[row] * rng.uniform(0.75, 1.25) + rng.normal(0, 8, 3)
    return triple(np.clip(colour, 6, 248))


def hair(rng: np.random.Generator, fair: float, age: float) -> Colour:
    """A colour of hair, given the share of fair origin and the age."""
    shares = np.array([5, 5, 3, 2, 1.5, 0.2, 0.6]) * fair + np.array([8, 4, 1, 0.3, 0.1, 0.1, 0.05]) * (1 - fair)
    shares[5] += 9 if age > 0.72 else 0
    if rng.random() < 0.03:  # dyed
        return triple(rng.uniform(40, 220, 3))
    row = rng.choice(len(HAIR), p=shares / shares.sum())
    return triple(np.clip(HAIR[row] * rng.uniform(0.75, 1.25), 8, 240))


def skin(rng: np.random.Generator, origins: tuple[float, float, float]) -> Colour:
    """A colour of skin between those of the origins."""
    mixed = (SKINS[0] * origins[0] + SKINS[1] * origins[1]) + SKINS[2] * origins[2]
    return triple(np.clip(mixed * rng.uniform(0.8, 1.08) * rng.uniform(0.97, 1.03, 3), 20, 245))


def triple(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Colour:
    """Rounded, so that the last bits of a double decide nothing."""
    red, green, blue = (round(float(value), 3) for value in values)
    return red, green, blue
