"""Jobs against a server: one that ends in the middle is gone on with, to the bytes of a job that nobody interrupted."""

import hashlib

import pytest

from reid_runtime.jobs.manifest import Manifest

from ...inference_server import serving
from ...sample_images import encode, sample_image

pytest.importorskip("pyarrow", reason="needs the extra parquet")


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """Twelve crops, and parts of four."""
    monkeypatch.setattr(Manifest.__init__, "__defaults__", (4, *Manifest.__init__.__defaults__[1:]))
    folder = tmp_path / "crops"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.png").write_bytes(encode(sample_image(40, 10 + number, seed=number), "PNG"))
    return folder


def digests(folder):
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


@pytest.mark.parametrize("states", [True, False])
def test_killed_server(command, served, local, crops, tmp_path, monkeypatch, states):
    """The id is the server's statement, or that of its vectors; another server is not gone on with."""
    monkeypatch.setattr("reid_runtime.stream.WINDOW", 4)
    if not states:
        served.parameters.pop("reid_runtime.artefact_id")
    job = ["embed", crops, "-o", f"{tmp_path}/out/", "--model"]
    with serving(served) as address:
        port = int(address.split(":")[2].split("/")[0])
        assert command(*job[:2], "-o", f"{tmp_path}/whole/", "--model", address).code == 0
        seen = served.requests
        served.before = lambda: (500, "died") if served.requests > seen + 8 else None
        run = command(*job, address)
        assert run.code == 1
        assert "died (HTTP 500)" in run.err
        assert "to go on: reid-runtime embed --resume" in run.err
        served.before, compute = None, served.compute
        if states:
            served.parameters["reid_runtime.artefact_id"] = f"sha256:{'2' * 64}"
        else:
            served.compute = lambda images: compute(images).round(6)
        run = command(*job, address, "--resume")
        assert run.code == 1
        assert "the job was begun with model file sha256:" in run.err
    served.compute, served.parameters = compute, dict(served.parameters)
    if states:
        served.parameters["reid_runtime.artefact_id"] = local.artefact_id
    with serving(served, port=port) as address:
        assert command(*job, address, "--resume").code == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
