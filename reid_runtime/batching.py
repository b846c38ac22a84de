"""Same-shape batches: images of different sizes are never padded or stretched to meet in one batch.

Which images share a batch follows from their order and shapes alone, never from time or threads, so the same machine,
model and inputs give the same bytes. The input is cut into windows; the images of one shape in a window go in batches
of as many as the backend's `max_batch_pixels` allows. Jobs that can be resumed cut whole windows from the start and
their parts at multiples of WINDOW, so a resumed job forms the same batches as an uninterrupted one. CPU engines, once
there was enough work (`inference.Inference`), have small batches of a few consecutive images instead. ONNX Runtime and
OpenVINO on the CPU were measured to give an image the same bytes in a batch of any size; other engines do not.
"""

from collections.abc import Iterator, Sequence

WINDOW = 512
"""Images in which batches of one shape are looked for; also how many are prefetched.

Over 33 sizes a ResNet-50 in INT8 on OpenVINO keeps 0.65 of the rate that it has on one size with windows of 128, 0.77
with 256 and 0.87 with 512; in bfloat16 0.72, 0.86 and 0.94. Memory holds at most two windows of resized images, 100 MB
at 256 x 128 pixels; a job takes at most 500 MB with the default model, and took 315 with windows of 128.
"""


def same_shape_batches(shapes: Sequence[tuple[int, int]], max_pixels: int) -> Iterator[list[int]]:
    """The row numbers of `shapes` (height, width) as batches of one shape, each of at most `max_pixels` in all.

    Every row is in exactly one batch; rows keep their order within a shape, and shapes come in the order in
    which they first appear. An image larger than the budget is a batch of its own.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for row, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(row)
    for (height, width), rows in groups.items():
        limit = max(1, max_pixels // (height * width))
        for start in range(0, len(rows), limit):
            yield rows[start : start + limit]


def even_batches(images: int, limit: int) -> int:
    """How many images of one shape to give an engine at a time, to which each other number of them is a new shape.

    The limit if that divides them; else the number nearest to it, of those between half of it and twice as many, that
    does; else the limit. Fifteen images go five at a time where the limit is four.
    """
    dividing = [size for size in range(-(-limit // 2), 2 * limit + 1) if images % size == 0]
    return min(dividing, key=lambda size: (abs(size - limit), -size), default=limit)
