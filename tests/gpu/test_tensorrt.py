"""On an NVIDIA GPU with TensorRT: the CPU's vectors, whatever way the pixels come."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from reid_runtime import BackendError, Embedder
from reid_runtime.agreement import compare
from reid_runtime.backends.cuda import open_cuda
from reid_runtime.backends.tensorrt.module import import_tensorrt
from reid_runtime.backends.tensorrt.trust import default_folder
from reid_runtime.errors import MissingBackendError
from reid_runtime.model_file.packaged import default_model

pytestmark = pytest.mark.gpu

SHAPES = [(256, 96), (256, 128), (256, 200), (128, 256), (256, 40)]


@pytest.fixture(scope="module")
def ready(gpu):
    """Skips where TensorRT or both providers of device memory are missing."""
    try:
        import_tensorrt()
        open_cuda()
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def engines(ready, tmp_path_factory):
    """Engines are kept for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REID_RUNTIME_CACHE", str(tmp_path_factory.mktemp("engines")))
        yield


@pytest.fixture(scope="module")
def embedder(engines):
    embedder = Embedder.load(device="tensorrt")
    yield embedder
    embedder.backend.close()


@pytest.fixture(scope="module")
def reference():
    return Embedder.load()


def batch(count, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def agrees(expected, result, least=0.9999):
    assert compare(expected, result).worst_cosine >= least


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 5, 64])
def test_every_profile(embedder, reference, shape, count):
    images = batch(count, *shape)
    agrees(reference.backend.run(images), embedder.backend.run(images))


def test_name_of_the_backend(embedder):
    assert embedder.backend.name.startswith("TensorRT")
    assert embedder.artefact_id != Embedder.load().artefact_id
    assert embedder.contract.contract_id == Embedder.load().contract.contract_id


def test_selftest_was_run(embedder):
    sidecars = [json.loads(path.read_text()) for path in default_folder().glob("*.engine.json")]
    assert [sidecar["origin"]["parity"].partition(",")[0] for sidecar in sidecars] == ["4 crops"]


def test_cuda_graphs(engines, reference):
    with closing(Embedder.load(device="tensorrt", cuda_graphs=4).backend) as backend:
        for seed in range(8):  # more shapes and lanes than graphs are kept
            images = batch(1 + seed % 3, *SHAPES[seed % 3], seed=seed)
            first = backend.run(images)
            agrees(reference.backend.run(images), first)
            assert np.array_equal(backend.run(images), first)


def test_threads_at_once(embedder, reference):
    batches = [batch(1 + seed % 7, *SHAPES[seed % len(SHAPES)], seed=seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(embedder.backend.run, batches))
    for images, vectors in zip(batches, result, strict=True):
        agrees(reference.backend.run(images), vectors)


def test_batch_on_the_gpu(embedder, reference, producer):
    images = batch(6, 256, 128)
    embedder.backend.run(images)  # its allocations might wait as well
    filled, given = producer.put(images), producer.put(np.zeros_like(images))
    producer.settled()
    with producer.stream():
        producer.slowly(given, filled)
        result = embedder.backend.run(given)
    agrees(reference.backend.run(images), result)


def test_boxes_on_the_gpu(embedder, reference, producer):
    frame = batch(1, 1080, 1920)[0]
    boxes = [(100, 200, 260, 600), (-20, 30.5, 140, 420), (1800, 700, 2000, 1300), (5, 5, 5, 50)]
    with pytest.warns(UserWarning, match="1 box "):
        result, valid = embedder.embed_boxes(producer.put(frame), boxes, "bgr", return_valid=True)
    with pytest.warns(UserWarning, match="1 box "):
        expected = reference.embed_boxes(frame, boxes, "bgr")
    assert valid.tolist() == [True, True, True, False]
    agrees(expected[valid], result[valid], 0.999)
    assert not result[3].any()


def test_a_shape_that_no_profile_takes(embedder):
    with pytest.raises(BackendError, match="no profile of this engine takes 1 images of 600x300; the nearest"):
        embedder.backend.run(batch(1, 600, 300))


def test_fallback(engines, reference):
    try:
        embedder = Embedder.load(device="tensorrt", fallback=default_model())
    except MissingBackendError as error:
        pytest.skip(str(error))
    with closing(embedder.backend) as backend:
        images = batch(1, 600, 300)
        agrees(reference.backend.run(images), backend.run(images))
