"""Progress: it only grows, whatever order TensorRT tells it in, and it can stop the build."""

import threading

import pytest

from reid_runtime.backends.tensorrt.progress import BuildProgress


def test_nested_phases():
    seen = []
    state = BuildProgress(lambda part, phase: seen.append((round(part, 3), phase)))
    state.start("build", None, 2)
    state.step("build")
    state.start("timing", "build", 5)
    for _ in range(5):
        assert state.step("timing")
    state.finish("timing")
    state.step("build")
    state.finish("build")
    parts = [part for part, _ in seen]
    assert parts == sorted(parts)
    assert seen[:4] == [(0, "build"), (0.5, "build"), (0.5, "timing"), (0.6, "timing")]
    assert parts[-1] == 1


def test_missing_steps_and_phases():
    seen = []
    state = BuildProgress(lambda part, phase: seen.append(part))
    state.start("build", None, 2)
    state.step("build")
    state.start("inner", "build that was not told", 3)
    state.finish("inner")
    assert state.step("inner")
    state.finish("never begun")
    assert seen == sorted(seen)
    assert seen[-1] == 1  # the inner phase had no parent, so it was all that there is


def test_cancelled():
    state = BuildProgress(lambda part, phase: None)
    state.start("build", None, 3)
    assert state.step("build")
    state.cancelled.set()
    assert not state.step("build")


def test_error_stops_the_build():
    def fail(part, phase):
        raise ValueError("no terminal")

    state = BuildProgress(fail)
    state.start("build", None, 3)
    assert not state.step("build")
    with pytest.raises(ValueError, match="no terminal"):
        raise state.failure


def test_threads():
    seen = []
    state = BuildProgress(lambda part, phase: seen.append(part))
    state.start("build", None, 400)
    threads = [threading.Thread(target=lambda: [state.step("build") for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
