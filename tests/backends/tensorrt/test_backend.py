"""The TensorRT backend on the fakes, with pixels of the host: right answers, and which profile gives them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.errors import BackendError

from ...models import CONTRACT, FOREIGN, write_model
from ...sample_images import sample_image
from .fake_machine import FakeMachine, images, near, numpy_model

pytest.importorskip("onnxruntime")

SHAPES = [(16, 8), (16, 16), (9, 5), (32, 16), (40, 24), (12, 24)]


class TestRuns:
    """Right answers, whatever way the pixels come."""

    @pytest.mark.parametrize("graphs", [0, 3])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_gives_onnx_runtimes_vectors(self, machine, tiny, graphs, shape):
        with_graphs = machine.backend(cuda_graphs=graphs)
        for count in (1, 2, 7, 1, 2):
            batch = images(count, *shape, seed=count)
            near(with_graphs.run(batch), tiny.backend.run(batch))

    def test_nothing_has_to_be_closed(self, machine, tiny):
        """The fixture finds what would be left: the backend goes with its last reference."""
        near(machine.backend().run(images(2)), tiny.backend.run(images(2)))

    def test_closing_twice_and_running_after(self, machine):
        backend = machine.backend()
        backend.run(images(1))
        backend.close()
        assert [engine() for engine in machine.trt.engines] == [None]  # at once, though the backend is still here
        backend.close()
        with pytest.raises(BackendError, match="closed"):
            backend.run(images(1))

    def test_name_device_and_limits(self, machine):
        backend = machine.backend()
        assert backend.name == "TensorRT 11.4.0.106 with fake GPU"
        assert (backend.device, backend.contract) == ("tensorrt", CONTRACT)
        assert backend.max_batch_pixels == 4 * 64 * 32

    def test_planes_of_floats(self, monkeypatch, tmp_path):
        path = write_model(tmp_path / "m.onnx", FOREIGN, like=FOREIGN)
        machine = FakeMachine(monkeypatch, path, shape=(-1, 3, -1, -1), dtype="FLOAT")
        batch = np.random.default_rng(0).normal(size=(7, 3, 16, 8)).astype(np.float32)
        backend = machine.backend()
        near(backend.run(batch), numpy_model(path)(batch))
        backend.close()
        machine.check()

    def test_embedder_rows(self, machine, tiny, tiny_model):
        crops = [sample_image(40, 20, seed) if seed % 3 else sample_image(30, 21, seed) for seed in range(30)]
        embedder = Embedder(machine.backend(), CONTRACT, tiny_model)
        near(embedder.embed(crops, channel_order="rgb"), tiny.embed(crops, channel_order="rgb"))

    def test_threads(self, machine, tiny):
        backend = machine.backend(cuda_graphs=2)
        batches = [images(1 + seed % 6, *SHAPES[seed % len(SHAPES)], seed) for seed in range(48)]
        start = threading.Barrier(4)

        def work(number):
            start.wait(timeout=30)
            return [backend.run(batch) for batch in batches[number::4]]

        with ThreadPoolExecutor(4) as pool:
            actual = list(pool.map(work, range(4)))
        for number in range(4):
            for vectors, batch in zip(actual[number], batches[number::4], strict=True):
                near(vectors, tiny.backend.run(batch))
        assert sum(len(idle) for idle in backend._pool._idle.values()) <= 4 * 2

    def test_close_while_running(self, machine, tiny):
        backend = machine.backend()
        embed, started, go_on = machine.trt.embed, threading.Event(), threading.Event()

        def slow(batch):
            started.set()
            go_on.wait(timeout=30)
            return embed(batch)

        machine.trt.embed = slow
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(backend.run, images(2))
            assert started.wait(timeout=30)
            backend.close()
            go_on.set()
            near(running.result(timeout=30), tiny.backend.run(images(2)))

    def test_one_context_for_a_profile(self, machine):
        backend = machine.backend()
        for _ in range(3):
            backend.run(images(9))
            backend.run(images(2, 40, 24))
        assert len(machine.trt.contexts) == 2

    def test_buffers_only_grow(self, machine):
        backend = machine.backend()
        backend.run(images(8, 16, 16))
        before = set(machine.cuda.memory), set(machine.cuda.pinned)
        backend.run(images(8, 16, 8))
        backend.run(images(2, 9, 5))
        assert (set(machine.cuda.memory), set(machine.cuda.pinned)) == before

    def test_parts_overlap(self, machine, monkeypatch):
        """The second part is on its way, on a stream of its own, before the first is waited for."""
        order = []
        for call, stream in (("upload", 2), ("download", 2), ("synchronize_event", None)):
            real = getattr(machine.cuda, call)
            monkeypatch.setattr(
                machine.cuda,
                call,
                lambda *arguments, real=real, call=call, stream=stream: (
                    order.append((call, None if stream is None else arguments[stream])),
                    real(*arguments),
                )[1],
            )
        backend = machine.backend()
        backend.run(images(9))
        assert [call for call, _ in order] == [
            *("upload", "download", "upload", "download"),  # both lanes, without a wait
            *("synchronize_event", "upload", "download", "synchronize_event", "synchronize_event"),
        ]
        copies, compute = ({stream for call, stream in order if call == each} for each in ("upload", "download"))
        assert len(copies) == len(compute) == 1
        assert copies != compute

    def test_last_used_graphs_are_kept(self, machine):
        backend = machine.backend(cuda_graphs=2)
        backend.run(images(4, 16, 16))  # the buffers have their size, and one graph is kept
        launched = []
        for shape in ((16, 8), (16, 16), (9, 5), (16, 16), (16, 8)):
            machine.cuda.faults.arm(None)
            backend.run(images(4, *shape))
            launched.append(machine.cuda.faults.calls.count("cuGraphLaunch"))
        assert launched == [0, 1, 0, 1, 0]
        assert len(machine.cuda.graphs) == 2

    def test_graph_whose_output_has_moved(self, machine, tiny):
        """The larger batch has smaller images: the input stays where it is, the output grows."""
        backend = machine.backend(cuda_graphs=4)
        for count, shape in ((2, (16, 16)), (4, (16, 8)), (2, (16, 16)), (4, (16, 8))):
            batch = images(count, *shape, seed=count)
            near(backend.run(batch), tiny.backend.run(batch))

    @pytest.mark.parametrize(
        ("announced", "words"),
        [
            ((1, 8), r"expected a vector for each of 2 images, the engine gives \(1, 8\)"),
            ((2, 4, 2), r"expected vectors of shape \(N, D\) from the engine, TensorRT announced \(2, 4, 2\)"),
            ((2, 0), "expected vectors of shape"),
        ],
    )
    def test_vectors_of_another_shape(self, machine, announced, words):
        backend = machine.backend()
        machine.trt.announced = announced
        with pytest.raises(BackendError, match=words):
            backend.run(images(2))

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
    def test_batch_of_another_kind(self, machine, batch, words):
        backend = machine.backend()
        with pytest.raises(BackendError, match=words):
            backend.run(batch)
        assert machine.trt.contexts == []


class TestProfiles:
    """Which profile, in which parts."""

    @pytest.mark.parametrize(
        ("shape", "parts"),
        [((9, 16, 8), [3, 3, 3]), ((7, 32, 16), [2, 2, 3]), ((5, 64, 32), [2, 3]), ((4, 64, 32), [4])],
    )
    def test_even_parts(self, machine, tiny, shape, parts):
        backend = machine.backend()
        seen, embed = [], machine.trt.embed
        machine.trt.embed = lambda batch: seen.append(len(batch)) or embed(batch)
        near(backend.run(images(*shape)), tiny.backend.run(images(*shape)))
        assert [count for count in seen if count > 1] == parts  # the fake asks with one image how wide the output is

    def test_nearest_area(self, machine):
        backend = machine.backend()
        assert backend._profile(1, 16, 8) == 0
        assert backend._profile(1, 16, 16) == 0
        assert backend._profile(1, 16, 24) == 1
        assert backend._profile(1, 8, 4) == 0
        assert backend._profile(2, 64, 32) == 2

    @pytest.mark.parametrize(
        ("shape", "nearest"),
        [
            ((1, 64, 32), "batches of 2 to 4, heights of 41 to 64 and widths of 25 to 32"),
            ((1, 65, 32), "batches of 2 to 4, heights of 41 to 64 and widths of 25 to 32"),
            ((1, 20, 25), "batches of 1 to 3, heights of 8 to 40 and widths of 4 to 24"),
            ((2, 7, 4), "batches of 1 to 4, heights of 8 to 16 and widths of 4 to 16"),
        ],
    )
    def test_shape_outside(self, machine, shape, nearest):
        backend = machine.backend()
        words = (
            f"no profile of this engine takes {shape[0]} images of {shape[1]}x{shape[2]}; the nearest takes {nearest}"
        )
        with pytest.raises(BackendError, match=words):
            backend.run(images(*shape))

    def test_fallback(self, machine, tiny):
        backend = machine.backend(fallback=tiny.backend)
        near(backend.run(images(2, 100, 50)), tiny.backend.run(images(2, 100, 50)))
        assert machine.trt.contexts == []
