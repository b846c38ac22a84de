"""A backend is one module and one entry of the registry; everything else follows."""

import pytest

from reid_runtime import BackendError, Embedder, doctor
from reid_runtime.backends import DEVICES, REGISTRY, open_backend
from reid_runtime.backends.registry import Device, _opener
from reid_runtime.cli.options import model_options
from reid_runtime.model_file import ModelFile, formats
from reid_runtime.model_file.formats import Format
from reid_runtime.model_file.onnx import read_metadata
from reid_runtime.verification import verify

from ..models import stated_for, write_model
from ..recorded import write_recorded

pytest.importorskip("onnxruntime")

_MODULE = """
from reid_runtime.backends.onnx import OnnxBackend

def open_it(file, options):
    backend = OnnxBackend(file.path.with_suffix(".onnx"), "cpu", options.threads)
    backend.name = "another engine"
    return backend
"""


@pytest.fixture
def another(tmp_path, monkeypatch):
    """A device called another, for ONNX and for a format of its own, .another."""
    (tmp_path / "another_backend.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    another = Format("another", ".another", read_metadata)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, another))
    device = Device("another_backend:open_it", ("click",), "none", formats=(formats.ONNX, another))
    monkeypatch.setitem(REGISTRY, "another", device)
    monkeypatch.setattr("reid_runtime.backends.registry.DEVICES", ("auto", *REGISTRY))


@pytest.mark.parametrize("name", REGISTRY)
def test_openers_exist(name):
    assert callable(_opener(REGISTRY[name].opener))
    assert REGISTRY[name].rounds in (None, *REGISTRY)


def test_bfloat16_alone_rounds():
    assert {name: device.rounds for name, device in REGISTRY.items() if device.rounds} == {"openvino-bf16": "openvino"}


def test_devices_are_choices_of_the_commands():
    (option,) = [each for each in model_options(lambda: None).__click_params__ if each.name == "device"]
    assert tuple(option.type.choices) == DEVICES == ("auto", *REGISTRY)


def test_entry_embeds_and_verifies(another, tiny, tmp_path):
    path = write_recorded(tmp_path / "model.onnx")
    embedder = Embedder.load(path, device="another")
    assert embedder.backend.name == "another engine"
    assert "another engine" in [check.backend for check in verify(path).checks]


def test_format_chooses_its_device(another, tiny_model, tmp_path):
    (tmp_path / "model.onnx").write_bytes(tiny_model.read_bytes())
    (tmp_path / "model.another").write_bytes(tiny_model.read_bytes())
    assert open_backend(ModelFile.open(tmp_path / "model.another"), "auto").name == "another engine"
    with pytest.raises(BackendError, match=r"'cpu' runs \.onnx files, found \.another: use device 'another'"):
        open_backend(ModelFile.open(tmp_path / "model.another"), "cpu")


def test_doctor_tries_an_entry(another, monkeypatch):
    monkeypatch.setattr(doctor, "REGISTRY", {"cpu": REGISTRY["cpu"], "another": REGISTRY["another"]})
    assert doctor.run_checks().devices[1].detail.startswith("another engine, click ")


def test_drift_of_a_device_that_rounds(another, monkeypatch, tmp_path):
    monkeypatch.setitem(REGISTRY, "another", Device("another_backend:open_it", ("click",), "none", rounds="cpu"))
    path = write_recorded(tmp_path / "model.onnx")
    embedder = Embedder.load(path, device="another")
    assert embedder.drift is not None
    assert embedder.drift.worst_cosine > 0.999999
    assert "another engine" not in [check.backend for check in verify(path).checks]


def test_other_suffix_is_onnx(tiny_model, tmp_path):
    (tmp_path / "model.bin").write_bytes(tiny_model.read_bytes())
    assert open_backend(ModelFile.open(tmp_path / "model.bin"), "cpu").name == "onnxruntime cpu"


def test_unknown_device(tmp_path):
    path, stated = write_model(tmp_path / "bare.onnx", None), tmp_path / "contract.json"
    stated.write_text(stated_for(path).to_json())
    with pytest.raises(BackendError, match="no device is called 'mps'"):
        Embedder.load(path, device="mps", contract=stated)
