"""python -m export.to_deepstream: a model for NVIDIA DeepStream, as Gst-nvinfer and the tracker NvDCF take it.

Both stretch every box to one size, and feed planes of y = net-scale-factor * (x - offset) (Gst-nvinfer's manual). So
this is the model with a fixed size and float planes for its input; scale and offsets are 1 and 0, for normalisation
stays in the graph, where each channel has its own. Stretching is another resize than most of our models have: the
contract says so, and its vectors are of another space than the parent's. What that costs is measured and printed.

Nothing here has run in DeepStream or on a GPU: the arithmetic of the files that are written is repeated in numpy.
"""

import configparser
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from PIL import Image

from export.derive import ExportError, Parent, seal
from export.gate import EXAMPLES, read_eval_inputs
from export.graph import write_graph
from export.parity import require_within
from reid_runtime.agreement import TOLERANCES, Agreement, compare
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.errors import OptionsError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import FixedSize, Pixels, resized
from reid_runtime.inference import infer
from reid_runtime.io.atomic import atomic_write, ensure_writable

MODEL, INFER, TRACKER = "model.onnx", "config_infer_reid.txt", "config_tracker_reid.yml"
_UNTRIED = "Written by reid-runtime. Its arithmetic was checked in numpy; it has not run in DeepStream or on a GPU."


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is."""

    parity: Agreement
    """Its vectors from DeepStream's planes beside the parent's, on crops that are stretched alike."""
    stretched: Agreement
    """Its vectors beside those that the parent gives with its own resize rule."""


@dataclass(frozen=True)
class Preprocessing:
    """What a file tells DeepStream to do with a crop."""

    scale: float
    offsets: tuple[float, ...]
    size: tuple[int, int]
    colour: int
    """0 is RGB, 1 is BGR."""

    def planes(self, crops: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """(N, 3, H, W) of RGB crops that have the size already."""
        assert all(crop.shape == (*self.size, 3) for crop in crops)
        batch = np.stack([crop[..., ::-1] if self.colour == 1 else crop for crop in crops]).transpose(0, 3, 1, 2)
        offsets = np.asarray(self.offsets, np.float32).reshape(3, 1, 1)
        return np.ascontiguousarray(np.float32(self.scale) * (batch.astype(np.float32) - offsets))


def read_infer_config(text: str) -> Preprocessing:
    """What Gst-nvinfer's file says."""
    file = configparser.ConfigParser()
    file.read_string(text)
    values = file["property"]
    channels, height, width = map(int, values["infer-dims"].split(";"))
    assert channels == 3
    offsets = tuple(map(float, values["offsets"].split(";")))
    return Preprocessing(float(values["net-scale-factor"]), offsets, (height, width), int(values["model-color-format"]))


def read_tracker_config(text: str) -> Preprocessing:
    """What the section ReID of NvDCF's file says."""
    values = {key: json.loads(value) for key, value in re.findall(r"^  (\w+): ([^#\n]+?)\s*(?:#.*)?$", text, re.M)}
    _, height, width = values["inferDims"]
    return Preprocessing(values["netScaleFactor"], tuple(values["offsets"]), (height, width), values["colorFormat"])


def float_graph(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """The graph, in place, with float planes (N, 3, H, W) of 0 to 255 for its input."""
    graph = model.graph
    casts = [node for node in graph.node if graph.input[0].name in node.input]
    if len(casts) != 1 or casts[0].op_type != "Cast" or casts[0].attribute[0].i != TensorProto.FLOAT:
        raise ExportError(f"expected one cast of {graph.input[0].name} to float32 at the graph's beginning: export it")
    name = graph.input[0].name
    casts[0].CopyFrom(helper.make_node("Transpose", [name], [casts[0].output[0]], "planes_last", perm=[0, 2, 3, 1]))
    planes = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, *size])
    graph.input[0].CopyFrom(planes)
    del graph.value_info[:]
    return model


def stretch(crop: Pixels, size: tuple[int, int]) -> Pixels:
    """Bilinear with two pixels a side, as scalers in hardware do; Pillow's averages all that it drops."""
    image = Image.fromarray(crop)
    return np.asarray(
        image.transform((size[1], size[0]), Image.Transform.EXTENT, (0, 0, *image.size), Image.Resampling.BILINEAR)
    )


def export_deepstream(parent: Parent, folder: Path, size: tuple[int, int], batch: int, class_id: int) -> Exported:
    """Write the model and both files into a folder.

    Args:
        parent: The float32 model.
        folder: Is there already.
        size: Height and width.
        batch: The largest batch.
        class_id: Of people, in the detector before it.

    Returns:
        What the gate measured.

    Raises:
        ParityError: Where the vectors are not the parent's on crops that are stretched alike; then nothing is written.
        ExportError: For a graph that does not begin with a cast.
    """
    reference = parent.reference.embedder
    rule = FixedSize(*size)
    contract = replace(
        reference.contract, name=f"{reference.contract.name}-deepstream", resize=rule, parent=reference.artefact_id,
        scores=(), input=InputFormat("NCHW", "float32"),
        graph=f"{reference.contract.graph}; float planes of {size[0]}x{size[1]}",
    )  # fmt: skip
    model = float_graph(parent.model, size)
    output = model.graph.output[0].name
    files = {
        INFER: _infer_config(size, batch, class_id, output),
        TRACKER: _tracker_config(size, batch, contract.dimension),
    }
    crops = parent.inputs.crops
    alike = [stretch(crop, size) for crop in crops]
    expected = infer(reference.backend, reference.contract, alike)
    with atomic_write(folder / MODEL) as temporary:
        candidate = write_graph(temporary, model, contract)
        for read, name in ((read_infer_config, INFER), (read_tracker_config, TRACKER)):
            actual = np.concatenate([candidate.backend.run(read(files[name]).planes([crop])) for crop in alike])
            parity = compare(expected, actual)
            require_within(TOLERANCES["float32"].crops, parity, f"through {name}")
        own = infer(reference.backend, reference.contract, [resized(crop, reference.contract.resize) for crop in crops])
        seal(temporary, contract, candidate)
    for name, text in files.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return Exported(parity, compare(own, actual))


def _infer_config(size: tuple[int, int], batch: int, class_id: int, output: str) -> str:
    """https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html"""
    return f"""# {_UNTRIED}
# A secondary Gst-nvinfer behind a detector of people: the vector of each is in its NvDsInferTensorMeta.
[property]
onnx-file={MODEL}
infer-dims=3;{size[0]};{size[1]}
batch-size={batch}
# float32; 2 is float16, which was not judged
network-mode=0
# y = net-scale-factor * (x - offset): the graph normalises by itself
net-scale-factor=1.0
offsets=0.0;0.0;0.0
# RGB
model-color-format=0
# boxes are stretched, as the model's contract says, and never padded
maintain-aspect-ratio=0
symmetric-padding=0
# bilinear
scaling-filter=1
# on objects, as a network of any kind whose output is handed on
process-mode=2
network-type=100
output-tensor-meta=1
output-blob-names={output}
operate-on-gie-id=1
operate-on-class-ids={class_id}
gie-unique-id=2
gpu-id=0
"""


def _tracker_config(size: tuple[int, int], batch: int, dimension: int) -> str:
    """https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvtracker.html"""
    return f"""# {_UNTRIED}
# Put this in place of the section ReID of DeepStream's config_tracker_NvDCF_accuracy.yml. Releases before 9.2 may take
# onnxFile for relative to the working directory: write its whole path there.
ReID:
  reidType: 2                  # re-association of lost tracks; 3 also uses it between frames
  batchSize: {batch}
  workspaceSize: 1000
  reidFeatureSize: {dimension}
  reidHistorySize: 100
  inferDims: [3, {size[0]}, {size[1]}]
  networkMode: 0               # float32; 1 is float16, which was not judged
  inputOrder: 0                # planes
  colorFormat: 0               # RGB
  offsets: [0.0, 0.0, 0.0]     # the graph normalises by itself
  netScaleFactor: 1.0
  keepAspc: 0                  # stretched, never padded
  addFeatureNormalization: 0   # the vectors have unit length
  outputReidTensor: 1
  onnxFile: "{MODEL}"
"""


class _Size(click.ParamType[tuple[int, int]]):
    name = "HEIGHTxWIDTH"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch("([1-9][0-9]{1,3})x([1-9][0-9]{1,3})", value)
        if match is None:
            self.fail(f"expected HEIGHTxWIDTH, such as 256x128, found {value!r}", param, ctx)
        return int(match[1]), int(match[2])


@click.command()
@click.argument("model", type=ModelPath())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FOLDER")
@click.option("--size", type=_Size(), default="256x128", show_default=True, help="To which boxes are stretched.")
@click.option("--batch", type=click.IntRange(1, 1024), default=32, show_default=True)
@click.option(
    "--class-id", type=click.IntRange(min=0), default=0, show_default=True, help="Of people, in the detector."
)
@click.option(
    "--crops", type=click.Path(exists=True, file_okay=False, path_type=Path), default=EXAMPLES, show_default=True
)
@click.option("--force", is_flag=True, help="Overwrite the files.")
def main(model: Path, output: Path, size: tuple[int, int], batch: int, class_id: int, crops: Path, force: bool) -> None:
    """Write MODEL for DeepStream into FOLDER: a float ONNX file, Gst-nvinfer's file and NvDCF's.

    MODEL is base, small or tiny, or a float32 ONNX file of ours. Nothing is written unless the vectors are its own on
    crops that are stretched alike, through the planes that the files describe.
    """
    if output.is_file():
        raise OptionsError(f"{output} is a file; expected a folder")
    parent = Parent.read(model, read_eval_inputs(crops))
    output.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, INFER, TRACKER):
        ensure_writable(output / name, force)
    done = export_deepstream(parent, output, size, batch, class_id)
    click.echo(f"wrote {output}: {MODEL}, {INFER}, {TRACKER}; not run in DeepStream or on a GPU")
    click.echo(f"parity through DeepStream's arithmetic: worst cosine {done.parity.worst_cosine:.6f}")
    click.echo(
        f"stretched in place of {parent.reference.embedder.contract.resize}: worst cosine "
        f"{done.stretched.worst_cosine:.3f}, rank agreement {100 * done.stretched.rank_agreement:.0f} %: embed the "
        "gallery with this file too"
    )


if __name__ == "__main__":
    run(main)
