"""What a person wears, by chance: garments, how they are cut, and what of the head and the hands."""

from dataclasses import dataclass

import numpy as np

from training.people.garment import Cut

SUITS = tuple(f"male_casualsuit0{k}" for k in range(1, 7))
WOMEN = ("female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01")
TOPS = {
    "male": (*SUITS, "male_elegantsuit01", "Tank_Top_01", "short_tail_camo_tee", "short_tail_camo_tee"),
    "female": (
        *WOMEN, "male_casualsuit02", "male_casualsuit05", "male_casualsuit06", "VNeckTop", "Sleeveless",
        "spaghetti-top", "Tank_Top_01", "female_top_01", "short_tail_camo_tee", "Asymmetric_Tunic_and_Sash",
    ),
}  # fmt: skip
TROUSERS = {
    "male": ("male_casualsuit02", "male_casualsuit04", "male_casualsuit06", "male_elegantsuit01", "male_casualsuit01"),
    "female": ("Tightjeans", "Tightjeans", "female_casualsuit01", "female_sportsuit01", "male_casualsuit04"),
}
SKIRTS = ("JeansSkirt", "miniskirt", "wrap", "wrap", "wrap", "female_elegantsuit01")
DRESSES = ("F_Dress_01", "F_Dress_02", "F_Dress_03", "F_Dress_04", "F_Beach_Dress_01", "TubeDress")
HAIR = {
    "male": ("short01", "short02", "short03", "short04", "afro01", "bald"),
    "female": ("bob01", "bob02", "long01", "ponytail01", "braid01", "afro01", "short03"),
}
HAIR_SHARES = {"male": (3, 3, 3, 3, 1, 1.2), "female": (3, 3, 4, 4, 2, 1, 1)}
BAGS = ("backpack", "crossbody", "shoulder", "handbag", "carrier")
TIGHT_HAIR = ("short01", "short02", "short03", "short04", "bald", "long01")
"""Hair that hats sit on."""
WHOLE = Cut()


@dataclass(frozen=True)
class Piece:
    """One garment of an outfit, from the skin outwards."""

    garment: str
    half: int
    """0 top, 1 bottom."""
    cut: Cut
    use: str
    """What cloth it is made of: `top`, `bottom`, `coat`, `shoe` or `hat`."""


@dataclass(frozen=True)
class Outfit:
    """Everything that is put on a body."""

    pieces: tuple[Piece, ...]
    hair: str
    hat: str | None
    glasses: bool
    bag: str | None
    side: str
    """L or R: where a bag is."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is worn, in words."""
        more = (self.hair, self.hat, "glasses" if self.glasses else None, self.bag)
        return (*(piece.garment for piece in self.pieces), *(name for name in more if name))


def sample_outfit(rng: np.random.Generator, sex: str) -> Outfit:
    """An outfit by chance."""
    man = sex == "male"
    pieces: list[Piece] = []
    if not man and rng.random() < 0.17:
        if rng.random() < 0.35:
            pieces.append(Piece("close", 1, Cut(leg=1.97, hem=-99, top=1.3), "bottom"))
        pieces.append(Piece(pick(rng, DRESSES), 0, WHOLE, "top"))
    else:
        pieces += [bottom(rng, sex), top(rng, sex)]
    if rng.random() < (0.24 if man else 0.2):
        pieces.append(coat(rng))
    boots = rng.random() < (0.05 if man else 0.14)
    pieces.append(Piece("WinterBoots" if boots else f"shoes0{rng.integers(1, 7)}", 0, WHOLE, "shoe"))
    shares = np.array(HAIR_SHARES[sex], np.float64)
    hair = str(rng.choice(HAIR[sex], p=shares / shares.sum()))
    hat = None
    if rng.random() < 0.16:
        hat = str(rng.choice(["cap", "beanie", "Fishing_Hat_01", "fedora01"], p=[0.45, 0.3, 0.17, 0.08]))
        if hair not in TIGHT_HAIR:
            hair = "short03" if man else "long01"
    bag = str(rng.choice(BAGS, p=[0.38, 0.2, 0.14, 0.12, 0.16])) if rng.random() < 0.42 else None
    return Outfit(tuple(pieces), hair, hat, bool(rng.random() < 0.14), bag, str(rng.choice(["L", "R"])))


def pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    """One of the names, all alike."""
    return names[rng.integers(len(names))]


def sleeve(rng: np.random.Generator, short: float) -> float:
    """Where sleeves end along the arm: at the wrist, rolled up, at the elbow, short, or none."""
    draw = rng.random()
    if draw < 1 - short:
        return 9.0 if rng.random() < 0.75 else float(rng.uniform(1.2, 1.7))
    return float(rng.uniform(0.4, 0.95))


def top(rng: np.random.Generator, sex: str) -> Piece:
    """What covers the chest; half of it is cut of the suit that lies close all over, with its own looseness."""
    loose = float(rng.uniform(0.03, 0.18))
    if rng.random() < 0.45:
        loose = float(rng.uniform(0.06, 0.42 if sex == "male" else 0.3))
        ends = sleeve(rng, 0.55) if rng.random() < 0.94 else 0.12
        cut = Cut(sleeve=min(ends, 1.93), leg=9, hem=float(rng.uniform(-1.2, 0.9)), loose=loose)
        return Piece("close", 0, cut, "top")
    return Piece(pick(rng, TOPS[sex]), 0, Cut(sleeve=sleeve(rng, 0.2), loose=loose), "top")


def bottom(rng: np.random.Generator, sex: str) -> Piece:
    """What covers the legs: trousers of many widths and lengths, or a skirt."""
    if sex == "female" and rng.random() < 0.24:
        name = pick(rng, SKIRTS)
        length = float(rng.uniform(0.7, 1.9)) if name == "wrap" else 9.0
        return Piece(name, 1, Cut(leg=length, top=1.75, loose=float(rng.uniform(0, 0.12)), waist=-0.05), "bottom")
    short = rng.random() < 0.22
    length = float(rng.uniform(0.55, 1.3)) if short else float(rng.choice([9.0, 1.75], p=[0.85, 0.15]))
    wide = float(rng.uniform(0, 0.12)) + (float(rng.uniform(0, 0.25)) if rng.random() < 0.3 else 0)
    flare = float(rng.uniform(-0.02, 0.12)) if rng.random() < 0.6 else float(rng.uniform(0, 0.3))
    if rng.random() < (0.4 if sex == "female" else 0.25):
        wide += 0 if sex == "female" and rng.random() < 0.6 else 0.12
        cut = Cut(leg=min(length, 1.95), top=1.3, loose=wide, waist=-0.05, flare=flare if wide > 0.1 else 0)
        return Piece("close", 1, cut, "bottom")
    return Piece(pick(rng, TROUSERS[sex]), 1, Cut(leg=length, loose=wide, waist=-0.05, flare=flare), "bottom")


def coat(rng: np.random.Generator) -> Piece:
    """A coat, or a jacket cut of it or of the close suit."""
    if rng.random() < 0.45:
        cut = Cut(sleeve=1.95, hem=float(rng.uniform(-1.4, 0.2)), loose=float(rng.uniform(0.42, 0.68)))
        return Piece("close", 0, cut, "coat")
    hem = -99.0 if rng.random() < 0.4 else float(rng.uniform(-2.8, 0.2))
    return Piece("Coat", 0, Cut(hem=hem, loose=float(rng.uniform(0.05, 0.22))), "coat")
