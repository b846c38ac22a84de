"""The self-test record: read as written, strict about the rest, small, and in the default model."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from reid_runtime.errors import ContractError, DamagedFileError, ReidRuntimeError
from reid_runtime.images.decode import load_image
from reid_runtime.model_file.packaged import default_model
from reid_runtime.model_file.selftest import SelfTest, text_digest, verified_record

RECORD = SelfTest("sha256:00", "sha256:01", (b"one", b"two"), np.arange(8, dtype=np.float32).reshape(2, 4) / 7)


def test_round_trip():
    actual = SelfTest.from_json(RECORD.to_json(), "here")
    assert (actual.graph, actual.contract, actual.images) == ("sha256:00", "sha256:01", (b"one", b"two"))
    assert np.array_equal(actual.vectors, RECORD.vectors)
    assert actual.vectors.dtype == np.float32
    assert actual.to_json() == RECORD.to_json()


def sealed(**changes):
    """The JSON with other values and a digest that fits them."""
    values = {name: value for name, value in json.loads(RECORD.to_json()).items() if name != "record"} | changes
    values["record"] = text_digest(json.dumps(values, sort_keys=True))
    return json.dumps(values, sort_keys=True)


def test_another_version_is_refused():
    with pytest.raises(
        ContractError, match=r"m\.onnx: the self-test record's version is 2, this release reads version 1"
    ):
        SelfTest.from_json(sealed(version=2), "m.onnx")


NAN = base64.b64encode(np.full(4, np.nan, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "found list"),
        (sealed(more=1), "'more'"),
        (sealed(images=5), "cannot be read"),
        (sealed(images=["%"], vectors=["%"]), "cannot be read"),
        (sealed(vectors=["AAA="] * 2), "cannot be read"),
        (sealed(vectors=json.loads(RECORD.to_json())["vectors"][:1]), "found 1 for 2"),
        (sealed(images=[], vectors=[]), "found 0 for 0"),
        (sealed(vectors=[NAN, NAN]), "finite"),
        (RECORD.to_json().replace("sha256:01", "sha256:02"), "its own digest"),
        (RECORD.to_json() + " ", "its own digest"),
        (RECORD.to_json().replace('"version": 1', '"version": 1, "version": 1'), "its own digest"),
    ],
)
def test_foreign_record_is_refused(text, said):
    with pytest.raises(DamagedFileError, match=said):
        SelfTest.from_json(text, "m.onnx")


def test_every_flipped_bit_of_a_record_is_seen():
    content = RECORD.to_json().encode()
    for offset in range(len(content)):
        for bit in range(8):
            altered = bytearray(content)
            altered[offset] ^= 1 << bit
            with pytest.raises((ReidRuntimeError, UnicodeDecodeError)):
                SelfTest.from_json(altered.decode(), "here")


def test_the_default_model_carries_one():
    record = verified_record(default_model())
    assert record is not None
    shapes = [load_image(image).shape[:2] for image in record.images]
    assert len(set(shapes)) < len(shapes), "two crops share a batch"
    assert any(height < width for height, width in shapes)
    assert any(side % 2 for shape in shapes for side in shape)
    assert max(map(max, shapes)) > 512, "one is shrunk by every resize rule in use"


def test_a_record_of_2048_numbers_a_vector_stays_small():
    pytest.importorskip("onnx")
    from export.graph import selftest_images

    crops = selftest_images()
    vectors = np.random.default_rng(0).normal(size=(len(crops), 2048)).astype(np.float32)
    assert len(dataclasses.replace(RECORD, images=crops, vectors=vectors).to_json()) <= 60_000
