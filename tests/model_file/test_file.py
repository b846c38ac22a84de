"""ModelFile: what every format says of itself, and where a contract comes from."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from reid_runtime import Embedder, embedder
from reid_runtime.errors import BackendError, ContractError, DamagedFileError
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import METADATA_KEY
from reid_runtime.model_file.file import artefact_digest, carried_contract, weights_digest
from reid_runtime.model_file.formats import ONNX, OPENVINO, TENSORRT, format_of, sidecar_path

from ..models import CONTRACT, stated_for, write_model
from ..recorded import record_of, tamper, write_recorded


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    return write_recorded(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def openvino_file(onnx_file):
    pytest.importorskip("openvino", reason="needs the extra openvino")
    code = "import sys, openvino; openvino.save_model(openvino.Core().read_model(sys.argv[1]), sys.argv[2])"
    path = onnx_file.with_suffix(".xml")
    subprocess.run([sys.executable, "-c", code, onnx_file, path], check=True)
    return path


@pytest.fixture
def engine_file(tmp_path):
    path = tmp_path / "model.engine"
    path.write_bytes(b"engine")
    digest = f"sha256:{hashlib.sha256(b'engine').hexdigest()}"
    sidecar_path(path).write_text(json.dumps({"contract": json.loads(CONTRACT.to_json()), "digest": digest}))
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("onnx_file", ONNX), ("openvino_file", OPENVINO), ("engine_file", TENSORRT)]
)
def test_every_format_carries_its_contract(request, name, kind):
    path = request.getfixturevalue(name)
    file = ModelFile.open(path)
    assert (file.path, file.format, file.contract) == (path, kind, CONTRACT)
    assert file.artefact_id == artefact_digest(path)
    with pytest.raises(ContractError, match=rf"{path.name} carries its own contract; the one stated must not"):
        ModelFile.open(path, CONTRACT)


def test_other_suffixes_are_onnx(tmp_path):
    assert format_of(tmp_path / "model.bin") is ONNX


def test_weights_of_openvino_are_part_of_the_artefact(openvino_file, tmp_path):
    copy = tmp_path / "copy.xml"
    copy.write_bytes(openvino_file.read_bytes())
    weights = bytearray(openvino_file.with_suffix(".bin").read_bytes())
    copy.with_suffix(".bin").write_bytes(weights)
    file = ModelFile.open(copy)
    assert file.files == (copy, copy.with_suffix(".bin"))
    assert file.artefact_id == artefact_digest(openvino_file)
    weights[-1] ^= 1
    copy.with_suffix(".bin").write_bytes(weights)
    assert ModelFile.open(copy).artefact_id != file.artefact_id


def test_a_contract_is_stated_as_a_value_or_a_file(tmp_path):
    path, stated = write_model(tmp_path / "bare.onnx", None), tmp_path / "contract.json"
    contract = stated_for(path)
    stated.write_text(contract.to_json(), encoding="utf-8-sig")
    assert carried_contract(path) is None
    assert ModelFile.open(path, stated).contract == ModelFile.open(str(path), contract).contract == contract
    with pytest.raises(ContractError, match=r"bare\.onnx carries no contract.*--contract FILE"):
        ModelFile.open(path)
    with pytest.raises(ContractError, match=r"absent\.json: the contract cannot be read"):
        ModelFile.open(path, tmp_path / "absent.json")


def test_selftest_is_given_for_intact_files_alone(onnx_file, openvino_file, engine_file, tmp_path):
    assert ModelFile.open(onnx_file).selftest().to_json() == record_of(onnx_file).to_json()
    assert ModelFile.open(openvino_file).selftest() is None
    assert ModelFile.open(engine_file).selftest() is None
    engine_file.write_bytes(b"another")
    with pytest.raises(DamagedFileError, match="is damaged: sha256:"):
        ModelFile.open(engine_file).selftest()
    path = write_recorded(tmp_path / "altered.onnx")
    tamper(path, record=record_of(onnx_file), stated=CONTRACT, model=None)
    assert ModelFile.open(path).selftest() is not None
    path.write_bytes(path.read_bytes().replace(b'"tiny"', b'"tinx"'))
    with pytest.raises(DamagedFileError, match="its contract is sha256:"):
        ModelFile.open(path).selftest()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"contract": {}}', "\0"])
def test_a_sidecar_that_is_none_is_damage(engine_file, text):
    sidecar_path(engine_file).write_text(text)
    with pytest.raises(DamagedFileError, match=r"model\.engine\.json is no engine's sidecar"):
        ModelFile.open(engine_file)


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_foreign_file_is_damage(tmp_path, name):
    (tmp_path / name).write_text("<net>")
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged or no (ONNX file|OpenVINO model): "):
        ModelFile.open(tmp_path / name)


def test_metadata_of_another_place_is_no_contract(tmp_path):
    (tmp_path / "model.xml").write_text(f'<net><layers><{METADATA_KEY} value="{{}}"/></layers></net>')
    assert carried_contract(tmp_path / "model.xml") is None


def test_no_file(tmp_path):
    with pytest.raises(BackendError, match="no such model file"):
        ModelFile.open(tmp_path / "absent.onnx")
    with pytest.raises(DamagedFileError, match="is a pipe, a device or a folder"):
        ModelFile.open(tmp_path)


def test_contract_for_other_weights_is_refused(tmp_path):
    """The reason holds both digests and the command that drafts another; a program's own value is taken as it is."""
    onnx, other = write_model(tmp_path / "a.onnx", None), write_model(tmp_path / "b.onnx", None, output="raw")
    (tmp_path / "c.xml").write_text("<net/>")
    (tmp_path / "c.bin").write_bytes(b"weights")
    stated = stated_for(onnx)
    (tmp_path / "c.json").write_text(stated.to_json())
    for path in (onnx, other):
        assert ModelFile.open(path, stated).contract == stated
    contract = tmp_path / "c.json"
    assert ModelFile.open(onnx, contract).contract.weights == artefact_digest(onnx)
    for path in (other, tmp_path / "c.xml"):
        with pytest.raises(ContractError) as refused:
            ModelFile.open(path, contract)
        for part in (artefact_digest(onnx)[7:19], weights_digest(path)[7:19], f"reid-runtime describe {path} -o"):
            assert part in str(refused.value)
    assert weights_digest(tmp_path / "c.xml") == artefact_digest(tmp_path / "c.bin")
    assert ModelFile.open(tmp_path / "c.xml", stated_for(tmp_path / "c.xml")).format is OPENVINO


@pytest.mark.parametrize("stated", [False, True])
def test_a_file_that_changes_while_it_is_loaded_is_refused(tmp_path, monkeypatch, stated):
    """Contract and digest would be of other bytes than those that run."""
    pytest.importorskip("onnxruntime")
    path = write_model(tmp_path / "m.onnx", None if stated else CONTRACT)
    (tmp_path / "c.json").write_text(stated_for(path).to_json())
    original = embedder.open_backend

    def meanwhile(*arguments):
        backend = original(*arguments)
        write_model(path, CONTRACT, output="raw")
        return backend

    monkeypatch.setattr(embedder, "open_backend", meanwhile)
    with pytest.raises(BackendError, match=r"m\.onnx was changed while it was loaded"):
        Embedder.load(path, contract=tmp_path / "c.json" if stated else None)


@pytest.mark.realdata
def test_contracts_of_the_peers_hold(reid_data):
    contracts = sorted((Path(__file__).parents[2] / "benchmarks" / "peers").glob("*.json"))
    assert len(contracts) == 5
    for contract in contracts:
        (model,) = (p for p in (reid_data / "reference").rglob(f"{contract.stem}.*") if p.suffix in (".xml", ".onnx"))
        assert ModelFile.open(model, contract).contract.name
