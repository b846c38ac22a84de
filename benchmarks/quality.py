"""python -m benchmarks.quality FOLDER VECTORS: what small, blurred and flat crops cost, as FNMR at one threshold.

One query of each of some people is made smaller, blurred or flatter, and compared with the person's crops under other
cameras, as they are: VECTORS of `evaluate --save`. The threshold is that of FMR 1 % in the model's calibration. Further
files of vectors, of crops of many heights, are read by the height of the lower crop, within cameras.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageFilter

from reid_runtime.cli import run
from reid_runtime.cli.options import ModelChoice, load_model
from reid_runtime.evaluation.calibration_samples import samples_of_labels
from reid_runtime.images.decode import load_image
from reid_runtime.images.quality import DEFAULT_POLICY, blur_of
from reid_runtime.images.resize import Pixels
from reid_runtime.jobs import Embeddings, read_embeddings
from reid_runtime.matching import CalibrationError
from reid_runtime.matching.comparisons import Comparisons
from reid_runtime.matching.samples import Side

_FMR = 0.01
_HEIGHTS = (128, 96, 64, 48, 32, 24, 16, 12, 8)
_SIGMAS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
_CONTRASTS = (0.7, 0.5, 0.3, 0.1, 0.05, 0.02)
_CLASSES = ((0, 40), (40, 48), (48, 56), (56, 64), (64, 80), (80, 2**31))


@dataclass(frozen=True)
class Damage:
    """One way to spoil crops, and what it cost."""

    kind: str
    amount: float
    fnmr: float
    fmr: float
    """Of the threshold that has an FMR of 1 % on crops as they are."""
    blur: float
    """The median of `blur_of`."""
    quality: float
    """The median of the policy's."""
    flagged: float
    """The share that gets any reason code."""


def damages() -> Iterator[tuple[str, float, Callable[[Image.Image], Image.Image]]]:
    """Kind, amount, and what does it."""

    def smaller(height: int) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.resize(
            (max(1, round(image.width * height / image.height)), height), Image.Resampling.BICUBIC, reducing_gap=3.0
        )

    def flatter(share: float) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.point(lambda value: round(128 + share * (value - 128)))

    yield from (("height", height, smaller(height)) for height in _HEIGHTS)
    yield from (("blur", sigma, lambda image, s=sigma: image.filter(ImageFilter.GaussianBlur(s))) for sigma in _SIGMAS)
    yield from (("contrast", share, flatter(share)) for share in _CONTRASTS)


def by_height(rows: Embeddings) -> list[dict[str, object]]:
    """FNMR within cameras by the height of the lower crop, at the threshold that has an FMR of 1 % over all heights."""
    samples = samples_of_labels(rows)[0].bounded()
    side = Side.of(samples, samples.cameras)
    tiles = [(camera, camera, True) for camera in np.unique(samples.cameras).tolist()]
    everything = Comparisons(side, side, tiles, samples.count).tally()
    above = np.cumsum(everything.non_mated[::-1])[::-1] / everything.non_mated.sum()
    edge = int(np.argmax(above <= _FMR))
    found: list[dict[str, object]] = []
    for height in _CLASSES:
        tally = Comparisons(side, side, tiles, samples.count, height=height).tally()
        if tally.mated.sum() >= 30 and np.unique(tally.mated_people).size >= 20:
            fnmr, fmr = (
                tally.mated[:edge].sum() / tally.mated.sum(),
                tally.non_mated[edge:].sum() / tally.non_mated.sum(),
            )
            found.append({"height": height, "mated": int(tally.mated.sum()), "fnmr": float(fnmr), "fmr": float(fmr)})
    return found


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("vectors", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--heights", multiple=True, type=click.Path(exists=True, path_type=Path), help="Vectors to read by height."
)
@click.option("--people", type=click.IntRange(20), default=300, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The results as JSON.")
def main(folder: Path, vectors: Path, heights: tuple[Path, ...], people: int, output: Path | None) -> None:
    """Spoil queries of FOLDER, whose VECTORS `evaluate --save` wrote, and print the FNMR and FMR of each damage."""
    rows = read_embeddings(vectors)
    embedder = load_model(ModelChoice(None, None, "cpu"))
    calibration = embedder.calibration
    if calibration is None or rows.identity is None or rows.camera is None or rows.split is None:
        raise CalibrationError(f"expected a model with a calibration, and labelled rows in {vectors}")
    edge = calibration.threshold(_FMR)
    generator = np.random.default_rng(0)
    queries = np.flatnonzero(rows.split == "query")
    chosen = generator.permutation(np.unique(rows.identity[queries]))[:people]
    asked = [int(generator.choice(queries[rows.identity[queries] == person])) for person in chosen]
    images = [Image.fromarray(load_image(folder / rows.id[row])) for row in asked]
    right = (rows.identity[asked][:, None] == rows.identity) & (rows.camera[asked][:, None] != rows.camera)
    wrong = (rows.identity[asked][:, None] != rows.identity) & (rows.identity != "")
    results = []
    for kind, amount, damage in damages():
        crops: list[Pixels] = [np.asarray(damage(image)) for image in images]
        cosines = embedder.embed(crops, "rgb") @ rows.embedding.T
        judged = [DEFAULT_POLICY.judge(crop) for crop in crops]
        result = Damage(
            kind, amount, float((cosines[right] < edge).mean()), float((cosines[wrong] >= edge).mean()),
            float(np.median([blur_of(crop) for crop in crops])),
            float(np.median([quality for quality, _ in judged])), float(np.mean([bool(codes) for _, codes in judged])),
        )  # fmt: skip
        results.append(result)
        click.echo(
            f"{kind:<9} {amount:>6g}  FNMR {100 * result.fnmr:>5.1f} %  FMR {100 * result.fmr:>6.2f} %  "
            f"blur {result.blur:.2f}  quality {result.quality:.2f}  flagged {100 * result.flagged:.0f} %"
        )
    classes = {path.stem: by_height(read_embeddings(path)) for path in heights}
    click.echo(json.dumps(classes, indent=1))
    if output is not None:
        facts = {"model": embedder.contract.name, "threshold": round(edge, 4), "people": len(asked)}
        output.write_text(json.dumps(facts | {"damages": [*map(asdict, results)], "heights": classes}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
