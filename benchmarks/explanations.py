"""python -m benchmarks.explanations: do explanations say what matters to a model? And what does one cost?

Deletion: of pairs of one person under two cameras, the tenth of A's area that contributes most is covered with the
image's mean colour, and the similarity to B measured again; beside it other tenths: at random, the same map shifted at
random (as compact as the map's own), another pair's, and the least. Sanity (Adebayo et al., "Sanity checks for saliency
maps", 2018): maps must change with the weights. Where people are rendered, exact masks tell how much lies on them.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import onnx
from matplotlib.figure import Figure
from onnx import numpy_helper
from PIL import Image

from benchmarks.environment import environment
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.evaluation.eval_set import EvalSet, eval_set_of
from reid_runtime.explain import Array, Explainer, PairExplanation
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.scoring.bootstrap import Bootstrap, draw_people
from reid_runtime.scoring.labels import DISTRACTOR
from reid_runtime.scoring.layouts.registry import read_layout

SHARES = (0.1, 0.2, 0.3, 0.5)
DRAWS = 3
"""How often what is random is drawn for a pair."""
LEAST = 32
"""Numbers in a tensor of two axes or more, below which it is left when weights are randomised."""


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs, one a person, and its interval of 95 %."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Bootstrap over pairs."""
        array = np.asarray(values, np.float64)
        means = draw_people(len(array), Bootstrap()) @ array / len(array)
        low, high = np.quantile(means, (0.025, 0.975))
        return cls(float(array.mean()), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def mated_pairs(eval_set: EvalSet, count: int) -> list[tuple[Path, Path]]:
    """A query and a gallery image of the same person under another camera, of so many people, drawn once."""
    random = np.random.default_rng(0)
    pairs: list[tuple[Path, Path]] = []
    query, gallery = eval_set.query, eval_set.gallery
    people = random.permutation(np.unique(query.identities[query.identities != DISTRACTOR]))
    for person in people:
        first = int(random.choice(np.flatnonzero(query.identities == person)))
        others = (gallery.identities == person) & (gallery.cameras != query.cameras[first])
        if others.any() and len(pairs) < count:
            second = int(random.choice(np.flatnonzero(others)))
            pairs.append((query.images[first][0].path, gallery.images[second][0].path))
    return pairs


def covered(pixels: Pixels, places: npt.NDArray[np.bool_]) -> Pixels:
    """The image (H, W, 3) with these places of the feature map (h, w) in its mean colour."""
    rows, columns = (
        np.arange(side) * count // side for side, count in zip(pixels.shape[:2], places.shape, strict=True)
    )
    mean = pixels.reshape(-1, 3).mean(0).round().astype(np.uint8)
    return np.where(places[rows][:, columns, None], mean, pixels)


def largest(values: Array, share: float) -> npt.NDArray[np.bool_]:
    """The places (h, w) of the largest values that make so large a share of the area, at least one."""
    count = max(1, round(share * values.size))
    chosen = np.zeros(values.size, bool)
    chosen[np.argsort(-values, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(values.shape)


def ways_to_cover(total: Array, other: Array, random: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """What to cover first, by name, as values of which the largest are covered."""
    yield "most contributing", total
    yield "least contributing", -total
    fitted = Image.fromarray(other.astype(np.float32)).resize(total.shape[::-1], Image.Resampling.BILINEAR)
    yield "another pair's", np.asarray(fitted, np.float64)
    for _ in range(DRAWS):
        yield "random", random.permutation(total.reshape(-1)).reshape(total.shape)
        yield "shifted", np.roll(total, (random.integers(total.shape[0]), random.integers(total.shape[1])), (0, 1))


def deletion(embedder: Embedder, explained: Sequence[PairExplanation]) -> dict[str, Any]:
    """Similarities that are left, by what was covered and how much."""
    random = np.random.default_rng(1)
    left: dict[tuple[str, float], list[float]] = {}
    similarities = []
    for number, pair in enumerate(explained):
        ways = list(ways_to_cover(pair.total_a, explained[number - 1].total_a, random))
        tried = [
            (name, share, covered(pair.a.pixels, largest(values, share))) for name, values in ways for share in SHARES
        ]
        vectors = embedder.embed([pair.a.pixels, pair.b.pixels, *(pixels for _, _, pixels in tried)], "rgb")
        similarities.append(float(vectors[0] @ vectors[1]))
        left_of: dict[tuple[str, float], list[float]] = {}
        for (name, share, _), vector in zip(tried, vectors[2:], strict=True):
            left_of.setdefault((name, share), []).append(float(vector @ vectors[1]))
        for key, values in left_of.items():
            left.setdefault(key, []).append(float(np.mean(values)))
    names = list(dict.fromkeys(name for name, _ in left))
    most = {share: np.array(left["most contributing", share]) for share in SHARES}
    return {
        "whole": vars(Estimate.of(similarities)),
        "left": {name: {str(share): vars(Estimate.of(left[name, share])) for share in SHARES} for name in names},
        "less than": {
            name: {str(share): vars(Estimate.of(np.array(left[name, share]) - most[share])) for share in SHARES}
            for name in names
            if name != "most contributing"
        },
    }


def randomised(source: Path, target: Path, last_alone: bool) -> Path:
    """The model with normal numbers, of each tensor's deviation, in place of its weights, or of its last layer's."""
    model, random = onnx.load(str(source)), np.random.default_rng(2)
    (*_, last) = (node.input[1] for node in model.graph.node if node.op_type == "Gemm")
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if (
            values.dtype == np.float32
            and values.ndim > 1
            and values.size >= LEAST
            and tensor.name in ((last,) if last_alone else (tensor.name,))
        ):
            drawn = random.normal(0, values.std(), values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
    onnx.save(model, str(target))
    return target


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's, of two maps of one shape."""
    first, second = (np.argsort(np.argsort(values, axis=None)).astype(np.float64) for values in (a, b))
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def sanity(model: Path, pairs: Sequence[tuple[Path, Path]], explained: Sequence[PairExplanation]) -> dict[str, Any]:
    """How alike the maps of true and of randomised weights are."""
    correlations = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, last_alone in (("last layer randomised", True), ("all weights randomised", False)):
            explainer = Explainer(randomised(model, Path(folder) / "random.onnx", last_alone))
            others = [explainer.pair(*pair).total_a for pair in pairs]
            rows = zip(explained, others, strict=True)
            correlations[name] = vars(Estimate.of([rank_correlation(pair.total_a, other) for pair, other in rows]))
    return correlations


def on_the_person(explained: Sequence[PairExplanation], masks: Sequence[Path]) -> dict[str, Any]:
    """The share of what contributes, and of the area, that lies on A's person; each place counts as it is covered."""
    positive, area = [], []
    for pair, path in zip(explained, masks, strict=True):
        mask = Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.float32))
        cells = np.asarray(mask.resize(pair.total_a.shape[::-1], Image.Resampling.BOX), np.float64)
        adds = np.maximum(pair.total_a, 0)
        positive.append(float((adds * cells).sum() / adds.sum()))
        area.append(float(cells.mean()))
    return {"contribution": vars(Estimate.of(positive)), "area": vars(Estimate.of(area))}


def milliseconds(call: Callable[[], Any], rounds: int = 40) -> float:
    """The median of so many calls, after a few."""
    taken = []
    for number in range(rounds + 3):
        begin = time.perf_counter()
        call()
        if number >= 3:
            taken.append(1000 * (time.perf_counter() - begin))
    return float(np.median(taken))


def cost(model: Path, images: Sequence[Path]) -> dict[str, float]:
    """One image at a time, on one thread: a vector, and its explanation."""
    pixels = [load_image(path) for path in images]
    embedder, explainer = Embedder.load(model, threads=1), Explainer(model, threads=1)
    calls = {
        "embedding": lambda: embedder.embed(pixels[:1], "rgb"),
        "explanation": lambda: explainer.explain(pixels[0], "rgb"),
    }
    return {name: milliseconds(call) for name, call in calls.items()}


def summary(facts: dict[str, Any]) -> str:
    """The figures as Markdown."""

    def shown(values: dict[str, float]) -> str:
        return str(Estimate(**values))

    deletion = facts["deletion"]
    lines = [
        f"{facts['pairs']} pairs of {facts['data']}, one a person; model {facts['model']}, contract "
        f"{facts['contract_id']}. Similarity of the whole images: {shown(deletion['whole'])}. Left when a share of A's "
        "area is covered:\n",
        "| covered first | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |",
        "|---|" + "---|" * len(SHARES),
        *(f"| {name} | {' | '.join(map(shown, row.values()))} |" for name, row in deletion["left"].items()),
        "\nSimilarity that the most contributing takes beyond the others, pair by pair:\n",
        "| beyond | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |",
        "|---|" + "---|" * len(SHARES),
        *(f"| {name} | {' | '.join(map(shown, row.values()))} |" for name, row in deletion["less than"].items()),
        "\n| rank correlation of a map with that of | |\n|---|---|",
        *(f"| {name} | {shown(values)} |" for name, values in facts["sanity"].items()),
    ]
    if facts["person"] is not None:
        person = facts["person"]
        lines.append(
            f"\nOf {person['pairs']} pairs of rendered people, {shown(person['contribution'])} of the positive "
            f"contributions lie on the person, who covers {shown(person['area'])} of the area."
        )
    taken = facts["milliseconds"]
    lines.append(
        f"\nOne image on one thread: {taken['embedding']:.1f} ms a vector, {taken['explanation']:.1f} ms an "
        "explanation."
    )
    return "\n".join(lines) + "\n"


def draw_deletion(facts: dict[str, Any], path: Path) -> None:
    """The deletion curves, with their intervals."""
    uncovered = Estimate(**facts["whole"])
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    shares = [0, *(100 * share for share in SHARES)]
    for (name, row), style in zip(facts["left"].items(), ("o-", "s--", "^-.", "D:", "v--"), strict=True):
        estimates = [uncovered, *(Estimate(**values) for values in row.values())]
        (line,) = axes.plot(shares, [each.value for each in estimates], style, label=name, markersize=4)
        ends = [each.low for each in estimates], [each.high for each in estimates]
        axes.fill_between(shares, *ends, color=line.get_color(), alpha=0.12)
    axes.set_xlabel("area covered, %")
    axes.set_ylabel("similarity to the other image")
    axes.legend()
    figure.savefig(path, dpi=120)


@click.command()
@click.argument("model", type=ModelPath())
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--rendered", type=click.Path(exists=True, file_okay=False, path_type=Path), help="People with masks/.")
@click.option("--pairs", "count", type=click.IntRange(10), default=200, show_default=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
def main(model: Path, data: Path, rendered: Path | None, count: int, output: Path) -> None:
    """Measure explanations of MODEL on pairs of a labelled folder; write explain.json, explain.md and deletion.png."""
    embedder, explainer = Embedder.load(model), Explainer(model)
    pairs = mated_pairs(eval_set_of(read_layout(data)[1]), count)
    explained = [explainer.pair(*pair) for pair in pairs]
    person = None
    if rendered is not None:
        others = mated_pairs(eval_set_of(read_layout(rendered)[1]), count)
        masks = [rendered / "masks" / path.relative_to(rendered).with_suffix(".png") for path, _ in others]
        person = on_the_person([explainer.pair(*pair) for pair in others], masks) | {"pairs": len(others)}
    alike = {"another pair": vars(Estimate.of([_with_next(explained, row) for row in range(len(explained))]))}
    facts: dict[str, Any] = {
        "environment": environment(),
        "model": embedder.contract.name,
        "contract_id": embedder.contract.contract_id,
        "data": data.name,
        "pairs": len(pairs),
        "deletion": deletion(embedder, explained),
        "sanity": sanity(model, pairs, explained) | alike,
        "person": person,
        "milliseconds": cost(model, pairs[0]),
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "explain.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (output / "explain.md").write_text(summary(facts), encoding="utf-8")
    draw_deletion(facts["deletion"], output / "deletion.png")
    click.echo(summary(facts))


def _with_next(explained: Sequence[PairExplanation], row: int) -> float:
    """How alike the maps of two pairs are, the second brought to the first's shape."""
    total, other = explained[row].total_a, explained[row - 1].total_a
    fitted = Image.fromarray(other.astype(np.float32)).resize(total.shape[::-1], Image.Resampling.BILINEAR)
    return rank_correlation(total, np.asarray(fitted, np.float64))


if __name__ == "__main__":
    run(main)
