"""OpenVINO gives what ONNX Runtime gives, and says so where it cannot."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from reid_runtime import BackendError, Embedder

pytest.importorskip("openvino", reason="needs the extra openvino")


@pytest.fixture(scope="module")
def pair():
    return Embedder.load(), Embedder.load(device="openvino")


def crops(count, height=90, width=37):
    return list(np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("height", "width"), [(128, 64), (64, 128), (33, 90), (300, 1), (257, 131)])
def test_the_default_model_gives_onnx_runtimes_vectors_at_any_size(pair, height, width):
    images = crops(3, height, width)
    expected, found = (embedder.embed(images, colour="rgb") for embedder in pair)
    assert (expected * found).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_contract_inside_the_onnx_file_is_found(pair):
    onnx, openvino = pair
    assert openvino.contract == onnx.contract
    assert openvino.artefact_id == onnx.artefact_id


def test_vectors_are_the_callers_own(pair):
    _, openvino = pair
    first = openvino.embed(crops(2), colour="rgb")
    kept = first.copy()
    openvino.embed(crops(4, 50, 50)[2:], colour="rgb")
    assert np.array_equal(first, kept)


def test_threads_may_share_one(pair):
    _, openvino = pair
    images = crops(12)
    alone = [openvino.embed([image], colour="rgb") for image in images]
    found: dict[int, np.ndarray] = {}

    def work(start):
        for index in range(start, 12, 4):
            found[index] = openvino.embed([images[index]], colour="rgb")

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[index], alone[index]) for index in range(12))


def test_a_file_that_is_no_model_is_told(tmp_path):
    for name in ("broken.xml", "broken.onnx"):
        path = tmp_path / name
        path.write_text("<net>")
        with pytest.raises(BackendError, match="OpenVINO cannot load it"):
            Embedder.load(path, device="openvino")


def test_openvinos_own_format_is_not_run_by_another(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text("<net/>")
    with pytest.raises(BackendError, match="use device 'openvino'"):
        Embedder.load(path, device="cpu")


def test_loading_leaves_the_home_folder_alone_and_calls_nobody(tmp_path):
    code = (
        "import sys, socket; socket.socket.connect = lambda *_: sys.exit(9); "
        "from reid_runtime import Embedder; Embedder.load(device='openvino'); "
        "import openvino; assert sys.modules.get('openvino_telemetry') is None"
    )
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
