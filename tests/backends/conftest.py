"""The place where the TensorRT backend is tried; what a test leaves behind on it is found."""

import pytest

from .tensorrt.on_fakes import Place


@pytest.fixture
def place(monkeypatch, tiny_model):
    place = Place(monkeypatch, tiny_model)
    yield place
    place.check()
