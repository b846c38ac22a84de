"""The place where the TensorRT backend is tried; what a test leaves behind on it is found."""

import pytest

from .tensorrt.fake_machine import FakeMachine


@pytest.fixture
def machine(monkeypatch, tiny_model):
    machine = FakeMachine(monkeypatch, tiny_model)
    yield machine
    machine.check()
