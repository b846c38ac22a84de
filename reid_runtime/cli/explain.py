"""reid-runtime explain: where a vector, or the similarity of two images, comes from."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from reid_runtime.cli.options import ModelPath, print_terms
from reid_runtime.cli.terminal import examples
from reid_runtime.errors import ImageError, StorageError
from reid_runtime.explain import Array, Explainer, Explanation, PairExplanation
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.text import in_one_line
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import default_model
from reid_runtime.report.document import write_page
from reid_runtime.report.explanation import Figure, image_figure, pair_figure
from reid_runtime.report.explanation_page import explanation_page
from reid_runtime.report.explanation_picture import picture

_PAGES = (".html", ".htm")
_AGAINST = 2
"""How many dimensions that speak against are drawn."""


@click.command(
    "explain",
    epilog=examples(
        "reid-runtime explain examples/crops/person-05/camera-1/view-1.jpg \\\n"
        "    examples/crops/person-05/camera-1/view-2.jpg -o why.png",
    ),
)
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The picture (.png) or page (.html) to write.")
@click.option("--dimensions", type=click.IntRange(1, 20), default=5, show_default=True, help="How many are drawn.")
@click.option("--model", type=ModelPath(), help="An ONNX file, or base, small or tiny; base without this.")
@click.option("--contract", type=click.Path(), help="States the contract of a model that carries none (JSON).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: dimensions and maps as numbers.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def command(
    images: tuple[Path, ...],
    output: Path | None,
    dimensions: int,
    model: Path | None,
    contract: str | None,
    as_json: bool,
    force: bool,
) -> None:
    """Say which dimensions and places a vector, or a similarity, comes from; the parts add up to it.

    One image: its strongest dimensions, a map each. More: the first with each of the others: the dimensions that
    contribute most and those that speak against, over both images, and the total map.

    The model runs on the CPU. Its contract must name the features before pooling, as every export's does.
    """
    if output is not None:
        if output.suffix.lower() not in (".png", *_PAGES):
            raise StorageError(f"{output}: expected a name that ends in .png or .html")
        ensure_writable(output, force)
    file = ModelFile.open(model or default_model(), contract)
    explainer = Explainer(file)
    print_terms(file.path, file.contract)
    names = [str(path) for path in images]
    explanations = [_explained(explainer, path) for path in images]
    first, pairs = explanations[0], [PairExplanation(explanations[0], each) for each in explanations[1:]]
    facts: dict[str, Any] = {"model": file.contract.name, "contract_id": file.contract.contract_id}
    if pairs:
        named = list(zip(pairs, names[1:], strict=True))
        facts["pairs"] = [_pair(pair, names[0], name) for pair, name in named]
        panels = [pair_figure(pair, (names[0], name), dimensions, _AGAINST) for pair, name in named]
    else:
        facts["image"] = _image(first, names[0], dimensions)
        panels = [image_figure(first, names[0], dimensions)]
    if output is not None:
        _write(output, panels, file)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        for figure in panels:
            for line in (figure.title, *(f"  {fact}" for fact in figure.facts)):
                click.echo(in_one_line(line))
        if output is not None:
            click.echo(in_one_line(f"wrote {output}"))


def _explained(explainer: Explainer, path: Path) -> Explanation:
    try:
        return explainer.explain(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _write(output: Path, figures: list[Figure], file: ModelFile) -> None:
    if output.suffix.lower() in _PAGES:
        write_page(output, explanation_page(figures, file.contract.name, file.contract.contract_id))
        return
    try:
        with atomic_write(output) as temporary:
            picture(figures).save(temporary, "PNG", optimize=True)
    except OSError as error:
        raise StorageError(f"{output} could not be written: {error}") from error


def _image(explanation: Explanation, name: str, count: int) -> dict[str, Any]:
    return {
        "id": name,
        "bias": _numbers(explanation.bias),
        "embedding": _numbers(explanation.embedding),
        "strongest": [
            {
                "dimension": each,
                "value": float(explanation.embedding[each]),
                "bias": float(explanation.bias[each]),
                "map": _numbers(explanation.maps[each]),
            }
            for each in explanation.strongest(count)
        ],
    }


def _pair(pair: PairExplanation, a: str, b: str) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "cosine": pair.cosine,
        "dimensions": _numbers(pair.dimensions),
        "map_a": _numbers(pair.total_a),
        "bias_a": pair.bias_a,
        "map_b": _numbers(pair.total_b),
        "bias_b": pair.bias_b,
    }


def _numbers(values: Array) -> Any:
    """Nested lists, eight digits each."""
    return np.vectorize(lambda value: float(f"{value:.8g}"), otypes=[float])(values).tolist()
