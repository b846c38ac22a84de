"""A small network in the house's form, with all that exports treat in their own ways, and files that hold it."""

import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.gate import read_crops
from export.graph import write_model
from reid_runtime.embedder import Embedder
from reid_runtime.images.resize import LongestSide, resize

from ..models import CONTRACT

SIDE = 60
CENTRED = 0.8
"""How much of the examples' mean is taken away."""
SMALL = dataclasses.replace(
    CONTRACT,
    name="small",
    resize=LongestSide(SIDE),
    dimension=16,
    inner="f+",
    last_layer=("projection.weight", "bias"),
)


def small_model(*, gem=False, loudness=1.0, centre=True):
    """Two convolutions, a max pooling, a residual sum, a depthwise convolution, pooling, a layer, unit length.

    loudness: multiplies what goes into the pooling. gem: the generalised mean with power 3 in place of the maximum.
    centre: a bias that takes the examples' mean away, so that different people have different vectors.
    """
    random = np.random.default_rng(3)
    constants = {
        "mean": np.full((1, 3, 1, 1), 110, np.float32),
        "scale": np.full((1, 3, 1, 1), 1 / 60, np.float32),
        "axes": np.array([2, 3], np.int64),
        "one": np.array([1], np.int64),
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
        "least": np.array(1e-6, np.float32),
        "three": np.array(3, np.float32),
        "third": np.array(1 / 3, np.float32),
        "bias": np.zeros(16, np.float32),
        "first.weight": random.normal(0, 0.25, (12, 3, 3, 3)),
        "second.weight": random.normal(0, 0.12, (12, 12, 3, 3)),
        "second.bias": random.normal(0, 0.1, 12),
        "deep.weight": random.normal(0, 0.5, (12, 1, 3, 3)),
        "wide.weight": random.normal(0, 0.4 * loudness, (32, 12, 1, 1)),
        "projection.weight": random.normal(0, 0.2, (16, 32)),
    }
    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["normal"]),
        helper.make_node("Conv", ["normal", "first.weight"], ["a"], strides=[2, 2], **square),
        helper.make_node("Relu", ["a"], ["a+"]),
        helper.make_node("MaxPool", ["a+"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Conv", ["b", "second.weight", "second.bias"], ["c"], **square),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Relu", ["d"], ["d+"]),
        helper.make_node("Conv", ["d+", "deep.weight"], ["e"], group=12, **square),
        helper.make_node("Clip", ["e", "zero", "six"], ["e+"]),
        helper.make_node("Conv", ["e+", "wide.weight"], ["f"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["f"], ["f+"]),
    ]
    if gem:
        nodes += [
            helper.make_node("Clip", ["f+", "least"], ["positive"]),
            helper.make_node("Pow", ["positive", "three"], ["cubes"]),
            helper.make_node("ReduceMean", ["cubes", "axes"], ["middle"], keepdims=0),
            helper.make_node("Pow", ["middle", "third"], ["pooled"]),
        ]
    else:
        nodes.append(helper.make_node("ReduceMax", ["f+", "axes"], ["pooled"], keepdims=0))
    nodes += [
        helper.make_node("Gemm", ["pooled", "projection.weight", "bias"], ["raw"], transB=1),
        helper.make_node("ReduceL2", ["raw", "one"], ["norm"]),
        helper.make_node("Div", ["raw", "norm"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", 16])],
        [
            numpy_helper.from_array(np.asarray(values, values.dtype if values.dtype == np.int64 else np.float32), name)
            for name, values in constants.items()
            if any(name in node.input for node in nodes)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return centred(model) if centre else model


def outputs(model, name, images):
    """A tensor of the graph by its name, for one batch."""
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([name], {"images": images})[0]


def example_crops():
    """The repository's crops as the small network's contract resizes them: (1, H, W, 3) each."""
    from export.gate import EXAMPLES

    crops = read_crops(EXAMPLES)[1]
    return [resize(crop, SMALL.resize.shape(*crop.shape[:2]))[None] for crop in crops]


def centred(model):
    """The model, in place, with a bias that takes most of the examples' mean away: without it all are much alike, and
    with all of it gone the shortest of what is left would be little else than rounding.
    """
    mean = np.mean([outputs(model, "raw", crop)[0] for crop in example_crops()], axis=0)
    replace_constant(model, "bias", lambda bias: bias - CENTRED * mean)
    return model


def replace_constant(model, name, change):
    """Put `change` of a constant's values in their place."""
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    values = np.asarray(change(numpy_helper.to_array(tensor)))
    tensor.CopyFrom(numpy_helper.from_array(values.astype(numpy_helper.to_array(tensor).dtype), name))


def write_small(path, model=None, contract=SMALL):
    """A file as export writes it: graph, contract and record."""
    write_model(path, small_model() if model is None else model, contract)
    return path


def loaded(path):
    return Embedder.load(path, device="cpu")
