"""Nothing is written to the home folder and no network is used: by our code, ONNX Runtime or OpenVINO."""

import os
import shutil
import subprocess
import sys

import pytest

from .sample_images import encode, sample_image

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CODE = """
import os, sys, time
from reid_runtime.cli import main
devices, *lines = sys.argv[1:]
for line in lines:
    try:
        sys.argv = ["reid-runtime", *line.split()]
        main()
    except SystemExit as end:
        assert not end.code, (line, end.code)
from reid_runtime import Embedder
embedders = [Embedder.load(device=device) for device in ("cpu", "openvino") if device in devices]
end = time.monotonic() + float(os.environ["SECONDS"])
while time.monotonic() < end:
    for embedder in embedders:
        embedder.embed(["crop.png"])
    time.sleep(0.2)
descriptors = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
sockets = [os.readlink(name) for name in descriptors if os.path.lexists(name) and "socket" in os.readlink(name)]
assert not sockets, sockets
"""


def run(folder, devices, *lines, seconds=0.0, prefix=()):
    """A fresh process with an empty home; gives the files that are in the home after it."""
    (folder / "crop.png").write_bytes(encode(sample_image(), "PNG"))
    home = folder / "home"
    home.mkdir()
    unset = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "REID_RUNTIME_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": str(home), "SECONDS": str(seconds), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    line = [*prefix, sys.executable, "-c", CODE, devices, *lines]
    subprocess.run(line, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def test_home_stays_empty(tmp_path):
    """By embed, and by doctor, which tries every device."""
    assert run(tmp_path, "cpu", "embed crop.png -o out.npz", "doctor") == []
    assert (tmp_path / "out.npz").is_file()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_traced_minute_uses_no_network(tmp_path):
    pytest.importorskip("openvino")
    trace = tmp_path / "trace.txt"
    prefix = ("strace", "-f", "-qq", "-e", "trace=network", "-o", str(trace))
    assert run(tmp_path, "cpu openvino", seconds=60, prefix=prefix) == []
    assert "socket(" not in trace.read_text()
