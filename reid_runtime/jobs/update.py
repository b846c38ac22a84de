"""A folder of parts brought up to date: what is new or changed is embedded, parts in which nothing changed stay.

Parts stay as full as those of a new job, so the last one, if it is not full, is made again together with what is new.
"""

from collections.abc import Sequence
from itertools import islice
from typing import TypeVar

from reid_runtime.errors import StorageError
from reid_runtime.io.folder import Folder
from reid_runtime.jobs.job_input import JobInput
from reid_runtime.jobs.manifest import MANIFEST, Manifest, check_same_job, read_manifest
from reid_runtime.jobs.parts import Part, part_name, part_numbers, read_ids

Images = TypeVar("Images", bound=JobInput)


def updated(folder: Folder, job: Manifest, sources: Images) -> Images:
    """The images in the order in which the job goes on with them; parts of which something changed are removed.

    Raises StorageError where another job is in the folder; where there is none the order is as it was.
    """
    if MANIFEST not in folder.names():
        return sources
    before = read_manifest(folder)
    check_same_job(folder, before, job)
    position = {name: index for index, name in enumerate(sources.ids)}
    there: dict[int, Part | None] = {}
    kept: dict[int, list[int]] = {}
    for number in part_numbers(folder):
        try:
            part, ids = read_ids(folder, number)
        except StorageError:  # a damaged part is made again
            there[number] = None
            continue
        there[number] = part
        indices = sorted(position[name] for name in ids if name in position)
        if part.images == len(indices) == job.part_images and part.digest == sources.take(indices).digest(
            range(len(indices))
        ):
            kept[number] = indices
    sources = sources.take(_order(kept, len(sources), job.part_images))
    for number, made in there.items():
        images = job.images_of(number)
        if made is None or (made.images, made.digest) != (len(images), sources.digest(images)):
            folder.remove(part_name(number))
    return sources


def _order(kept: dict[int, list[int]], count: int, part_images: int) -> Sequence[int]:
    """All images, those of the parts that stay in their parts' places; too few others to fill the gaps end the last."""
    in_parts = {index for indices in kept.values() for index in indices}
    others = [index for index in range(count) if index not in in_parts]
    while kept and (max(kept) + 1 - len(kept)) * part_images > len(others):
        others = sorted(others + kept.pop(max(kept)))
    remaining = iter(others)
    parts = (kept.get(number) or [*islice(remaining, part_images)] for number in range(-(-count // part_images)))
    return [index for indices in parts for index in indices]
