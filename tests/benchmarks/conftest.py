"""What the benchmarks' tests share: crops, a drawn data set, a short setup, and rows."""

import dataclasses

import pytest

from benchmarks.cases import setup_from
from benchmarks.measurements import Part, Row
from benchmarks.timing import Budget
from tests.miniature import write_market

from ..sample_images import encode, sample_image

SHORT = Budget(rounds=2, queries=1, warmup=1, windows=1, scale=1)


def write_crops(folder, first=0):
    folder.mkdir()
    for seed in range(first, first + 4):
        (folder / f"{seed}.png").write_bytes(encode(sample_image(40 + 8 * seed, 24, seed), "PNG"))
    return folder


@pytest.fixture
def crops(tmp_path):
    return write_crops(tmp_path / "crops")


@pytest.fixture(scope="package")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "market"
    write_market(folder, identities=3, cameras=2, views=1)
    return folder


def setup_of(models, crops, devices=("cpu",), reference=None, data=None, budget=SHORT):
    made = setup_from(models, devices, reference, crops, data, None if data is None else "Drawn", None, True)
    return dataclasses.replace(made, budget=budget)


def row(part=Part.SINGLE_STREAM, seconds=(2.0,) * 6, **fields):
    """A row of a model on the CPU."""
    return Row(
        part, seconds=tuple(seconds), **{"model": "m", "engine": "onnxruntime cpu", "precision": "float32"} | fields
    )
