"""A backend is one module and one entry of the registry; everything else follows."""

import pytest

from reid_runtime import BackendError, Embedder, doctor
from reid_runtime.backends import DEVICES, REGISTRY, open_backend
from reid_runtime.backends.registry import Device, _opener
from reid_runtime.cli.options import model_options
from reid_runtime.verification import verify

from ..models import CONTRACT, write_model
from ..pinned import write_pinned

pytest.importorskip("onnxruntime")

_MODULE = """
from reid_runtime.backends.onnx import OnnxBackend

def open_it(path, options):
    backend = OnnxBackend(path.with_suffix(".onnx"), "cpu", options.threads)
    backend.name = "another engine"
    return backend
"""


@pytest.fixture
def another(tmp_path, monkeypatch):
    """A device called another, for ONNX and for a format of its own, .another."""
    (tmp_path / "another_backend.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    device = Device("another_backend:open_it", ("click",), "none", suffixes=(".onnx", ".another"))
    monkeypatch.setitem(REGISTRY, "another", device)
    monkeypatch.setattr("reid_runtime.backends.registry.DEVICES", ("auto", *REGISTRY))


@pytest.mark.parametrize("name", REGISTRY)
def test_every_opener_is_there(name):
    assert callable(_opener(REGISTRY[name].opener))
    assert REGISTRY[name].rounds in (None, *REGISTRY)


def test_every_device_is_a_choice_of_the_command_line():
    (option,) = [each for each in model_options(lambda: None).__click_params__ if each.name == "device"]
    assert tuple(option.type.choices) == DEVICES == ("auto", *REGISTRY)


def test_an_entry_is_enough_to_embed_and_verify(another, tiny, tmp_path):
    path = write_pinned(tmp_path / "model.onnx")
    embedder = Embedder.load(path, device="another")
    assert embedder.backend.name == "another engine"
    assert "another engine" in [check.backend for check in verify(path).checks]


def test_its_own_format_is_auto_its(another, tiny_model, tmp_path):
    (tmp_path / "model.onnx").write_bytes(tiny_model.read_bytes())
    (tmp_path / "model.another").touch()
    assert open_backend(tmp_path / "model.another", "auto").name == "another engine"
    with pytest.raises(BackendError, match=r"'cpu' runs \.onnx files, found \.another: use device 'another'"):
        open_backend(tmp_path / "model.another", "cpu")


def test_doctor_tries_it(another, monkeypatch):
    monkeypatch.setattr(doctor, "REGISTRY", {"cpu": REGISTRY["cpu"], "another": REGISTRY["another"]})
    assert doctor.examine().devices[1].detail.startswith("another engine, click ")


def test_a_device_that_rounds_is_measured_against_the_exact_one(another, monkeypatch, tmp_path):
    monkeypatch.setitem(REGISTRY, "another", Device("another_backend:open_it", ("click",), "none", rounds="cpu"))
    path = write_pinned(tmp_path / "model.onnx")
    embedder = Embedder.load(path, device="another")
    assert embedder.drift is not None
    assert embedder.drift.worst_cosine > 0.999999
    assert "another engine" not in [check.backend for check in verify(path).checks]


def test_a_file_of_any_other_name_is_onnx(tiny_model, tmp_path):
    (tmp_path / "model.bin").write_bytes(tiny_model.read_bytes())
    assert open_backend(tmp_path / "model.bin", "cpu").name == "onnxruntime cpu"


def test_an_unknown_device_is_told_before_anything_is_read(tmp_path):
    path, stated = write_model(tmp_path / "bare.onnx", None), tmp_path / "contract.json"
    stated.write_text(CONTRACT.to_json())
    with pytest.raises(BackendError, match="no device is called 'gpu'"):
        Embedder.load(path, device="gpu", contract=stated)
