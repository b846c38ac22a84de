"""That device time is the device's: on a device that is only counted, for a host that is slower than it."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import device_time
from benchmarks.device_time import host_and_device, on_device_alone
from reid_runtime.errors import BackendError, MissingBackendError


class Device:
    """One stream that does what it was given when that was before, and a host whose time passes with each call."""

    def __init__(self):
        self.now = self.free = 0.0

    def work(self, host, device):
        self.now += host
        self.free = max(self.free, self.now) + device

    def wait(self):
        self.now = max(self.now, self.free)

    def torch(self):
        device = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self, stream):
                self.at = max(device.now, device.free)

            def query(self):
                return device.now >= self.at

            def synchronize(self):
                device.now = max(device.now, self.at)

            def elapsed_time(self, later):
                return 1e3 * (later.at - self.at)

        cuda = SimpleNamespace(Event=Event, stream=lambda stream: nullcontext(), synchronize=device.wait)
        return SimpleNamespace(
            cuda=cuda,
            ones=lambda shape, device: None,
            empty_like=lambda other: None,
            mm=lambda *_, out: device.work(0.0, 2e-3),
        )


@pytest.fixture
def device(monkeypatch):
    made = Device()
    monkeypatch.setitem(sys.modules, "torch", made.torch())
    return made


def test_a_host_that_queues_slowly_is_not_in_the_devices_time(device):
    def queue():  # ten kernels of 0.1 ms, each after 0.5 ms of the host
        for _ in range(10):
            device.work(5e-4, 1e-4)

    assert on_device_alone(queue, None, rounds=3, warmup=1) == [pytest.approx(1e-3)] * 3


def test_an_engine_that_waits_for_the_device_has_no_such_time(device):
    def queue():
        device.work(0.0, 1e-4)
        device.wait()

    with pytest.raises(BackendError, match="the engine waits for the device"):
        on_device_alone(queue, None, rounds=3, warmup=1)


def test_without_a_gpu_the_reason_is_said(monkeypatch, tiny):
    monkeypatch.setattr(device_time, "missing_torch_gpu", lambda: "there is none")
    with pytest.raises(MissingBackendError, match="there is none"):
        host_and_device(tiny, np.zeros((1, 64, 32, 3), np.uint8), 1, 1)
