"""Servers that exist: the same bytes through each of them, and a job whose server is killed."""

import base64
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from reid_runtime import BackendError, Embedder
from reid_runtime.model_file.packaged import model_path

from ...real_servers import ROOT, free_ports, kill, python_server, triton
from .test_served_jobs import digests

pytestmark = pytest.mark.slow
EXAMPLES = ROOT / "examples" / "crops"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """As the command writes it."""
    folder = tmp_path_factory.mktemp("repository")
    for model in ("base", "tiny"):
        line = [sys.executable, "-m", "export.to_triton", model, "-o", folder, "--backend", "python"]
        subprocess.run(line, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def crops():
    return sorted(str(path) for path in EXAMPLES.rglob("*") if path.suffix in (".jpg", ".png"))


def same_as_here(addresses, crops, **options):
    here = Embedder.load("base").embed(crops)
    for address in addresses:
        assert np.abs(Embedder.load(address, **options).embed(crops) - here).max() < 1e-6, address


def test_triton(command, repository, crops, tmp_path):
    http, grpc = free_ports(2)
    with triton(repository, (http, grpc), tmp_path):
        addresses = f"kserve://127.0.0.1:{http}/base", f"kserve+grpc://127.0.0.1:{grpc}/base/versions/1"
        same_as_here(addresses, crops)
        for address in addresses:
            run = command("verify", "--model", address)
            assert run.code == 0, run.out + run.err
        served = Embedder.load(addresses[0])
        assert served.artefact_id == Embedder.load("base").artefact_id
        for images in [np.zeros((count, 0, 5, 3), np.uint8) for count in (1, 1, 1, 40, 40, 40)]:
            with pytest.raises(BackendError, match="ONNXRuntimeError"):  # and it goes on
                served.backend.run(images)
        same_as_here(addresses[:1], crops)


def test_killed_triton(repository, tmp_path):
    """`kill -9` in mid-job; the job that is gone on with has the bytes of one that nobody interrupted."""
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    http, grpc = free_ports(2)
    address = f"kserve+grpc://127.0.0.1:{grpc}/tiny?patience=1"
    listed = tmp_path / "list.txt"
    names = sorted(EXAMPLES.rglob("view-*.*"))
    for number in range(1500):  # two parts
        (tmp_path / f"{number:04}{names[number % len(names)].suffix}").symlink_to(names[number % len(names)])
    listed.write_text("\n".join(sorted(str(path) for path in tmp_path.glob("[0-9]*"))))
    line = [sys.executable, "-m", "reid_runtime", "embed", listed, "--model", address, "-o"]
    with triton(repository, (http, grpc), tmp_path):
        subprocess.run([*line, f"{tmp_path}/whole/"], check=True, cwd=ROOT, capture_output=True)
    with triton(repository, (http, grpc), tmp_path) as server:
        job = subprocess.Popen([*line, f"{tmp_path}/out/"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        while not list((tmp_path / "out").glob("part-*")) and job.poll() is None:
            time.sleep(0.2)
        kill(server)
        assert job.wait(timeout=120) == 1
        assert "waited 1 s for the server to come back" in (words := job.stderr.read())
        assert "embed --resume" in words
    with triton(repository, (http, grpc), tmp_path):
        subprocess.run([*line, f"{tmp_path}/out/", "--resume"], check=True, cwd=ROOT, capture_output=True)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_mlserver(command, crops, tmp_path):
    """The two runtimes of the examples: uint8 over gRPC, and in JSON over HTTP; whole files."""
    http, grpc, metrics = free_ports(3)
    for name, runtime in (("reid", "uint8_runtime.Uint8Runtime"), ("files", "jpeg_runtime.JpegRuntime")):
        (tmp_path / name).mkdir()
        settings = {
            "name": name, "implementation": f"examples.mlserver.{runtime}", "parameters": {"uri": "base"},
        }  # fmt: skip
        (tmp_path / name / "model-settings.json").write_text(json.dumps(settings))
    settings = {
        "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0,
        "grpc_max_message_length": 1 << 26,
    }  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    ready = f"http://127.0.0.1:{http}/v2/health/ready"
    with python_server("mlserver", ["mlserver", "start", str(tmp_path)], ready, tmp_path):
        addresses = f"kserve://127.0.0.1:{http}/reid", f"kserve+grpc://127.0.0.1:{grpc}/reid"
        same_as_here(addresses, crops[:8])
        assert command("verify", addresses[1]).code == 0
        files = [*(Path(path).read_bytes() for path in crops[:3]), b"no image"]
        tensor = {
            "name": "images", "shape": [4], "datatype": "BYTES", "parameters": {"content_type": "base64"},
            "data": [base64.b64encode(each).decode() for each in files],
        }  # fmt: skip
        request = urllib.request.Request(
            f"http://127.0.0.1:{http}/v2/models/files/infer",
            json.dumps({"inputs": [tensor]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            rows, errors = json.load(answer)["outputs"]
    vectors = np.array(rows["data"], np.float32).reshape(rows["shape"])
    assert np.abs(vectors[:3] - Embedder.load("base").embed(crops[:3])).max() < 1e-6
    assert errors["data"][:3] == ["", "", ""]
    assert errors["data"][3]


def test_kserve(crops, tmp_path):
    """KServe's Python server has no room for a contract: it is stated, and held to its record all the same."""
    (tmp_path / "serve.py").write_text(_KSERVE)
    contract = tmp_path / "contract.json"
    contract.write_text(Embedder.load("base").contract.to_json())
    http, grpc = free_ports(2)
    line = ["python", "serve.py", str(model_path("base")), f"--http_port={http}", f"--grpc_port={grpc}"]
    with python_server("kserve", line, f"http://127.0.0.1:{http}/v2/health/ready", tmp_path):
        same_as_here(
            (f"kserve://127.0.0.1:{http}/reid", f"kserve+grpc://127.0.0.1:{grpc}/reid"), crops[:8], contract=contract
        )


_KSERVE = """
import sys
import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer

class Reid(Model):
    def __init__(self, path):
        super().__init__("reid")
        self.session = onnxruntime.InferenceSession(path)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        rows = self.session.run(None, {"images": payload.inputs[0].as_numpy()})[0]
        output = InferOutput("embeddings", rows.shape, "FP32")
        output.set_data_from_numpy(rows, binary_data=True)
        return InferResponse(payload.id or "", "reid", [output])

path = sys.argv.pop(1)
ModelServer(workers=1).start([Reid(path)])
"""
