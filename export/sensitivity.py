"""Which layers run in integers: each is tried alone, then go back to float, for the image that has lost most, those
that cost it most, until every image keeps enough.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from export.calibration import VIEWS, Activations, CalibrationError, Sample, vectors_of
from export.quantise import GraphIndex, Layer, Scheme, quantise
from reid_runtime.images.resize import Pixels
from reid_runtime.io.atomic import atomic_write


@dataclass(frozen=True)
class LayerCost:
    """What quantising some layers costs, over the views of the crops that were held back."""

    layer: str
    operator: str
    worst_cosine: float
    mean_cosine: float


@dataclass(frozen=True)
class Choice:
    """What runs in integers, and what was measured on the way to it."""

    layers: tuple[Layer, ...]
    alone: tuple[LayerCost, ...]
    """Each layer the only one that is quantised, in the graph's order."""
    together: tuple[LayerCost, ...]
    """All layers quantised, then without the named layer, which goes to float too, and so on."""

    @property
    def floats(self) -> tuple[str, ...]:
        """The layers that stay in float."""
        return tuple(step.layer for step in self.together[1:])


def choose(
    model: onnx.ModelProto,
    scheme: Scheme,
    activations: Activations,
    percentile: float,
    images: Sequence[Pixels],
    cosine: float,
    advance: Callable[[], None] = lambda: None,
) -> Choice:
    """The most layers, of those that the scheme can take, with which every image's vector keeps `cosine`.

    `images` are resized crops that the ranges were not measured on; `advance` is called once a layer. Raises
    CalibrationError where the graph has nothing to quantise, or no choice keeps the cosine.
    """
    layers = GraphIndex(model).layers(scheme)
    if not any(layer.operator != "Add" for layer in layers):
        raise CalibrationError(f"the graph has no {' or '.join(sorted(scheme.operators))} with weights to quantise")
    expected = vectors_of(model, images)

    def cosines(chosen: Sequence[Layer]) -> npt.NDArray[np.float64]:
        graph = quantise(model, scheme, activations, percentile, chosen)
        kept: npt.NDArray[np.float64] = (expected.astype(np.float64) * vectors_of(graph, images)).sum(axis=1)
        return kept

    one_by_one, alone = {}, []
    for layer in layers:
        one_by_one[layer.key] = cosines([layer])
        alone.append(_cost(one_by_one[layer.key], layer.name, layer.operator))
        advance()
    now = cosines(layers)
    together, left = [_cost(now, "", "all")], list(layers)
    while not now.min() >= cosine:
        # What costs the mean most need not cost the worst image anything: by the mean, an OSNet went to float whole.
        worst = now.argmin()
        costliest = min(left, key=lambda layer: one_by_one[layer.key][worst])
        left.remove(costliest)
        if not left:
            raise CalibrationError(
                f"no layer can be quantised within a worst cosine of {cosine}; the last, {costliest.name}, alone is at "
                f"{together[-1].worst_cosine:.5f}: calibrate on more crops, or with another --percentile"
            )
        now = cosines(left)
        together.append(_cost(now, costliest.name, costliest.operator))
    return Choice(tuple(left), tuple(alone), tuple(together))


def _cost(cosines: npt.NDArray[np.float64], name: str, operator: str) -> LayerCost:
    return LayerCost(name, operator, float(cosines.min()), float(cosines.mean()))


def report_paths(output: Path) -> tuple[Path, Path]:
    """Beside the artefact: `model.sensitivity.md` for people, `model.sensitivity.json` for programs."""
    return output.with_suffix(".sensitivity.md"), output.with_suffix(".sensitivity.json")


@contextmanager
def reports(output: Path, choice: Choice, sample: Sample, percentile: float, held_out: int) -> Iterator[None]:
    """What was drawn, measured and chosen, at the `report_paths`, if what is done within the block ends well."""
    markdown, plain = report_paths(output)
    facts = {
        "artefact": output.name,
        "calibration": {
            "folder": sample.folder,
            "crops": len(sample.names) - held_out,
            "held_back": held_out,
            "views_of_each": VIEWS,
            "seed": sample.seed,
            "percentile": percentile,
            "names_digest": sample.digest,
            "names": sample.names,
        },
        "float_layers": choice.floats,
        "alone": [asdict(one) for one in choice.alone],
        "together": [asdict(one) for one in choice.together],
    }
    with atomic_write(plain) as temporary_json, atomic_write(markdown) as temporary_page:
        temporary_json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        temporary_page.write_text(_text(output, choice, sample, held_out), encoding="utf-8")
        yield


def _text(output: Path, choice: Choice, sample: Sample, held_out: int) -> str:
    lines = [
        f"# Sensitivity of {output.name}",
        "",
        f"{sample}; the draw's names have the digest {sample.digest}. {held_out} of them were held back from the "
        "ranges. Every cosine here is between the float32 parent's vectors and those of the quantised graph on these, "
        f"each as it is and in {VIEWS - 1} views as another camera might have it: in another part, light and "
        "resolution.",
        "",
        "## All layers in integers, then back to float, one by one, what costs the worst view most",
        "",
        "| to float | worst cosine | mean cosine |",
        "|---|---|---|",
        *(f"| {one.layer or 'none'} | {one.worst_cosine:.5f} | {one.mean_cosine:.5f} |" for one in choice.together),
        "",
        "## Each layer alone in integers, the costliest first",
        "",
        "| layer | operator | worst cosine | mean cosine | runs in |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(choice.alone, key=lambda one: one.mean_cosine):
        runs_in = "float32" if one.layer in choice.floats else "int8"
        lines.append(f"| {one.layer} | {one.operator} | {one.worst_cosine:.5f} | {one.mean_cosine:.5f} | {runs_in} |")
    return "\n".join(lines) + "\n"
