"""The TensorRT backend on the fakes, with batches and frames that are on the GPU already."""

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.errors import BackendError, ImageError
from reid_runtime.images.resize import resize

from ...models import CONTRACT, FOREIGN
from ...sample_images import sample_image
from ..cuda.host import library
from .fake_machine import ByInterface, images, near

pytest.importorskip("onnxruntime")


class TestArraysOfTheGpu:
    """Read where they lie, after their own stream."""

    @pytest.mark.parametrize("graphs", [0, 3])
    def test_without_a_copy(self, machine, tiny, graphs):
        backend = machine.backend(cuda_graphs=graphs)
        batch = images(6, 16, 16)
        given = ByInterface(machine.cuda, batch)
        machine.cuda.faults.arm(None)
        near(backend.run(given), tiny.backend.run(batch))
        copies = [call for call in machine.cuda.faults.calls if call.startswith("cuMemcpy")]
        assert copies == ["cuMemcpyDtoHAsync"] * 2

    def test_misaligned_is_moved_on_the_gpu(self, machine, tiny):
        backend = machine.backend()
        batch = images(5, 9, 5)
        given = ByInterface(machine.cuda, batch, offset=64)
        near(backend.run(given), tiny.backend.run(batch))
        assert "cuMemcpyHtoDAsync" not in machine.cuda.faults.calls

    def test_strided_batch_is_refused(self, machine):
        class Strided(ByInterface):
            @property
            def __cuda_array_interface__(self):
                return super().__cuda_array_interface__ | {"shape": (2, 8, 8, 3), "strides": (384, 48, 3, 1)}

        backend = machine.backend()
        given = Strided(machine.cuda, images(2))
        with pytest.raises(BackendError, match=r"contiguous uint8 .* with strides \(384, 48, 3, 1\)"):
            backend.run(given)

    def test_no_fallback_to_the_host(self, machine, tiny):
        backend = machine.backend(fallback=tiny.backend)
        given = ByInterface(machine.cuda, images(2, 100, 50))
        with pytest.raises(BackendError, match="no profile of this engine takes 2 images of 100x50"):
            backend.run(given)

    def test_another_dtype_is_refused(self, machine):
        backend = machine.backend()
        given = ByInterface(machine.cuda, images(2).astype(np.float32))
        with pytest.raises(BackendError, match=r"takes contiguous uint8 from the GPU, found .* of float32"):
            backend.run(given)


class TestFrames:
    """embed_boxes on a frame of the GPU."""

    BOXES = ((10, 20, 30, 60), (-5, 3.2, 17, 44), (90, 50, 300, 200), (60, 3, 99, 118), (5, 5, 5, 9), (0, 0, 200, 120))

    @pytest.mark.parametrize("colour", ["rgb", "bgr"])
    def test_boxes_are_the_cpus(self, machine, tiny, tiny_model, colour):
        library()
        frame = sample_image(120, 200)
        given = ByInterface(machine.cuda, frame)
        embedder = Embedder(machine.backend(), CONTRACT, tiny_model)
        with pytest.warns(UserWarning, match="1 box "):
            result, valid = embedder.embed_boxes(given, self.BOXES, colour, return_valid=True)
        with pytest.warns(UserWarning, match="1 box "):
            expected, before = Embedder(tiny.backend, CONTRACT, tiny_model).embed_boxes(
                frame, self.BOXES, colour, return_valid=True
            )
        assert valid.tolist() == before.tolist()
        assert (result[valid] * expected[valid]).sum(axis=1).min() > 0.9999  # a grey level at most apart
        assert not result[~valid].any()

    def test_more_boxes_than_a_profile_takes(self, machine, tiny):
        """In parts; row i is box i."""
        library()
        frame = sample_image(120, 200)
        corners = np.array([(5 * box, 3 * box, 5 * box + 20, 3 * box + 40) for box in range(9)])
        given, backend = ByInterface(machine.cuda, frame), machine.backend()
        crops = np.stack([resize(np.ascontiguousarray(frame[y1:y2, x1:x2]), (16, 8)) for x1, y1, x2, y2 in corners])
        near(backend.run_crops(given, "rgb", corners, (16, 8), CONTRACT.input), tiny.backend.run(crops))

    def test_a_contract_that_is_not_the_engines(self, machine):
        """The kernel would write floats where the engine has room for bytes."""
        given, backend = ByInterface(machine.cuda, sample_image(60, 50)), machine.backend()
        with pytest.raises(BackendError, match="input is NCHW of float32, the engine's another"):
            backend.run_crops(given, "rgb", np.array([(0, 0, 20, 40)]), (16, 8), FOREIGN.input)

    def test_a_crop_outside_every_profile(self, machine, tiny_model):
        given = ByInterface(machine.cuda, sample_image(120, 200))
        embedder = Embedder(machine.backend(), CONTRACT, tiny_model)
        with pytest.raises(BackendError, match="no profile of this engine takes 1 images of 16x1; the nearest"):
            embedder.embed_boxes(given, [(60, 3, 61, 118)], "rgb")

    def test_an_engine_that_gives_no_numbers(self, machine, tiny_model):
        embedder = Embedder(machine.backend(), CONTRACT, tiny_model)
        embed, given = machine.trt.embed, ByInterface(machine.cuda, sample_image(120, 200))
        machine.trt.embed = lambda batch: embed(batch) * np.float32(np.nan)
        with pytest.raises(BackendError, match="the model gave NaN"):
            embedder.embed_boxes(given, self.BOXES[:2], "rgb")

    def test_a_frame_of_another_kind(self, machine, tiny_model):
        embedder = Embedder(machine.backend(), CONTRACT, tiny_model)
        for values in (
            np.zeros((20, 20), np.uint8),
            np.zeros((20, 20, 3), np.float32),
            np.zeros((20, 20, 4), np.uint8),
        ):
            given = ByInterface(machine.cuda, values)
            with pytest.raises(ImageError, match=r"\(height, width, 3\) of uint8"):
                embedder.embed_boxes(given, [(0, 0, 20, 20)], "rgb")
        given = ByInterface(machine.cuda, np.zeros((20, 20, 3), np.uint8))
        with pytest.raises(ImageError, match="never guessed"):
            embedder.embed_boxes(given, [(0, 0, 20, 20)], None)

    def test_a_backend_of_the_host_says_so(self, machine, tiny):
        given = ByInterface(machine.cuda, sample_image(120, 200))
        with pytest.raises(BackendError, match="the frame is on the GPU, and onnxruntime cpu takes pixels of the host"):
            tiny.embed_boxes(given, self.BOXES, "rgb")
