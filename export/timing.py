"""The paired timer: candidates in turn, round after round, so that a drifting machine drifts for all of them."""

import time
from collections.abc import Callable, Mapping

Samples = dict[str, list[float]]
"""Seconds by candidate, sample i of each taken in round i."""


def paired(candidates: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2) -> Samples:
    """Time each candidate once a round, after `warmup` rounds that do not count.

    A candidate returns when its work is done: one that runs on a GPU waits for it. The order turns by one every
    round, so that none always follows the same other.
    """
    names = list(candidates)
    samples: Samples = {name: [] for name in names}
    for number in range(-warmup, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            candidates[name]()
            elapsed = time.perf_counter() - started
            if number >= 0:
                samples[name].append(elapsed)
    return samples
