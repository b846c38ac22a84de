"""python -m benchmarks.large_piles CROPS: how long `cluster` takes for many crops, and how much memory.

Random people of 20 crops, unit vectors of 256 numbers: strangers are at cosines of 0.00 ± 0.06, crops of one person at
0.65 ± 0.12. One number of crops a process, as its peak of memory is that of all that it has done. Seconds are those of
the processor, which other processes change little.
"""

import json
import resource
import time

import click
import numpy as np
import numpy.typing as npt

from benchmarks.clusters import agreement
from reid_runtime import Embedder
from reid_runtime.cli import run
from reid_runtime.matching.clustering import group
from reid_runtime.matching.linkage import nothing_known
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

_CROPS, _DIMENSION, _OWN = 20, 256, (0.4, 0.95)
"""Crops of a person, numbers of a vector, and the share of the person in a crop, the least and the most."""


def made_pile(count: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """(N, 256) vectors and (N,) whose each is."""
    generator = np.random.default_rng(0)
    people = max(1, count // _CROPS)
    whose = generator.integers(0, people, count)
    own, noise = (
        normalise(generator.standard_normal((size, _DIMENSION), dtype=np.float32), "made") for size in (people, count)
    )
    share = generator.uniform(*_OWN, (count, 1)).astype(np.float32)
    return normalise(np.sqrt(share) * own[whose] + np.sqrt(1 - share) * noise, "made"), whose


@click.command("large-piles")
@click.argument("crops", type=click.IntRange(1))
def main(crops: int) -> None:
    """Group CROPS vectors of random people by the default model's calibration, and print a line of JSON."""
    vectors, whose = made_pile(crops)
    start, begin = time.process_time(), time.perf_counter()
    grouping = group(vectors, np.arange(crops), nothing_known(), Embedder.load().calibration)
    cpu, wall = time.process_time() - start, time.perf_counter() - begin
    groups = np.where(grouping.groups < 0, crops + np.arange(crops), grouping.groups)
    values = {
        "crops": crops, "people": len(np.unique(whose)), "found": grouping.people, "least": grouping.least,
        "most": grouping.most, "f1": round(agreement(groups, whose).f1, 4), "cpu_s": round(cpu, 1),
        "wall_s": round(wall, 1), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip
    click.echo(json.dumps(values))


if __name__ == "__main__":
    run(main)
