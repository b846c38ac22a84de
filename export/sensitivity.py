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

_WATCHED = 48
"""So many images, those that lose most with all layers in integers, are watched from the first."""


@dataclass(frozen=True)
class LayerCost:
    """What quantising some layers costs, over the images that are watched."""

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

    `images` are resized crops that the ranges were not measured on, and such as they clip; `advance` is called once a
    layer. Raises CalibrationError where the graph has nothing to quantise, or no choice keeps the cosine.
    """
    layers = GraphIndex(model).layers(scheme)
    if not any(layer.operator != "Add" for layer in layers):
        raise CalibrationError(f"the graph has no {' or '.join(sorted(scheme.operators))} with weights to quantise")
    expected = vectors_of(model, images)

    def cosines(chosen: Sequence[Layer], rows: Sequence[int]) -> npt.NDArray[np.float64]:
        vectors = vectors_of(quantise(model, scheme, activations, percentile, chosen), [images[row] for row in rows])
        kept: npt.NDArray[np.float64] = (expected[rows].astype(np.float64) * vectors).sum(axis=1)
        return kept

    everyone = range(len(images))
    now = cosines(layers, everyone)
    # Each layer alone on each image is most of the work: those that lose most stand for the rest, who join if need be.
    watched = [int(row) for row in np.argsort(now)[:_WATCHED]]
    one_by_one, alone = {}, []
    for layer in layers:
        one_by_one[layer.key] = cosines([layer], watched)
        alone.append(_cost(one_by_one[layer.key], layer.name, layer.operator))
        advance()
    together, left = [_cost(now[watched], "", "all")], list(layers)
    while not now.min() >= cosine:
        worst = int(now[watched].argmin())
        if now[watched[worst]] >= cosine:
            joining = [int(row) for row in np.flatnonzero(now < cosine)]
            for layer in left:
                one_by_one[layer.key] = np.concatenate([one_by_one[layer.key], cosines([layer], joining)])
            watched += joining
            worst = int(now[watched].argmin())
        # What costs the mean most need not cost the worst image anything: by the mean, an OSNet went to float whole.
        costliest = min(left, key=lambda layer: one_by_one[layer.key][worst])
        left.remove(costliest)
        if not left:
            raise CalibrationError(
                f"no layer can be quantised within a worst cosine of {cosine}; the last, {costliest.name}, alone is at "
                f"{together[-1].worst_cosine:.5f}: calibrate on more crops, or with another --percentile"
            )
        now[watched] = cosines(left, watched)
        if now[watched].min() >= cosine:
            now = cosines(left, everyone)
        together.append(_cost(now[watched], costliest.name, costliest.operator))
    return Choice(tuple(left), tuple(alone), tuple(together))


def _cost(cosines: npt.NDArray[np.float64], name: str, operator: str) -> LayerCost:
    return LayerCost(name, operator, float(cosines.min()), float(cosines.mean()))


def report_paths(output: Path) -> tuple[Path, Path]:
    """Beside the artefact: `model.sensitivity.md` for people, `model.sensitivity.json` for programs."""
    return output.with_suffix(".sensitivity.md"), output.with_suffix(".sensitivity.json")


@contextmanager
def reports(
    output: Path, choice: Choice, sample: Sample, percentile: float, held_out: int, clipped: int
) -> Iterator[None]:
    """What was drawn, measured and chosen, at the `report_paths`, if what is done within the block ends well."""
    markdown, plain = report_paths(output)
    facts = {
        "artefact": output.name,
        "calibration": {
            "folder": sample.folder,
            "crops": len(sample.names) - held_out,
            "held_back": held_out,
            "views_of_each": VIEWS,
            "clipped": clipped,
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
        temporary_page.write_text(_text(output, choice, sample, held_out, clipped), encoding="utf-8")
        yield


def _text(output: Path, choice: Choice, sample: Sample, held_out: int, clipped: int) -> str:
    lines = [
        f"# Sensitivity of {output.name}",
        "",
        f"{sample}; the draw's names have the digest {sample.digest}. {held_out} of them were held back from the "
        "ranges. Every cosine here is between the float32 parent's vectors and those of the quantised graph on these, "
        f"each as it is and in {VIEWS - 1} views as another camera might have it: in another part, light and "
        f"resolution; and on the {clipped} of the others that leave the range of a tensor furthest. The tables are of "
        f"the {_WATCHED} of these images that lose most with all layers in integers, and of such as joined them.",
        "",
        "## All layers in integers, then back to float, one by one, what costs the worst image most",
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
