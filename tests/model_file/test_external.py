"""A model is what runs: an ONNX file whose weights lie outside it is refused, wherever in it the tensor lies."""

import numpy as np
import pytest

from reid_runtime.errors import BackendError
from reid_runtime.model_file.file import ModelFile, carried_contract
from reid_runtime.model_file.packaged import default_model

from ..models import write_model

onnx = pytest.importorskip("onnx")


def outside(tensor, location="w.data"):
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def a_tensor():
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "w")
    outside(tensor)
    return tensor


def subgraph():
    return onnx.helper.make_graph([], "inner", [], [], [a_tensor()])


def sparse():
    values = onnx.SparseTensorProto(dims=[9])
    values.values.CopyFrom(a_tensor())
    return values


def constant(model):
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=a_tensor()))


def branch(model):
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("If", ["c"], ["y"], then_branch=subgraph(), else_branch=subgraph())], "outer", [], []
    )
    model.graph.node.append(onnx.helper.make_node("Loop", ["n"], ["z"], body=inner))


def function(model):
    node = onnx.helper.make_node("Constant", [], ["c"], value=a_tensor())
    model.functions.append(onnx.helper.make_function("own", "f", [], ["c"], [node], []))


PLACES = {
    "initializer": lambda model: outside(model.graph.initializer[2]),
    "sparse initializer": lambda model: model.graph.sparse_initializer.append(sparse()),
    "constant": constant,
    "list of tensors": lambda model: model.graph.node.append(onnx.helper.make_node("A", [], ["c"], v=[a_tensor()])),
    "list of graphs": lambda model: model.graph.node.append(onnx.helper.make_node("A", [], ["c"], v=[subgraph()])),
    "subgraph of a subgraph": branch,
    "function": function,
    "training": lambda model: model.training_info.append(onnx.TrainingInfoProto(algorithm=subgraph())),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verb", ["describe", "verify"])
def test_external_tensors_are_refused(place, verb, tiny_model, command, tmp_path):
    model = onnx.load(tiny_model)
    PLACES[place](model)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BackendError, match=r"keeps weights in another file, .*: make it one file, python -c"):
        ModelFile.open(path)
    run = command(verb, path)
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "weights in another file" in run.err


def test_the_command_that_it_names_makes_one_file(tmp_path):
    model = onnx.load(write_model(tmp_path / "m.onnx", None))
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="w", size_threshold=0)
    with pytest.raises(BackendError, match="another file"):
        carried_contract(tmp_path / "two.onnx")
    onnx.save(onnx.load(tmp_path / "two.onnx"), tmp_path / "one.onnx")
    assert carried_contract(tmp_path / "one.onnx") is None


def test_one_file_is_taken(tiny_model):
    model = onnx.load(tiny_model)
    model.graph.initializer[0].data_location = onnx.TensorProto.DEFAULT
    assert ModelFile.open(tiny_model).contract.name == "tiny"
    assert ModelFile.open(default_model()).contract.dimension == 256
