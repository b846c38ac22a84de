"""Same-shape batches: images of different sizes are never padded or stretched to meet in one batch."""

from collections.abc import Iterator, Sequence


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
