"""A model for DeepStream: its files' arithmetic gives the uint8 model's vectors, and files that lie are found out."""

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from export import to_deepstream
from export.derive import Parent
from export.parity import ParityError
from export.to_deepstream import INFER, MODEL, TRACKER, export_deepstream, main, read_infer_config, read_tracker_config
from reid_runtime import Embedder, cli
from reid_runtime.images.resize import FixedSize


@pytest.fixture(scope="module")
def small(parent, inputs):
    return Parent.read(parent, inputs)


def test_both_files_say_the_same_and_the_model_takes_it(small, tmp_path):
    done = export_deepstream(small, tmp_path, (192, 96), 16, 2)
    assert done.parity.worst_cosine > 0.999999
    assert done.stretched.worst_cosine < 0.9999
    texts = {name: (tmp_path / name).read_text() for name in (INFER, TRACKER)}
    infer, tracker = read_infer_config(texts[INFER]), read_tracker_config(texts[TRACKER])
    assert infer == tracker
    assert infer.size == (192, 96)
    assert "operate-on-class-ids=2\n" in texts[INFER]
    assert "batchSize: 16\n" in texts[TRACKER]
    assert f"reidFeatureSize: {small.reference.embedder.dimension}\n" in texts[TRACKER]
    assert all("has not run in DeepStream" in text for text in texts.values())
    assert all(text.count(MODEL) == 1 for text in texts.values())
    (taken,) = onnx.load(str(tmp_path / MODEL), load_external_data=False).graph.input
    assert [axis.dim_param or axis.dim_value for axis in taken.type.tensor_type.shape.dim] == ["batch", 3, 192, 96]


def test_its_vectors_are_of_a_space_of_their_own(small, tmp_path):
    export_deepstream(small, tmp_path, (60, 30), 1, 0)
    embedder, before = Embedder.load(tmp_path / MODEL), small.reference.embedder
    assert embedder.contract.resize == FixedSize(60, 30)
    assert embedder.contract.contract_id != before.contract.contract_id
    assert embedder.contract.parent == before.artefact_id
    crop = np.random.default_rng(1).integers(0, 256, (60, 30, 3), np.uint8)  # no resize either way
    assert np.abs(embedder.embed([crop], "rgb") - before.embed([crop], "rgb")).max() < 1e-5


LIES = {
    INFER: [
        ("model-color-format=0", "model-color-format=1"),
        ("net-scale-factor=1.0", "net-scale-factor=0.0039215697906911373"),
        ("offsets=0.0;0.0;0.0", "offsets=123.675;116.28;103.53"),
    ],
    TRACKER: [
        ("colorFormat: 0", "colorFormat: 1"),
        ("netScaleFactor: 1.0", "netScaleFactor: 0.01735207"),
        ("offsets: [0.0, 0.0, 0.0]", "offsets: [123.675, 116.28, 103.53]"),
    ],
}


@pytest.mark.parametrize(("name", "right", "wrong"), [(name, *lie) for name in LIES for lie in LIES[name]])
def test_a_file_that_lies_writes_nothing(small, tmp_path, monkeypatch, name, right, wrong):
    writer = "_infer_config" if name == INFER else "_tracker_config"
    honest = getattr(to_deepstream, writer)

    def lying(*arguments):
        text = honest(*arguments)
        assert right in text
        return text.replace(right, wrong)

    monkeypatch.setattr(to_deepstream, writer, lying)
    with pytest.raises(ParityError, match=name):
        export_deepstream(small, tmp_path, (64, 32), 1, 0)
    assert not list(tmp_path.iterdir())


def test_a_graph_without_a_cast_at_its_beginning(small):
    model = small.model
    model.graph.node[0].op_type = "Identity"
    with pytest.raises(to_deepstream.ExportError, match="expected one cast of images"):
        to_deepstream.float_graph(model, (256, 128))


def test_the_command(in_process, parent, tmp_path):
    words = ("to_deepstream", parent, "-o", tmp_path / "folder")
    run = in_process(lambda: cli.run(main), *words)
    assert run.code == 0
    assert "not run in DeepStream" in run.out
    again = in_process(lambda: cli.run(main), *words)
    assert (again.code, "--force" in again.err) == (1, True)
    assert in_process(lambda: cli.run(main), *words, "--size", "9x").code == 2
    assert in_process(lambda: cli.run(main), "to_deepstream", "tiny", "-o", tmp_path / "of-a-name").code == 0
