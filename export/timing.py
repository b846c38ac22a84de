"""The paired timer: candidates in turn, round after round, so that a drifting machine drifts for all of them."""

import random
import time
from collections.abc import Callable, Mapping

Samples = dict[str, list[float]]
"""Seconds by candidate, sample i of each taken in round i."""

_LOOK = 0.01
"""Seconds between two looks at whether this process still works: a few ticks of the clock that counts its work."""
_WORKING = 0.1
"""Work of more than this share of one core is that of an engine's threads."""
_PATIENCE = 0.5
"""Seconds after which a candidate whose threads never rest is no reason to wait."""


def paired(candidates: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2) -> Samples:
    """Time each candidate once a round, after `warmup` rounds that do not count.

    A candidate returns when its work is done: one that runs on a GPU waits for it. The order is drawn anew for every
    round, so that none always follows the same other, and is the same in every run; and none starts before the
    threads of the one before it rest.
    """
    names = list(candidates)
    samples: Samples = {name: [] for name in names}
    draw = random.Random(0)
    for number in range(-warmup, rounds):
        for name in draw.sample(names, len(names)):
            _rest()
            started = time.perf_counter()
            candidates[name]()
            elapsed = time.perf_counter() - started
            if number >= 0:
                samples[name].append(elapsed)
    return samples


def _rest() -> None:
    """Wait while threads of this process spin: engines let theirs wait for more work so, on the next one's cores."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        before = time.process_time()
        time.sleep(_LOOK)
        if time.process_time() - before <= _WORKING * _LOOK:
            return
