"""Addresses of served models: what is read of them, and what is none."""

import pytest

from reid_runtime.errors import BackendError
from reid_runtime.model_file.address import Address, is_address


def test_parts_and_defaults():
    assert Address.parse("kserve://host/reid") == Address("kserve", "host", 8000, "reid")
    assert Address.parse("kserve+grpc://host/reid").port == 8001
    address = Address.parse("kserve://[::1]:9000/re%20id/versions/2?timeout=5&patience=0.5&requests=2")
    assert str(address) == "kserve://[::1]:9000/re id/versions/2"
    assert (address.version, address.timeout, address.patience, address.requests) == ("2", 5.0, 0.5, 2)


@pytest.mark.parametrize(
    "text",
    [
        "kserve://host:8000",
        "kserve:///reid",
        "kserve://host:99999/reid",
        "kserve://host/reid/versions",
        "kserve://host/reid/other/2",
        "kserve://name:1234@host/reid",
        "kserve://host/reid?timeout=0",
        "kserve://host/reid?requests=1.5",
        "kserve://host/reid?retries=3",
        "kserve://host/reid?timeout=nan",
    ],
)
def test_no_address(text):
    with pytest.raises(BackendError, match="expected ") as error:
        Address.parse(text)
    assert "1234" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("kserve://h/m", True), ("kserve+grpc://h/m", True), ("http://h/m", False), ("kserve.onnx", False), (None, False)],
)
def test_is_address(model, expected):
    assert is_address(model) is expected
