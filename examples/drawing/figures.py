"""What the drawn people look like: a wardrobe, a walking skeleton, and the solids that dress it."""

import math
from dataclasses import dataclass

import numpy as np

from examples.drawing.solids import Canvas, Floats, Mask, Paint, Point


def palette(codes: str) -> list[Floats]:
    """The (3,) colours, in 0..1, of six-digit hexadecimal codes with spaces between."""
    return [np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]) for code in codes.split()]


CLOTHES = palette(
    "1c1d22 b3202c e8e4da 1f3a78 d9a520 3f7a45 8f8f94 e07b2a 6fa8d6 5a1f33 d98aa3 52603a 2f7f86 7a4fa0 4a4c52 c9b48c"
)
LEGWEAR = palette("23252b 33486e 8c7a5a 54565c 1b2440 6a7fa0 4b3a2e b9b2a2")
SKINS = palette("e8bc98 e0b08a c68b62 9a6542 6e452e eabf9f")
HAIRS = palette("1a1614 3a2618 6b4426 b58a4c 8a8884 2a1d18 7a2f1a")
BAGS = palette("22242a 8a2c2c 2e4f7d b08d2f 5b6b4a 7a5236")
SHOES = palette("1e1c1c e6e4e0 5a3c28 30343c")


@dataclass(frozen=True)
class Looks:
    """What makes an identity recognisable; colours are (3,) in 0..1."""

    shirt: Floats
    second: Floats
    pattern: str
    """plain, hoops, check, pinstripe, two-tone, print or open (a jacket over a shirt)."""
    short_sleeves: bool
    legwear: str
    """trousers, shorts, skirt or dress."""
    legs: Floats
    shoes: Floats
    skin: Floats
    hair: Floats
    haircut: str
    """short, long, bun or none."""
    hat: str
    """none, cap, beanie or brim."""
    bag: str
    """none, backpack, shoulder or hand."""
    accent: Floats
    """Colour of hat and bag."""
    bulk: float
    """Breadth, about 1."""
    waist: float
    """Narrowness of waist against shoulders, about 1."""
    tall: float
    """Height against the crop's, about 1."""

    @classmethod
    def of(cls, identity: int) -> "Looks":
        """The looks of one identity (0 or more). Neighbouring numbers get distant shirts and legwear."""
        random = np.random.default_rng((101, identity))

        def jittered(colour: Floats) -> Floats:
            return np.clip(colour * random.uniform(0.88, 1.12) + random.uniform(-0.03, 0.03, 3), 0.03, 0.97)

        first = (identity * 5 + identity // 16) % 16
        patterns = ["plain", "hoops", "open", "plain", "two-tone", "check", "print", "pinstripe"]
        legwear = ["trousers", "trousers", "shorts", "trousers", "skirt", "trousers", "trousers", "dress"]
        bags = ["backpack", "none", "hand", "shoulder", "none", "backpack", "none", "shoulder"]
        turn = identity % 8
        late = identity // 8
        wears = legwear[(turn + 3 * late) % 8]
        feminine = wears in ("skirt", "dress") or random.random() < 0.35
        haircuts = ["long", "bun", "long", "short"] if feminine else ["short", "short", "none", "short"]
        return cls(
            shirt=jittered(CLOTHES[first]),
            second=jittered(CLOTHES[(first + [2, 7, 5, 13][int(random.integers(4))]) % 16]),
            pattern=patterns[(turn * 3 + late) % 8],
            short_sleeves=bool(random.random() < 0.45),
            legwear=wears,
            legs=jittered(LEGWEAR[(identity * 3 + late) % 8]),
            shoes=jittered(SHOES[int(random.integers(4))]),
            skin=SKINS[int(random.integers(6))],
            hair=jittered(HAIRS[int(random.integers(7))]),
            haircut=haircuts[int(random.integers(4))],
            hat=["none", "none", "cap", "none", "brim", "none", "beanie"][int(random.integers(7))],
            bag=bags[(turn * 3 + late) % 8],
            accent=jittered(BAGS[int(random.integers(6))]),
            bulk=float(random.uniform(0.9, 1.0) if feminine else random.uniform(0.96, 1.2)),
            waist=float(random.uniform(0.82, 0.9) if feminine else random.uniform(0.94, 1.08)),
            tall=float(random.uniform(0.94, 1.0)),
        )


@dataclass(frozen=True)
class Pose:
    """One moment of a walk."""

    yaw: float
    """Radians: 0 faces the camera, pi/2 walks to the picture's right."""
    phase: float
    """Radians of the two-step cycle."""
    stride: float
    """Radians that the thigh swings each way; 0 stands."""


def _plain(colour: Floats, folds: float = 0.0) -> Paint:
    """One colour, its brightness varied by up to about `folds` as cloth falls in folds."""

    def paint(angle: Floats, height: Floats) -> Floats:
        slant = np.sin(3 * angle + 31 * height + 2.2 * np.sin(2 * angle - 13 * height))
        wave = slant + 0.6 * np.sin(38 * height - 5 * angle)
        return colour * (1 + folds * wave)[:, None]

    return paint


def _either(first: Mask, then: Floats, otherwise: Floats) -> Floats:
    """(N, 3): `then`, (3,), at the points where `first`, (N,), holds, elsewhere `otherwise`, (N, 3)."""
    return np.where(first[:, None], then, otherwise)


def _cloth(looks: Looks, *, sleeve: bool) -> Paint:
    """The shirt's pattern; a sleeve's height runs from the shoulder down."""
    base = _plain(looks.shirt, 0.09)

    def paint(angle: Floats, height: Floats) -> Floats:
        cloth = base(angle, height)
        if looks.pattern == "hoops":
            return _either(np.mod(height, 0.056) < 0.026, looks.second, cloth)
        if looks.pattern == "pinstripe":
            return _either(np.mod(angle, 0.42) < 0.13, looks.second, cloth)
        if looks.pattern == "check":
            both = (np.mod(height, 0.07) < 0.024).astype(float) + (np.mod(angle, 0.7) < 0.24)
            return cloth + (looks.second - cloth) * (0.5 * both)[:, None]
        if looks.pattern == "two-tone":
            return _either((height < 0.06) if sleeve else (height > 0.70), looks.second, cloth)
        if looks.pattern == "print" and not sleeve:
            return _either((np.abs(angle) < 0.55) & (np.abs(height - 0.715) < 0.035), looks.second, cloth)
        if looks.pattern == "open" and not sleeve:
            return _either(np.abs(angle) < 0.16 + 1.1 * np.maximum(0, 0.62 - height), looks.second, cloth)
        return cloth

    return paint


def draw_figure(canvas: Canvas, looks: Looks, pose: Pose) -> None:
    """Draw one person into the canvas, which faces as `pose.yaw` says."""
    hips = _draw_legs(canvas, looks, pose)
    _draw_trunk(canvas, looks, hips)
    hand = _draw_arms(canvas, looks, pose, hips)
    _draw_head(canvas, looks, hips)
    _draw_bag(canvas, looks, hips, hand)


def _draw_legs(canvas: Canvas, looks: Looks, pose: Pose) -> float:
    """Both legs and feet, the lower one on the ground; returns the hips' height."""
    bones: list[tuple[Point, Point, Point, float]] = []
    for side in (-1, 1):
        step = pose.phase + (math.pi if side > 0 else 0)
        thigh = pose.stride * math.sin(step) + 0.06
        shin = thigh - 0.1 - 2.0 * pose.stride * max(0.0, math.cos(step + 0.5)) ** 2
        hip = (side * 0.043 * looks.bulk, 0.0, 0.0)
        knee = (hip[0] * 0.95, -0.235 * math.cos(thigh), 0.235 * math.sin(thigh))
        ankle = (hip[0] * 0.85, knee[1] - 0.225 * math.cos(shin), knee[2] + 0.225 * math.sin(shin))
        bones.append((hip, knee, ankle, 0.5 * thigh + 0.75 * min(0.0, shin)))
    hips = 0.042 - min(ankle[1] - 0.085 * max(0.0, -math.sin(tip)) for _, _, ankle, tip in bones)

    wide = looks.bulk * (1.08 if looks.legwear == "trousers" else 0.94)
    cloth: Paint = _plain(looks.legs, 0.1)
    skin = _plain(looks.skin)
    bare = looks.legwear in ("skirt", "dress")
    for hip, knee, ankle, tip in bones:
        raised: list[Point] = [(x, y + hips, z) for x, y, z in (hip, knee, ankle)]
        (x0, y0, z0), (x1, y1, z1) = raised[:2]
        thigh_paint = skin if bare else cloth
        shin_paint = cloth if looks.legwear == "trousers" else skin
        if bare:  # what the cloth hides is left out, or a long step would pierce it
            raised[0] = (x0 + 0.7 * (x1 - x0), y0 + 0.7 * (y1 - y0), z0 + 0.7 * (z1 - z0))
        canvas.limb(raised[0], raised[1], (0.045 * wide if bare else 0.056 * wide, 0.044 * wide), thigh_paint)
        canvas.limb(raised[1], raised[2], (0.044 * wide, 0.031 * wide), shin_paint)
        x, y, z = raised[2]
        heel = (x, y - 0.016, z - 0.012)
        toe = (x * 1.25, y - 0.024 + 0.085 * math.sin(tip), z + 0.085 * math.cos(tip))
        canvas.limb(heel, toe, (0.026, 0.018), _plain(looks.shoes))
    if bare:
        flare = 0.095 + 0.1 * pose.stride
        cloth = _plain(looks.legs, 0.12) if looks.legwear == "skirt" else _cloth(looks, sleeve=False)
        rows = [(hips - 0.2, flare, flare), (hips - 0.03, 0.1, 0.084), (hips + 0.09, 0.098 * looks.waist, 0.072)]
        canvas.loft([(y, a * looks.bulk, b * looks.bulk) for y, a, b in rows], cloth)
    return hips


def _draw_trunk(canvas: Canvas, looks: Looks, hips: float) -> None:
    """From the hips to the neck, with what is worn over it; like all heights below, for hips at 0.5."""
    up = hips - 0.5
    tucked = looks.legwear == "skirt"
    hem = 0.575 if tucked else {"open": 0.465, "plain": 0.50}.get(looks.pattern, 0.485)
    shirt, belt = _cloth(looks, sleeve=False), np.clip(looks.legs * 0.6, 0, 1)

    def paint(angle: Floats, height: Floats) -> Floats:
        height = height - up
        colours = shirt(angle, height)
        if looks.legwear != "dress":
            colours = _either(height < hem, looks.legs, colours)
            colours = _either((height < hem) & (height > hem - 0.012), belt, colours)
        if looks.bag == "backpack":
            strap = (np.abs(np.abs(angle) - 0.62) < 0.13) & (height > 0.62) & (np.abs(angle) < 1.6)
            colours = _either(strap, looks.accent, colours)
        if looks.bag == "shoulder":
            line = 0.68 + 0.105 * np.sin(angle) * np.where(np.abs(angle) < math.pi / 2, 1, 0.9)
            colours = _either(np.abs(height - line) < 0.013, looks.accent * 0.7, colours)
        return colours

    waist, broad = looks.waist, 1 / (0.5 + 0.5 * looks.waist) ** 0.2
    rows = [
        (0.45, 0.084, 0.064),
        (0.47, 0.089, 0.068),
        (0.52, 0.092, 0.071),
        (0.61, 0.084 * waist, 0.063),
        (0.72, 0.100, 0.070),
        (0.765, 0.110 * broad, 0.065),
        (0.795, 0.108 * broad, 0.058),
        (0.815, 0.086, 0.05),
        (0.83, 0.058, 0.044),
        (0.848, 0.032, 0.036),
    ]
    canvas.loft([(y + up, a * looks.bulk, b * looks.bulk) for y, a, b in rows], paint)
    if looks.legwear in ("trousers", "shorts"):  # the shirt hangs over the hips
        hanging = [(hem, 0.108, 0.094), (0.52, 0.104, 0.086), (0.58, 0.089 * waist, 0.067), (0.6, 0.08 * waist, 0.06)]
        canvas.loft([(y + up, a * looks.bulk, b * looks.bulk) for y, a, b in hanging], paint)


def _draw_arms(canvas: Canvas, looks: Looks, pose: Pose, hips: float) -> Point:
    """Both arms, against the legs' beat; returns the left hand."""
    up = hips - 0.5
    sleeve, skin = _cloth(looks, sleeve=True), _plain(looks.skin)
    hand: Point = (0.0, 0.0, 0.0)
    wide = 0.6 + 0.4 * looks.bulk
    for side in (-1, 1):
        beat = -math.sin(pose.phase + (math.pi if side > 0 else 0))
        calm = 0.35 if looks.bag == "hand" and side > 0 else 1.0
        swing = 1.15 * pose.stride * beat * calm
        bend = swing + (0.18 + 0.5 * pose.stride * (1 + beat)) * calm
        shoulder = (side * 0.094 * looks.bulk, 0.767 + up, 0.0)
        elbow = (shoulder[0] + side * 0.032, shoulder[1] - 0.155 * math.cos(swing), 0.155 * math.sin(swing))
        hand = (elbow[0] + side * 0.004, elbow[1] - 0.135 * math.cos(bend), elbow[2] + 0.135 * math.sin(bend))
        canvas.limb(shoulder, elbow, (0.036 * wide, 0.031 * wide), sleeve)
        canvas.limb(elbow, hand, (0.026 * wide, 0.020 * wide), skin if looks.short_sleeves else sleeve)
        palm = (hand[0], hand[1] - 0.022, hand[2] + 0.006)
        canvas.limb(hand, palm, (0.021, 0.019), skin)
    return hand


def _dome(low: float, high: float, a: float, b: float, turn: float = 1.0) -> list[tuple[float, float, float]]:
    """A profile that is an ellipsoid's upper part: `turn` 0 has the full width at `low`, 1 is the whole ellipsoid."""
    angles = np.linspace(-turn * math.pi / 2, math.pi / 2, 17)
    heights = low + (high - low) * (np.sin(angles) - np.sin(angles[0])) / (1 - np.sin(angles[0]))
    return [(float(y), a * math.cos(t), b * math.cos(t)) for y, t in zip(heights, angles, strict=True)]


def _draw_head(canvas: Canvas, looks: Looks, hips: float) -> None:
    up = hips - 0.5

    def face(angle: Floats, height: Floats) -> Floats:
        height = height - up
        colours = np.broadcast_to(looks.skin, (*angle.shape, 3))
        eyes = (np.abs(np.abs(angle) - 0.42) < 0.2) & (np.abs(height - 0.918) < 0.006)
        colours = _either(eyes, looks.skin * 0.38, colours)
        mouth = (np.abs(angle) < 0.3) & (np.abs(height - 0.879) < 0.0035)
        return _either(mouth, looks.skin * np.array([0.72, 0.48, 0.48]), colours)

    def is_hair(angle: Floats, height: Floats) -> Mask:
        turned = np.abs(angle)
        return height - up > np.interp(turned, [0, 0.7, 1.2, 1.6, 2.0, 3.2], [0.952, 0.947, 0.925, 0.9, 0.872, 0.862])

    hair = _plain(looks.hair, 0.12)
    canvas.limb((0, 0.81 + up, -0.004), (0, 0.875 + up, 0.006), (0.031, 0.029), _plain(looks.skin * 0.9))
    canvas.loft(_dome(0.848 + up, 0.98 + up, 0.046, 0.056), face, z=0.012)
    canvas.limb((0, 0.915 + up, 0.062), (0, 0.9 + up, 0.07), (0.006, 0.009), _plain(looks.skin))
    if looks.haircut != "none":
        canvas.loft(_dome(0.838 + up, 0.991 + up, 0.052, 0.063), hair, z=0.008, keep=is_hair)
    if looks.haircut == "long":
        back = [(0.765, 0.03, 0.016), (0.80, 0.05, 0.028), (0.87, 0.055, 0.038), (0.93, 0.05, 0.04), (0.96, 0.03, 0.03)]
        canvas.loft([(y + up, a, b) for y, a, b in back], hair, z=-0.032)
    if looks.haircut == "bun" and looks.hat == "none":
        canvas.limb((0, 0.955 + up, -0.055), (0, 0.965 + up, -0.06), (0.026, 0.024), hair)
    accent = _plain(looks.accent)
    if looks.hat != "none":
        canvas.loft(_dome(0.94 + up, 1.0 + up, 0.055, 0.067, 0.1), accent, z=0.008)
    if looks.hat == "cap":
        canvas.loft([(0.941 + up, 0.04, 0.05), (0.947 + up, 0.045, 0.055), (0.954 + up, 0.04, 0.05)], accent, z=0.062)
    if looks.hat == "brim":
        canvas.loft([(0.938 + up, 0.088, 0.098), (0.945 + up, 0.092, 0.102), (0.954 + up, 0.07, 0.08)], accent, z=0.008)


def _draw_bag(canvas: Canvas, looks: Looks, hips: float, hand: Point) -> None:
    up = hips - 0.5
    if looks.bag == "backpack":

        def pack(angle: Floats, height: Floats) -> Floats:
            pocket = (height - up < 0.675) & (height - up > 0.668)
            return _either(pocket, looks.accent * 0.55, _plain(looks.accent, 0.05)(angle, height))

        rows = [
            (0.565, 0.05, 0.03),
            (0.58, 0.078, 0.05),
            (0.70, 0.082, 0.055),
            (0.78, 0.075, 0.045),
            (0.815, 0.05, 0.025),
        ]
        canvas.loft([(y + up, a, b) for y, a, b in rows], pack, z=-0.095)
    if looks.bag == "shoulder":
        rows = [(0.43, 0.026, 0.06), (0.445, 0.032, 0.075), (0.53, 0.03, 0.075), (0.555, 0.018, 0.06)]
        canvas.loft([(y + up, a, b) for y, a, b in rows], _plain(looks.accent, 0.05), x=-0.118 * looks.bulk, z=-0.01)
    if looks.bag == "hand":
        x, y, z = hand
        rows = [(y - 0.2, 0.02, 0.07), (y - 0.185, 0.028, 0.08), (y - 0.09, 0.024, 0.07), (y - 0.075, 0.012, 0.06)]
        canvas.loft(rows, _plain(looks.accent, 0.05), x=x, z=z)
        for end in (-0.05, 0.05):
            canvas.limb((x, y - 0.02, z), (x, y - 0.09, z + end), (0.005, 0.005), _plain(looks.accent * 0.7))
