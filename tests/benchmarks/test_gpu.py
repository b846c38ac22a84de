import shutil

import pytest

from benchmarks.gpu import NoGpuError, main


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU here")
def test_a_machine_without_a_gpu_is_told_why_nothing_is_measured():
    with pytest.raises(NoGpuError, match="nothing to measure") as caught:
        main.main([], standalone_mode=False)
    reasons = str(caught.value).splitlines()[1:]
    assert len(reasons) == 3
    assert "ONNX Runtime CUDA: device 'cuda' was asked for" in reasons[0]
    assert all("torch" in reason for reason in reasons[1:])
