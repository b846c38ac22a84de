"""Embedder: what goes in, which row comes out, how much memory it takes, and which models are refused."""

import itertools
import os
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reid_runtime import Embedder
from reid_runtime.batching import WINDOW
from reid_runtime.errors import BackendError, ContractError, ImageError, OptionsError, ReidRuntimeError
from reid_runtime.images.decode import DecodedImage
from reid_runtime.images.resize import resize

from .models import CONTRACT, DIMENSION, FOREIGN, stated_for, write_model
from .sample_images import encode, sample_image

HELD = 2 * WINDOW
"""How many images a stream may hold, as its documentation says."""


def mixed(count):
    """Images of many sizes, some equal."""
    rng = np.random.default_rng(4)
    sides = rng.integers(1, 6, (count, 2)) * 23 + 10
    return [sample_image(height, width, seed) for seed, (height, width) in enumerate(sides.tolist())]


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(encode(sample_image(), "PNG"))
    return path


def test_every_kind_of_source_gives_the_same_vector(tiny, png):
    image, path = sample_image(), png
    paths = tiny.embed([path, str(path), path.read_bytes(), Image.open(path)])
    rgb = tiny.embed([image], channel_order="rgb")
    bgr = tiny.embed([image[:, :, ::-1]], channel_order="bgr")
    assert paths.dtype == np.float32
    assert paths.shape == (4, DIMENSION)
    for row in (*paths, *rgb, *bgr):
        assert np.array_equal(row, paths[0])
    assert not np.allclose(tiny.embed([image], channel_order="bgr"), rgb, atol=1e-3)
    assert np.linalg.norm(rgb) == pytest.approx(1, abs=1e-5)


def test_inputs_of_every_length(tiny):
    assert tiny.embed([]).shape == (0, DIMENSION)
    assert tiny.embed(np.stack([sample_image()] * 3), channel_order="rgb").shape == (3, DIMENSION)
    many = [sample_image(seed=seed) for seed in range(5)] * 60
    actual = tiny.embed(iter(many), channel_order="rgb")
    assert np.array_equal(actual, np.tile(actual[:5], (60, 1)))


@pytest.mark.parametrize("one", ["x.jpg", b"x", bytearray(b"x"), Image.new("RGB", (4, 4)), sample_image()])
def test_one_image_is_not_a_list_of_images(tiny, one):
    for embed in (tiny.embed, tiny.stream):
        with pytest.raises(ImageError, match=r"pass \[image\]"):
            embed(one, channel_order="rgb")


def test_arrays_without_channel_order(tiny):
    with pytest.raises(ImageError, match=r"image 1: .*never guessed"):
        tiny.embed([Image.new("RGB", (4, 4)), sample_image()])


def test_repr_names_model_size_device_and_terms(tiny):
    assert repr(tiny) == "<Embedder tiny, longest side 16, aspect ratio kept, onnxruntime cpu, terms: free>"


def test_embed_names_the_first_bad_image(tiny, tmp_path):
    with pytest.raises(ImageError, match=r"image 2 \(.*absent\.jpg\): cannot be read: No such file"):
        tiny.embed([encode(sample_image(), "PNG")] * 2 + [tmp_path / "absent.jpg", b""])


def test_stream_goes_on_after_a_bad_image(tiny, png):
    good = encode(sample_image(40, 20), "PNG")
    results = list(tiny.stream([b"", good, png, "absent.jpg", sample_image(), good]))
    assert [result.index for result in results] == list(range(6))
    assert [result.error is None for result in results] == [False, True, True, False, False, True]
    assert [result.vector is None for result in results] == [True, False, False, True, True, False]
    assert [result.source for result in results] == [None, None, png, "absent.jpg", None, None]
    assert [(result.height, result.width) for result in results[:2]] == [(0, 0), (40, 20)]
    assert "empty" in str(results[0].error)
    assert np.array_equal(results[1].vector, results[5].vector)


def test_rows_do_not_depend_on_order_and_batch(default):
    """Bit for bit, on the real network: alone, together, shuffled."""
    images = mixed(14)
    assert len({image.shape for image in images}) > 6
    together = default.embed(images, channel_order="rgb")
    order = np.random.default_rng(1).permutation(len(images))
    assert np.array_equal(default.embed([images[row] for row in order], channel_order="rgb"), together[order])
    for row in range(0, len(images), 3):
        assert np.array_equal(default.embed([images[row]], channel_order="rgb")[0], together[row])
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_batches_over_the_budget_are_split(tiny, monkeypatch):
    images = [sample_image(seed=seed) for seed in range(20)]
    together = tiny.embed(images, channel_order="rgb")
    shapes = []
    run = tiny.backend.run
    monkeypatch.setattr(tiny.backend, "max_batch_pixels", 3 * 16 * 8)
    monkeypatch.setattr(tiny.backend, "run", lambda batch: shapes.append(batch.shape) or run(batch))
    assert np.array_equal(tiny.embed(images, channel_order="rgb"), together)
    assert sum(shape[0] for shape in shapes) == 20
    assert max(shape[0] for shape in shapes) == 3


def test_threads_share_one_embedder(tiny):
    images = mixed(40)
    expected = tiny.embed(images, channel_order="rgb")
    start = threading.Barrier(6)

    def embed(seed):
        order = np.random.default_rng(seed).permutation(len(images))
        start.wait(timeout=30)
        return np.array_equal(tiny.embed([images[row] for row in order], channel_order="rgb"), expected[order])

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(embed, range(6)))


def test_stream_is_lazy_and_its_memory_flat(tiny):
    """No more than two windows of images are taken ahead, and none outlives its turn."""
    alive, taken, most = weakref.WeakSet(), 0, 0

    class Owned(np.ndarray):
        """An array that can be put in a WeakSet."""

        __hash__ = object.__hash__

    def camera():
        nonlocal taken
        for taken in itertools.count(1):
            image = sample_image(seed=taken % 7).view(Owned)
            alive.add(image)
            yield image
            del image

    stream = tiny.stream(camera(), channel_order="rgb")
    assert taken == 0
    for given, result in enumerate(itertools.islice(stream, 2000), 1):
        assert result.error is None
        assert taken <= given + HELD
        most = max(most, len(alive))
    stream.close()
    assert most <= HELD
    assert taken <= 2000 + HELD


def test_errors_do_not_keep_their_images_alive(tiny):
    broken = (b"\x89PNG\r\n\x1a\n" + os.urandom(200_000) for _ in range(150))
    tracemalloc.start()
    results = list(tiny.stream(broken))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(result.error is not None for result in results)
    assert held < 3_000_000


def test_camera_may_fill_one_buffer_again_and_again(tiny):
    buffer = np.empty((16, 8, 3), np.uint8)

    def camera():
        for level in range(0, 250, 5):
            buffer[:] = (level, 255 - level, 0)
            yield buffer

    expected = tiny.embed([image.copy() for image in camera()], channel_order="rgb")
    assert np.array_equal(tiny.embed(camera(), channel_order="rgb"), expected)
    assert len(np.unique(expected, axis=0)) == 50


@pytest.mark.parametrize("count", [3, 130, 300])
def test_input_that_breaks_gives_what_came_before(tiny, count):
    def camera():
        for seed in range(count):
            yield sample_image(seed=seed % 5)
        raise ConnectionError("the camera is gone")

    stream = tiny.stream(camera(), channel_order="rgb")
    assert [result.index for result in itertools.islice(stream, count)] == list(range(count))
    with pytest.raises(ConnectionError):
        next(stream)


def test_broken_model_ends_the_stream_and_its_threads(tmp_path):
    broken = Embedder.load(write_model(tmp_path / "m.onnx", output="nan"))
    with pytest.raises(BackendError) as kept:
        list(broken.stream([sample_image()] * 1000, channel_order="rgb"))
    assert kept.tb is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


WIDER = replace(CONTRACT, dimension=512)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"output": "nan"}, "NaN, infinite or zero"),
        ({"output": "zero"}, "NaN, infinite or zero"),
        ({"output": "raw"}, "promises unit vectors, the model gave norms up to"),
        ({"output": "flat"}, r"expected a tensor \(N, D\) of floats as output, found float32 \(\)"),
        ({"contract": WIDER}, rf"expected vectors \(1, 512\).*the model gave \(1, {DIMENSION}\)"),
        ({"like": FOREIGN}, r"onnxruntime cpu failed on a batch of shape \(1, 16, 8, 3\) uint8"),
    ],
)
def test_model_that_breaks_its_contract_is_refused(tmp_path, options, reason):
    model = Embedder.load(write_model(tmp_path / "m.onnx", **options))
    with pytest.raises(BackendError, match=reason):
        model.embed([sample_image()], channel_order="rgb")


def test_foreign_model_with_a_stated_contract_by_hand(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = write_model(tmp_path / "m.onnx", None, like=FOREIGN, output="raw")
    stated = tmp_path / "contract.json"
    stated.write_text(
        "\ufeff" + stated_for(path, FOREIGN).to_json(), encoding="utf-8"
    )  # as an editor on Windows writes it
    images = mixed(9)
    actual = Embedder.load(path, contract=stated).embed(images, channel_order="rgb")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    mean, deviation = np.array([0.406, 0.456, 0.485], np.float32), np.array([0.225, 0.224, 0.229], np.float32)
    for image, row in zip(images, actual, strict=True):
        small = resize(image, FOREIGN.resize.shape(*image.shape[:2]))[:, :, ::-1]
        values = (small.astype(np.float32) * np.float32(1 / 255) - mean) / deviation
        (raw,) = session.run(None, {"images": values.transpose(2, 0, 1)[None]})
        assert np.array_equal(row, (raw / np.linalg.norm(raw, axis=1, keepdims=True))[0])


def test_models_without_a_contract_or_with_two_are_refused(tmp_path, tiny_model):
    bare = write_model(tmp_path / "bare.onnx", None)
    with pytest.raises(ContractError, match=r"bare\.onnx carries no contract.*--contract FILE"):
        Embedder.load(bare)
    stated = tmp_path / "c.json"
    stated.write_text(stated_for(bare).to_json())
    assert Embedder.load(bare, contract=stated).dimension == DIMENSION
    with pytest.raises(ContractError, match="carries its own contract"):
        Embedder.load(tiny_model, contract=stated)
    stated.write_text("{}")
    with pytest.raises(ContractError, match=r"c\.json"):
        Embedder.load(bare, contract=stated)
    for unreadable in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(ContractError, match="the contract cannot be read"):
            Embedder.load(bare, contract=unreadable)


def test_files_that_are_no_models_are_refused(tmp_path):
    for name in ("absent.onnx", "n" * 300, "."):
        with pytest.raises(BackendError, match=r"no such model file|expected a model file on a disk"):
            Embedder.load(tmp_path / name)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(BackendError, match=r"text\.onnx is damaged or no ONNX file"):
        Embedder.load(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"\x08\x0a")  # a message of protobuf without a graph
    (tmp_path / "contract.json").write_text(stated_for(tmp_path / "empty.onnx").to_json())
    with pytest.raises(BackendError, match=r"empty\.onnx: ONNX Runtime cannot load it"):
        Embedder.load(tmp_path / "empty.onnx", contract=tmp_path / "contract.json")


def test_artefact_id_is_the_files_digest(tiny, tiny_model, tmp_path):
    assert tiny.artefact_id.startswith("sha256:")
    assert len(tiny.artefact_id) == 7 + 64
    assert Embedder.load(tiny_model).artefact_id == tiny.artefact_id
    assert Embedder.load(write_model(tmp_path / "m.onnx", output="raw")).artefact_id != tiny.artefact_id


def test_default_model_is_the_one_that_the_package_carries(default):
    assert default.path.parent.name == "models"
    assert default.contract.trained_on
    assert default.backend.name == "onnxruntime cpu"


def test_one_lazy_pillow_image_may_be_given_many_times(tiny, tmp_path):
    path = tmp_path / "crop.jpg"
    Image.fromarray(sample_image()).resize((300, 600)).save(path)
    for _ in range(5):
        vectors = tiny.embed([Image.open(path)] * 8)
        assert (vectors == vectors[0]).all()


def test_a_camera_has_its_first_result_soon(tiny):
    taken = 0

    def camera():
        nonlocal taken
        while True:
            taken += 1
            yield sample_image()

    stream = tiny.stream(camera(), channel_order="rgb")
    next(stream)
    assert taken <= 24
    stream.close()


def test_windows_make_the_same_batches_from_any_multiple(tiny, monkeypatch):
    """What an uninterrupted run does, one that goes on at a window's start does too, batch for batch."""
    count = 2 * WINDOW + 44
    images = mixed(count)
    run, batches = tiny.backend.run, []
    monkeypatch.setattr(tiny.backend, "run", lambda batch: batches.append(batch.tobytes()) or run(batch))
    assert len(list(tiny.stream(images, "rgb", low_latency=False))) == count
    complete = list(batches)
    for start in (WINDOW, 2 * WINDOW):
        batches.clear()
        assert len(list(tiny.stream(images[start:], "rgb", low_latency=False))) == count - start
        assert batches
        assert batches == complete[-len(batches) :]


def test_error_of_the_model_names_the_image(tiny, monkeypatch, png):
    """The first of the batch at fault, behind an image that cannot be read and one of another shape."""
    run = tiny.backend.run
    monkeypatch.setattr(tiny.backend, "run", lambda batch: run(batch) * (np.nan if batch.shape[2] == 8 else 1))
    square = encode(sample_image(40, 40), "PNG")
    with pytest.raises(BackendError, match=r"image 2 \(.*x\.png\), first of its batch of 2: the model gave NaN"):
        list(tiny.stream([b"", square, png, png]))


def test_error_of_a_thread_names_the_image_and_reason(tiny, monkeypatch, png):
    def starved(*_):
        raise MemoryError("no room")

    monkeypatch.setattr("reid_runtime.preparation.resized", starved)
    with pytest.raises(ReidRuntimeError, match=r"image 1 \(.*x\.png\): MemoryError: no room") as kept:
        list(tiny.stream([b"", png]))
    assert isinstance(kept.value.__cause__, MemoryError)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_decode_as_many_as_they_infer(tiny_model, monkeypatch, threads):
    """Where work is shared out among processes, one that was given one core takes one."""
    together, names = threading.Barrier(threads), set()

    def watched(source, channel_order, limits):
        if (name := threading.current_thread().name) not in names:
            names.add(name)
            together.wait(timeout=30)  # as many are at work at once
        return DecodedImage(source)

    monkeypatch.setattr("reid_runtime.preparation.decode_image", watched)
    actual = Embedder.load(tiny_model, threads=threads).embed([sample_image()] * 12, "rgb")
    assert len(actual) == 12
    assert len(names) == threads


def test_a_list_is_embedded_in_whole_windows(tiny, monkeypatch):
    """Nobody has the first row before the last: small batches for its sake would only take longer."""
    run, batches = tiny.backend.run, []
    monkeypatch.setattr(tiny.backend, "run", lambda batch: batches.append(len(batch)) or run(batch))
    tiny.embed([sample_image()] * (WINDOW + 72), "rgb")
    assert batches == [WINDOW, 72]


@pytest.mark.parametrize("threads", [0, -1])
def test_number_of_threads_is_checked(tiny_model, threads):
    with pytest.raises(OptionsError, match=f"at least one thread, or None for all cores, found {threads}"):
        Embedder.load(tiny_model, threads=threads)
