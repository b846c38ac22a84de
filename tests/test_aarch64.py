"""On 64-bit ARM, played by qemu: the locked packages are there, and the vectors are those of this machine.

Debian's Python and the wheels of aarch64 are laid in a folder that qemu-user takes for the root.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reid_runtime import Embedder, read_embeddings

ROOT = Path(__file__).parents[1]
QEMU = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="needs qemu-user: qemu-aarch64"),
    pytest.mark.skipif(not shutil.which("dpkg-deb") or not KEYS.exists(), reason="needs Debian's apt and dpkg"),
]

# cpuinfo, in ONNX Runtime, crashes where it finds the host's, an x86's. What lies in the root goes before.
CORTEX_A72 = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""


def run(*words, timeout=600, **environment):
    done = subprocess.run(
        [*map(str, words)], capture_output=True, text=True, timeout=timeout, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, f"{words[:4]}: {done.stdout[-1500:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Runs Python 3.11 of aarch64 with what .ci/runtime.txt locks, and this checkout."""
    folder = tmp_path_factory.mktemp("aarch64")
    for name in ("state/lists/partial", "cache/archives/partial", "root/proc"):
        (folder / name).mkdir(parents=True)
    (folder / "state" / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] http://deb.debian.org/debian bookworm main\n")
    options = {
        "APT::Architecture": "arm64", "APT::Architectures": "arm64", "APT::Install-Recommends": "false",
        "Dir::State": f"{folder}/state", "Dir::State::status": f"{folder}/state/status",
        "Dir::Cache": f"{folder}/cache", "Dir::Etc::sourcelist": f"{folder}/sources.list",
        "Dir::Etc::sourceparts": "/dev/null", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    run(*apt, "update")
    run(*apt, "install", "-y", "--download-only", "python3", "libstdc++6")
    for package in (folder / "cache" / "archives").glob("*.deb"):
        run("dpkg-deb", "-x", package, folder / "root")
    (folder / "root" / "proc" / "cpuinfo").write_text(CORTEX_A72)
    platforms = [f"--platform=manylinux_2_{version}_aarch64" for version in range(28, 16, -1)]
    run(
        sys.executable, "-m", "pip", "install", "-q", "--target", folder / "packages", *platforms, "--python-version",
        "3.11", "--only-binary=:all:", "--no-deps", "--require-hashes", "-r", ROOT / ".ci" / "runtime.txt",
    )  # fmt: skip

    def line(*words):
        return run(
            QEMU, "-L", folder / "root", folder / "root/usr/bin/python3.11", *words,
            PYTHONPATH=f"{folder}/packages:{ROOT}", PYTHONDONTWRITEBYTECODE="1",
            OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
        )  # fmt: skip

    yield line
    shutil.rmtree(folder)


def test_it_is_another_machine(python):
    assert python("-c", "import platform; print(platform.machine())") == "aarch64\n"


@pytest.mark.parametrize("model", ["base", "small", "tiny"])
def test_the_vectors_are_those_of_this_machine(python, tmp_path, model):
    crops = ROOT / "examples" / "crops" / "person-01"
    python("-m", "reid_runtime", "embed", crops, "--model", model, "-o", tmp_path / "rows.npz")
    rows = read_embeddings(tmp_path / "rows.npz")
    expected = Embedder.load(model).embed([crops / name for name in rows.id.tolist()])
    assert rows.embedding.shape == (4, 256)
    assert np.abs(rows.embedding - expected).max() < 2e-6
    assert "ok      onnxruntime cpu" in python("-m", "reid_runtime", "verify", model, "--device", "cpu")
