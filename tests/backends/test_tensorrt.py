"""The TensorRT backend on a fake TensorRT and a fake GPU, which enforce the rules of both and compute with numpy."""

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.backends.tensorrt import TensorRTBackend
from reid_runtime.errors import BackendError, ImageError
from reid_runtime.tensorrt_engines.engine import Engine

from ..cuda.fake import FakeCuda, Work
from ..cuda.host import library
from ..models import CONTRACT, FOREIGN, write_model
from ..pictures import picture
from .fake_tensorrt import BLOB, FakeTensorRT

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PROFILES = (
    ((1, 8, 4), (4, 16, 8), (4, 16, 16)),
    ((1, 8, 4), (2, 32, 16), (3, 40, 24)),
    ((2, 41, 25), (4, 48, 32), (4, 64, 32)),
)
SHAPES = [(16, 8), (16, 16), (9, 5), (32, 16), (40, 24), (12, 24)]


def embed_like(path):
    """The tiny model in numpy, with the constants of the file."""
    kept = {value.name: onnx.numpy_helper.to_array(value) for value in onnx.load(path).graph.initializer}

    def embed(images):
        axes = (2, 3) if images.shape[1] == 3 else (1, 2)
        values = images.astype(np.float32)
        raw = np.concatenate([values.mean(axes), values.max(axes)], axis=1) @ kept["weights"] + kept["bias"]
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    return embed


class Place:
    """Both fakes and a backend on them; what is wrong at the end is told by `check`."""

    def __init__(self, monkeypatch, path, **kind):
        gc.freeze()  # what was there before cannot leak, and need not be looked through
        self.cuda = FakeCuda()
        self.trt = FakeTensorRT(self.cuda, PROFILES, embed_like(path), **kind)
        monkeypatch.setitem(sys.modules, "tensorrt", self.trt)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
        self.engine = Engine(BLOB, CONTRACT.to_json(), ())

    def backend(self, **options):
        return TensorRTBackend(self.engine, cuda=self.cuda, **options)

    def check(self):
        gc.collect()
        gc.unfreeze()
        assert self.cuda.violations == []
        assert self.cuda.leaks() == {}
        assert not any(context() for context in self.trt.contexts)


@pytest.fixture
def place(monkeypatch, tiny_model):
    place = Place(monkeypatch, tiny_model)
    yield place
    place.check()


def images(count, height=16, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def near(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


class OnGpu:
    """An array of the fake GPU that its producer is still filling when it is handed out."""

    def __init__(self, cuda, values, offset=0):
        self.cuda, self.values = cuda, np.ascontiguousarray(values)
        with cuda.current():
            self.stream = cuda.create_stream()
            self.base = cuda.allocate(self.values.nbytes + offset)
        self.address = self.base + offset
        self.shape, self.dtype = values.shape, values.dtype
        place = cuda.array(self.address, self.values.nbytes)
        cuda.queue(self.stream, Work(lambda: place.__setitem__(slice(None), self.values.view(np.uint8).ravel())))

    def free(self):
        with self.cuda.current():
            self.cuda.synchronize(self.stream)
            self.cuda.free(self.base)
            self.cuda.destroy_stream(self.stream)


class ByInterface(OnGpu):
    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "version": 3,
            "strides": None, "stream": self.stream,
        }  # fmt: skip


class TestRuns:
    """Right answers, whatever way the pixels come."""

    @pytest.mark.parametrize("graphs", [0, 3])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_every_shape_gives_onnx_runtimes_vectors(self, place, tiny, graphs, shape):
        with_graphs = place.backend(graphs=graphs)
        for count in (1, 2, 7, 1, 2):
            batch = images(count, *shape, seed=count)
            near(with_graphs.run(batch), tiny.backend.run(batch))
        with_graphs.close()

    def test_nothing_has_to_be_closed(self, place, tiny):
        """The fixture finds what would be left: the backend goes with its last reference."""
        near(place.backend().run(images(2)), tiny.backend.run(images(2)))

    def test_closing_twice_and_running_after(self, place):
        backend = place.backend()
        backend.close()
        backend.close()
        with pytest.raises(BackendError, match="closed"):
            backend.run(images(1))

    def test_what_it_says_of_itself(self, place):
        backend = place.backend()
        assert backend.name == "TensorRT 11.4.0.106 with fake GPU"
        assert backend.contract_text == CONTRACT.to_json()
        assert backend.max_batch_pixels == 4 * 64 * 32
        backend.close()

    def test_planes_of_floats(self, monkeypatch, tmp_path):
        path = write_model(tmp_path / "m.onnx", FOREIGN, like=FOREIGN)
        place = Place(monkeypatch, path, shape=(-1, 3, -1, -1), dtype="FLOAT")
        batch = np.random.default_rng(0).normal(size=(7, 3, 16, 8)).astype(np.float32)
        backend = place.backend()
        near(backend.run(batch), embed_like(path)(batch))
        backend.close()
        place.check()

    def test_an_embedder_on_it_gives_every_row_its_vector(self, place, tiny, tiny_model):
        crops = [picture(40, 20, seed) if seed % 3 else picture(30, 21, seed) for seed in range(30)]
        embedder = Embedder(place.backend(), CONTRACT, tiny_model)
        near(embedder.embed(crops, colour="rgb"), tiny.embed(crops, colour="rgb"))
        embedder.backend.close()

    def test_threads_take_a_context_each_and_give_it_back(self, place, tiny):
        backend = place.backend(graphs=2)
        batches = [images(1 + seed % 6, *SHAPES[seed % len(SHAPES)], seed) for seed in range(48)]
        start = threading.Barrier(4)

        def work(number):
            start.wait(timeout=30)
            return [backend.run(batch) for batch in batches[number::4]]

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(work, range(4)))
        for number in range(4):
            for vectors, batch in zip(found[number], batches[number::4], strict=True):
                near(vectors, tiny.backend.run(batch))
        assert sum(len(idle) for idle in backend._pool._idle.values()) <= 4 * 2
        backend.close()

    def test_closing_while_another_thread_runs(self, place, tiny):
        backend = place.backend()
        embed, started, go_on = place.trt.embed, threading.Event(), threading.Event()

        def slow(batch):
            started.set()
            go_on.wait(timeout=30)
            return embed(batch)

        place.trt.embed = slow
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(backend.run, images(2))
            assert started.wait(timeout=30)
            backend.close()
            go_on.set()
            near(running.result(timeout=30), tiny.backend.run(images(2)))

    def test_one_thread_needs_one_context_for_a_profile(self, place):
        backend = place.backend()
        for _ in range(3):
            backend.run(images(9))
            backend.run(images(2, 40, 24))
        assert len(place.trt.contexts) == 2
        backend.close()

    def test_buffers_only_grow(self, place):
        backend = place.backend()
        backend.run(images(8, 16, 16))
        before = set(place.cuda.memory), set(place.cuda.pinned)
        backend.run(images(8, 16, 8))
        backend.run(images(2, 9, 5))
        assert (set(place.cuda.memory), set(place.cuda.pinned)) == before
        backend.close()

    @pytest.mark.parametrize(
        ("batch", "words"),
        [
            (images(2).astype(np.float32), r"takes uint8, found a batch \(2, 16, 8, 3\) of float32"),
            (
                images(2).transpose(0, 3, 1, 2),
                r"takes batches \(N, H, W, 3\) of at least one image, found \(2, 3, 16, 8\)",
            ),
            (images(2)[0], "takes batches"),
            (images(0), "takes batches"),
        ],
    )
    def test_a_batch_of_another_kind_is_refused(self, place, batch, words):
        backend = place.backend()
        with pytest.raises(BackendError, match=words):
            backend.run(batch)
        assert place.trt.contexts == []
        backend.close()


class TestProfiles:
    """Which profile, in which parts."""

    @pytest.mark.parametrize(
        ("shape", "parts"),
        [((9, 16, 8), [3, 3, 3]), ((7, 32, 16), [2, 2, 3]), ((5, 64, 32), [2, 3]), ((4, 64, 32), [4])],
    )
    def test_more_than_a_profiles_maximum_goes_in_even_parts(self, place, tiny, shape, parts):
        backend = place.backend()
        seen, embed = [], place.trt.embed
        place.trt.embed = lambda batch: seen.append(len(batch)) or embed(batch)
        near(backend.run(images(*shape)), tiny.backend.run(images(*shape)))
        assert [count for count in seen if count > 1] == parts  # the fake asks with one image how wide the output is
        backend.close()

    def test_of_several_the_one_tuned_for_the_nearest_area_is_taken(self, place):
        backend = place.backend()
        assert backend._profile(1, 16, 8) == 0
        assert backend._profile(1, 16, 16) == 0
        assert backend._profile(1, 16, 24) == 1
        assert backend._profile(1, 8, 4) == 0
        assert backend._profile(2, 64, 32) == 2
        backend.close()

    @pytest.mark.parametrize(
        ("shape", "nearest"),
        [
            ((1, 64, 32), "batches of 2 to 4, heights of 41 to 64 and widths of 25 to 32"),
            ((1, 65, 32), "batches of 2 to 4, heights of 41 to 64 and widths of 25 to 32"),
            ((1, 20, 25), "batches of 1 to 3, heights of 8 to 40 and widths of 4 to 24"),
            ((2, 7, 4), "batches of 1 to 4, heights of 8 to 16 and widths of 4 to 16"),
        ],
    )
    def test_a_shape_outside_is_told_with_the_nearest(self, place, shape, nearest):
        backend = place.backend()
        words = (
            f"no profile of this engine takes {shape[0]} images of {shape[1]}x{shape[2]}; the nearest takes {nearest}"
        )
        with pytest.raises(BackendError, match=words):
            backend.run(images(*shape))
        backend.close()

    def test_or_sent_where_the_caller_said(self, place, tiny):
        backend = place.backend(fallback=tiny.backend)
        near(backend.run(images(2, 100, 50)), tiny.backend.run(images(2, 100, 50)))
        assert place.trt.contexts == []
        backend.close()


class TestArraysOfTheGpu:
    """Read where they lie, after their own stream."""

    @pytest.mark.parametrize("graphs", [0, 3])
    def test_without_a_copy(self, place, tiny, graphs):
        backend = place.backend(graphs=graphs)
        batch = images(6, 16, 16)
        given = ByInterface(place.cuda, batch)
        place.cuda.faults.arm(None)
        near(backend.run(given), tiny.backend.run(batch))
        copies = [call for call in place.cuda.faults.calls if call.startswith("cuMemcpy")]
        assert copies == ["cuMemcpyDtoHAsync"] * 2
        given.free()
        backend.close()

    def test_what_is_not_aligned_is_moved_on_the_gpu(self, place, tiny):
        backend = place.backend()
        batch = images(5, 9, 5)
        given = ByInterface(place.cuda, batch, offset=64)
        near(backend.run(given), tiny.backend.run(batch))
        assert "cuMemcpyHtoDAsync" not in place.cuda.faults.calls
        given.free()
        backend.close()

    def test_what_is_not_packed_is_refused(self, place):
        class Strided(ByInterface):
            @property
            def __cuda_array_interface__(self):
                return super().__cuda_array_interface__ | {"shape": (2, 8, 8, 3), "strides": (384, 48, 3, 1)}

        backend = place.backend()
        given = Strided(place.cuda, images(2))
        with pytest.raises(BackendError, match=r"contiguous uint8 .* with strides \(384, 48, 3, 1\)"):
            backend.run(given)
        given.free()
        backend.close()

    def test_another_dtype_is_refused(self, place):
        backend = place.backend()
        given = ByInterface(place.cuda, images(2).astype(np.float32))
        with pytest.raises(BackendError, match=r"takes contiguous uint8 from the GPU, found .* of float32"):
            backend.run(given)
        given.free()
        backend.close()


class TestFrames:
    """embed_boxes on a frame of the GPU."""

    BOXES = ((10, 20, 30, 60), (-5, 3.2, 17, 44), (90, 50, 300, 200), (60, 3, 99, 118), (5, 5, 5, 9), (0, 0, 200, 120))

    @pytest.mark.parametrize("colour", ["rgb", "bgr"])
    def test_boxes_are_the_cpus(self, place, tiny, tiny_model, colour):
        library()
        frame = picture(120, 200)
        given = ByInterface(place.cuda, frame)
        embedder = Embedder(place.backend(), CONTRACT, tiny_model)
        with pytest.warns(UserWarning, match="1 boxes"):
            found, valid = embedder.embed_boxes(given, self.BOXES, colour, return_valid=True)
        with pytest.warns(UserWarning, match="1 boxes"):
            expected, held = Embedder(tiny.backend, CONTRACT, tiny_model).embed_boxes(
                frame, self.BOXES, colour, return_valid=True
            )
        assert valid.tolist() == held.tolist()
        assert (found[valid] * expected[valid]).sum(axis=1).min() > 0.9999  # a grey level at most apart
        assert not found[~valid].any()
        given.free()
        embedder.backend.close()

    def test_a_contract_that_is_not_the_engines(self, place):
        """The kernel would write floats where the engine has room for bytes."""
        given, backend = ByInterface(place.cuda, picture(60, 50)), place.backend()
        with pytest.raises(BackendError, match="input is NCHW of float32, the engine's another"):
            backend.run_crops(given, "rgb", np.array([(0, 0, 20, 40)]), (16, 8), FOREIGN.input)
        given.free()
        backend.close()

    def test_a_crop_outside_every_profile(self, place, tiny_model):
        given = ByInterface(place.cuda, picture(120, 200))
        embedder = Embedder(place.backend(), CONTRACT, tiny_model)
        with pytest.raises(BackendError, match="no profile of this engine takes 1 images of 16x1; the nearest"):
            embedder.embed_boxes(given, [(60, 3, 61, 118)], "rgb")
        given.free()
        embedder.backend.close()

    def test_a_frame_of_another_kind(self, place, tiny_model):
        embedder = Embedder(place.backend(), CONTRACT, tiny_model)
        for values in (
            np.zeros((20, 20), np.uint8),
            np.zeros((20, 20, 3), np.float32),
            np.zeros((20, 20, 4), np.uint8),
        ):
            given = ByInterface(place.cuda, values)
            with pytest.raises(ImageError, match=r"\(height, width, 3\) of uint8"):
                embedder.embed_boxes(given, [(0, 0, 20, 20)], "rgb")
            given.free()
        given = ByInterface(place.cuda, np.zeros((20, 20, 3), np.uint8))
        with pytest.raises(ImageError, match="never guessed"):
            embedder.embed_boxes(given, [(0, 0, 20, 20)], None)
        given.free()
        embedder.backend.close()

    def test_a_backend_of_the_host_says_so(self, place, tiny):
        given = ByInterface(place.cuda, picture(120, 200))
        with pytest.raises(BackendError, match="the frame is on the GPU, and onnxruntime cpu takes pixels of the host"):
            tiny.embed_boxes(given, self.BOXES, "rgb")
        given.free()


class TestFailures:
    """Every call fails once: the error is ours in TensorRT's or CUDA's words, nothing leaks, the next call works."""

    @staticmethod
    def scenario(place, graphs, batches, given, corners):
        backend = place.backend(graphs=graphs)
        try:
            for batch in batches:
                backend.run(batch)
            backend.run(given)
            backend.run_crops(given.frame, "rgb", corners, (16, 8), CONTRACT.input)
        except BaseException:
            place.cuda.faults.failing = None
            near(backend.run(batches[0]), place.trt.embed(batches[0]))
            raise
        finally:
            place.cuda.faults.failing = None
            place.closing = len(place.cuda.faults.calls)
            backend.close()

    @pytest.mark.parametrize("graphs", [0, 2])
    def test_at_every_call(self, place, graphs):
        library()
        batches = [images(9), images(9), images(2, 40, 24), images(9, 16, 16)]
        given = ByInterface(place.cuda, images(5), offset=64)
        given.frame = ByInterface(place.cuda, picture(60, 50))
        held = place.cuda.leaks()
        arguments = (place, graphs, batches, given, np.array([(0, 0, 20, 30)] * 6))
        place.cuda.faults.arm(None)
        self.scenario(*arguments)
        calls = place.cuda.faults.calls[: place.closing]
        assert {"deserialize_cuda_engine", "execute_async_v3", "cuMemHostAlloc", "cuLaunchKernel"} < set(calls)
        for number, call in enumerate(calls):
            place.cuda.faults.arm(number)
            with pytest.raises(BackendError, match="injected") as told:
                self.scenario(*arguments)
            del told
            gc.collect()
            assert place.cuda.leaks() == held, call
            assert place.cuda.violations == [], call
        given.frame.free()
        given.free()

    def test_of_giving_back(self, place):
        """A release that fails is told, and the others are done all the same."""
        place.backend(graphs=2).close()
        place.cuda.faults.arm(None)
        backend = place.backend(graphs=2)
        backend.run(images(9))
        before = len(place.cuda.faults.calls)
        backend.close()
        releases = place.cuda.faults.calls[before:]
        assert "cuMemFree" in releases
        for number in range(1, len(releases)):
            backend = place.backend(graphs=2)
            backend.run(images(9))
            place.cuda.faults.arm(number)
            with pytest.raises(BackendError, match="injected"):
                backend.close()
            place.cuda.faults.arm(None)
            place.check()
