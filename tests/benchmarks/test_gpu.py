import pytest

torch = pytest.importorskip("torch", reason="needs the extras train and export")

from benchmarks.gpu import NoGpuError, main, missing_gpu


def test_a_machine_without_a_gpu_is_told_why_nothing_is_measured():
    if missing_gpu() is None:
        pytest.skip("there is a GPU here")
    with pytest.raises(NoGpuError, match=r"nothing to measure: torch .* (without CUDA|sees no GPU)"):
        main.main([], standalone_mode=False)
