"""Poses: a phase of walking, ways to stand, what the arms do, and hands at rest."""

from dataclasses import dataclass

import numpy as np

from training.people.assets import Assets
from training.people.body import Body
from training.people.formats import rotation
from training.people.skeleton import SIDES, Matrix

STILL = ("standing01", "standing02", "standing03", "standing04", "standing05", "standing06", "run01")
ARMS = ("swing", "phone", "reading", "pocket", "strap", "carry")


@dataclass(frozen=True, eq=False)
class Pose:
    """Rotations of bones by name, and what to call it."""

    name: str
    rotations: dict[str, Matrix]


def sample_pose(rng: np.random.Generator, body: Body, start: Matrix, heavy: float, carries: str | None) -> Pose:
    """A pose by chance.

    Args:
        rng: the view's generator.
        body: the base mesh.
        start: (B, 3) where the bones of this body start.
        heavy: -1 thin to 1 heavy: stout people hold their arms farther out.
        carries: the side, L or R, that a bag hangs from, if any.

    Returns:
        The pose.
    """
    kind = rng.choice(["walk", "stand", "still"], p=[0.66, 0.26, 0.08])
    if kind == "still" and carries is None:
        name = str(rng.choice(STILL))
        turns = still(body.assets, name)
        return Pose(name, turns | _hands(rng, body, start, None))
    phase = float(rng.random())
    stride = float(rng.uniform(0.55, 1.1)) if kind == "walk" else 0.0
    return walking(rng, body, start, heavy, carries, phase, stride)


def walking(
    rng: np.random.Generator, body: Body, start: Matrix, heavy: float, carries: str | None, phase: float, stride: float
) -> Pose:
    """A moment of walking.

    Args:
        rng: for what differs between people and views; the same gives the same walker at another phase.
        body: the base mesh.
        start: (B, 3) where the bones of this body start.
        heavy: -1 thin to 1 heavy.
        carries: the side that a bag hangs from, if any.
        phase: of the stride, 0 to 1; at 0 the left heel meets the ground.
        stride: 1 is an unhurried walk, 0 standing.

    Returns:
        The pose.
    """
    turns = legs(rng, phase, stride)
    arms = dict.fromkeys(SIDES, "swing")
    if rng.random() < 0.4:
        arms[SIDES[rng.integers(2)]] = str(rng.choice(ARMS[1:5], p=[0.25, 0.3, 0.25, 0.2]))
    if carries:
        arms[carries] = "carry"
    for sign, side in zip((1, -1), SIDES, strict=True):
        turns.update(arm(rng, side, sign, arms[side], phase, stride, heavy))
    swing = 0.09 * stride * float(np.cos(2 * np.pi * phase))
    turns["spine03"] = rotation("x", float(rng.uniform(-0.03, 0.09))) @ rotation("y", swing)
    turns["neck01"] = rotation("y", float(rng.normal(0, 0.25))) @ rotation("x", float(rng.uniform(-0.08, 0.2)))
    if "reading" in arms.values():
        turns["neck01"] = rotation("x", 0.35) @ turns["neck01"]
    name = " ".join(("walk" if stride else "stand", *sorted(set(arms.values()) - {"swing"})))
    return Pose(name, turns | _hands(rng, body, start, carries))


def _hands(rng: np.random.Generator, body: Body, start: Matrix, carries: str | None) -> dict[str, Matrix]:
    turns = {}
    for side in SIDES:
        turns.update(hand(body, start, side, float(rng.uniform(0.7, 1.3)) * (1.8 if side == carries else 1)))
    return turns


def _bump(phase: float, centre: float, width: float) -> float:
    """1 at a phase of the stride, 0 away from it, around the circle."""
    away = abs((phase - centre + 0.5) % 1 - 0.5) / width
    return float(np.exp(-away * away))


def legs(rng: np.random.Generator, phase: float, stride: float) -> dict[str, Matrix]:
    """Hips, knees and ankles at a phase of the gait, whose curves are those of unhurried walking; 0: standing."""
    turns = {}
    for sign, side, at in zip((1, -1), SIDES, (phase, (phase + 0.5) % 1), strict=True):
        hip = np.radians(6 + 21 * np.cos(2 * np.pi * at)) * stride
        knee = np.radians(4 + 13 * _bump(at, 0.15, 0.09) + 54 * _bump(at, 0.72, 0.12)) * stride
        ankle = np.radians(14 * _bump(at, 0.63, 0.08) - 7 * _bump(at, 0.42, 0.14)) * stride
        if stride == 0:
            hip, knee = float(rng.uniform(-0.05, 0.12)), float(rng.uniform(0.02, 0.14))
        spread = sign * float(rng.uniform(-0.07, 0.02))
        turns[f"upperleg01.{side}"] = rotation("x", -float(hip)) @ rotation("z", spread)
        turns[f"lowerleg01.{side}"] = rotation("x", float(knee))
        turns[f"foot.{side}"] = rotation("x", float(ankle) + (float(hip) - float(knee) if stride == 0 else 0))
        turns[f"foot.{side}"] = turns[f"foot.{side}"] @ rotation("y", sign * float(rng.uniform(-0.05, 0.25)))
    return turns


def arm(
    rng: np.random.Generator, side: str, sign: int, act: str, phase: float, stride: float, heavy: float
) -> dict[str, Matrix]:
    """One arm, lowered from the rest pose, in which it is held out sideways."""
    at = phase if side == "L" else (phase + 0.5) % 1
    lowered = sign * (float(rng.uniform(0.66, 0.78)) - 0.12 * max(heavy, 0))
    swing = float(np.radians(-20 * np.cos(2 * np.pi * at))) * stride + float(rng.uniform(-0.06, 0.06))
    bend = 0.18 + max(swing, 0) * 0.9 + float(rng.uniform(0, 0.15))
    inward = 0.0
    if act == "phone":
        swing, bend, inward = float(rng.uniform(0.2, 0.5)), float(rng.uniform(2.2, 2.5)), -0.25
    elif act == "reading":
        swing, bend, inward = float(rng.uniform(0.1, 0.4)), float(rng.uniform(1.3, 1.7)), 0.35
    elif act == "pocket":
        swing, bend, inward = -0.25, float(rng.uniform(0.45, 0.6)), 0.1
    elif act == "strap":
        swing, bend, inward = float(rng.uniform(0.1, 0.35)), float(rng.uniform(1.9, 2.15)), 0.15
    elif act == "carry":
        swing, bend = swing * 0.4, float(rng.uniform(0.02, 0.12))
    down = rotation("z", -lowered)
    # The elbow's axis follows the arm that has been lowered: turned in the axes of the posed arm.
    elbow = down.T @ rotation("y", -sign * inward) @ rotation("x", -bend) @ down
    return {f"upperarm01.{side}": rotation("x", -swing) @ down, f"lowerarm01.{side}": elbow}


def hand(body: Body, start: Matrix, side: str, curl: float) -> dict[str, Matrix]:
    """Fingers of a hand at rest, bent towards the palm rather than splayed as in the rest pose."""
    rows = body.skeleton.rows

    def joint(bone: str) -> Matrix:
        return np.asarray(start[rows[f"{bone}.{side}"]])

    wrist = joint("wrist")
    palm = _cross(joint("finger2-1") - wrist, joint("finger5-1") - wrist)
    if palm[1] > 0:  # the palms face down in the rest pose
        palm = -palm
    turns = {}
    spread = {2: 0.10, 3: 0.0, 4: -0.06, 5: -0.14}
    for finger in range(2, 6):
        knuckle, middle, tip = (joint(f"finger{finger}-{k}") for k in (1, 2, 3))
        share = curl * (0.85 + 0.08 * finger)
        first, outer = _cross(middle - knuckle, palm), _cross(tip - middle, palm)
        # The first joint also draws the finger closer to the middle one.
        aside = axis_angle(palm, spread[finger] * (1 if side == "L" else -1))
        turns[f"finger{finger}-1.{side}"] = axis_angle(first, 0.32 * share) @ aside
        turns[f"finger{finger}-2.{side}"] = axis_angle(outer, 0.5 * share)
        turns[f"finger{finger}-3.{side}"] = axis_angle(outer, 0.3 * share)
    turns[f"finger1-2.{side}"] = axis_angle(_cross(joint("finger1-2") - joint("finger1-1"), palm), 0.3 * curl)
    return turns


def _cross(a: Matrix, b: Matrix) -> Matrix:
    """The cross product of two vectors: numpy's takes ten times as long for one."""
    (p, q, r), (x, y, z) = a.tolist(), b.tolist()
    return np.array([q * z - r * y, r * x - p * z, p * y - q * x])


def axis_angle(axis: Matrix, angle: float) -> Matrix:
    """(3, 3) rotation about an axis of any length, by Rodrigues' formula."""
    x, y, z = axis.tolist()
    length = float(np.sqrt(x * x + y * y + z * z))
    x, y, z = x / length, y / length, z / length
    s, c = float(np.sin(angle)), float(np.cos(angle))
    d = 1 - c
    return np.array(
        [
            [c + x * x * d, x * y * d - z * s, x * z * d + y * s],
            [y * x * d + z * s, c + y * y * d, y * z * d - x * s],
            [z * x * d - y * s, z * y * d + x * s, c + z * z * d],
        ]
    )


def still(assets: Assets, name: str) -> dict[str, Matrix]:
    """A still pose of the assets, without its fingers."""
    pose = assets.pose(assets.folder("makehuman", "poses", f"{name}.bvh"))
    pairs = zip(pose["bones"], pose["rotations"], strict=True)
    return {str(bone): np.asarray(turn, np.float64) for bone, turn in pairs if not str(bone).startswith("finger")}
