"""python -m benchmarks.scoring: how long scores and re-ranking take, and how much memory, on planted vectors.

Each case runs in a process of its own, whose peak memory is therefore the case's. Scoring is timed in turn with
the bare product of the two matrices, in the same blocks: the floor under everything that ranks by dot products.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.measurements import Found, Row, hand_over, output_option
from benchmarks.timing import paired, percentile
from reid_runtime.cli import run
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.scoring.labels import Integers, Labels
from reid_runtime.scoring.ranking import BLOCK_BYTES, score
from reid_runtime.scoring.reranking import score_reranked
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

MARKET = (3_368, 15_913)
"""Queries and gallery of Market-1501, the junk left out."""
PEOPLE, CAMERAS, DIMENSION = 750, 6, 512
_MIB = 2**20


class CaseError(ReidRuntimeError):
    """A case's process ended without a result."""


@dataclass(frozen=True)
class Planted:
    """Queries and a gallery in which right answers are nearer than others, some by much and some not at all."""

    query_vectors: Vectors
    query: Labels
    gallery_vectors: Vectors
    gallery: Labels


@dataclass(frozen=True)
class Case:
    """Something to measure, and what it is expected to keep to."""

    queries: int
    gallery: int
    work: Callable[[Planted], float]
    """Gives the mAP, so that nobody measures an empty run."""
    floor: bool
    """Whether it is timed in turn with the bare product."""
    rounds: int
    seconds: float | None = None
    mebibytes: int | None = None


def _score(planted: Planted) -> float:
    scores = score(planted.query_vectors, planted.query, planted.gallery_vectors, planted.gallery)
    return scores.summary().map_finite_sum


def _rerank(planted: Planted) -> float:
    scores = score_reranked(planted.query_vectors, planted.query, planted.gallery_vectors, planted.gallery)
    return scores.summary().map_finite_sum


CASES = {
    "score": Case(*MARKET, _score, floor=True, rounds=10, seconds=2),
    "re-rank": Case(*MARKET, _rerank, floor=False, rounds=1, seconds=60, mebibytes=3 * 1024),
    "score, gallery of 100,000": Case(MARKET[0], 100_000, _score, floor=True, rounds=3),
}


def plant(queries: int, gallery: int, dimension: int = DIMENSION, seed: int = 0) -> Planted:
    """(queries, D) and (gallery, D) unit vectors of PEOPLE people; a sixth of the gallery are distractors."""
    random = np.random.default_rng(seed)
    centres = normalise(random.standard_normal((PEOPLE + 1, dimension), dtype=np.float32), "planted")

    def draw(identities: Integers) -> Vectors:
        # Noise of another strength for each item, so that some right answers rank thousands of places down.
        strength = random.uniform(0.5, 4, (identities.size, 1)).astype(np.float32) / np.float32(dimension**0.5)
        vectors = random.standard_normal((identities.size, dimension), dtype=np.float32)
        vectors *= strength
        vectors += centres[identities]
        return normalise(vectors, "planted")

    asked = random.integers(1, PEOPLE + 1, queries)
    found = np.where(random.random(gallery) < 1 / 6, 0, random.integers(1, PEOPLE + 1, gallery))
    cameras = random.integers(1, CAMERAS + 1, queries), random.integers(1, CAMERAS + 1, gallery)
    return Planted(draw(asked), Labels(asked, cameras[0]), draw(found), Labels(found, cameras[1]))


def product(planted: Planted) -> None:
    """Every dot product once, in blocks as large as the scorer's."""
    step = max(1, BLOCK_BYTES // (4 * len(planted.gallery_vectors)))
    for start in range(0, len(planted.query_vectors), step):
        planted.query_vectors[start : start + step] @ planted.gallery_vectors.T


def measure(name: str, rounds: int, share: float) -> list[Row]:
    """The rows of one case, in this process, whose memory must not have been used for anything else."""
    case = CASES[name]
    queries, gallery = max(10, round(share * case.queries)), max(50, round(share * case.gallery))
    planted = plant(queries, gallery)
    before = _peak()
    found: list[float] = []
    calls: dict[str, Callable[[], object]] = {name: lambda: found.append(case.work(planted))}
    if case.floor:
        calls[f"product alone ({name})"] = lambda: product(planted)
    samples = paired(calls, rounds, warmup=1 if case.floor else 0)
    setting = {"queries": queries, "gallery": gallery, "dimension": DIMENSION}
    facts = {"map_finite_sum": found[-1], "peak_bytes": float(_peak()), "planted_bytes": float(before)}
    return [
        Row(call, setting, tuple(seconds), queries, facts if call == name else {}) for call, seconds in samples.items()
    ]


def _peak() -> int:
    """The largest resident memory of this process so far, in bytes."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def measure_apart(name: str, rounds: int, share: float) -> list[Row]:
    """The rows of one case, from a process of its own."""
    words = [
        sys.executable,
        "-m",
        "benchmarks.scoring",
        "--child",
        name,
        "--rounds",
        str(rounds),
        "--share",
        str(share),
    ]
    done = subprocess.run(words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CaseError(f"the process of {name!r} ended with {done.returncode}; see what it said above")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return [Row(**(row | {"seconds": tuple(row["seconds"])})) for row in rows]


def as_table(rows: list[Row]) -> str:
    """The rows for people, with what is aimed for."""
    lines = [f"{'case':<44}{'queries':>8}{'gallery':>9}{'median s':>10}{'worst s':>9}{'peak MiB':>10}{'aim':>18}"]
    for row in rows:
        case = CASES.get(row.case)
        peak = f"{row.facts['peak_bytes'] / _MIB:,.0f}" if "peak_bytes" in row.facts else ""
        lines.append(
            f"{row.case:<44}{row.setting['queries']:>8,}{row.setting['gallery']:>9,}"
            f"{percentile(row.seconds, 0.5):>10.2f}{max(row.seconds):>9.2f}{peak:>10}{_aim(case):>18}"
        )
    return "\n".join(lines)


def _aim(case: Case | None) -> str:
    if case is None:
        return ""
    aims = [f"{case.seconds:g} s"] if case.seconds else []
    return ", ".join([*aims, *([f"{case.mebibytes:,} MiB"] if case.mebibytes else [])])


@click.command()
@click.option("--case", "names", type=click.Choice(list(CASES)), multiple=True, help="Only this; may be repeated.")
@click.option("--rounds", type=click.IntRange(1), help="Samples of each case; each has its own number without this.")
@click.option("--share", default=1.0, show_default=True, help="The part of the full size, for a trial.")
@output_option
@click.option("--child", type=click.Choice(list(CASES)), hidden=True)
def main(names: tuple[str, ...], rounds: int | None, share: float, output: Path | None, child: str | None) -> None:
    """Time the scorer and the re-ranking on planted vectors as many as Market-1501 has, and measure their memory."""
    if child is not None:
        click.echo(json.dumps([asdict(row) for row in measure(child, rounds or CASES[child].rounds, share)]))
        return
    rows: list[Row] = []
    for name in names or CASES:
        rows += measure_apart(name, rounds or CASES[name].rounds, share)
    hand_over("scoring", Found(rows), as_table(rows), output)


if __name__ == "__main__":
    run(main)
