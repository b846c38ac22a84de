"""A CUDA driver without a GPU: driver.cpp, compiled."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parents[2] / "reid_runtime" / "backends" / "cuda"


def never_called():
    """What PyCUDA's library wants of the driver, whether it is called or not."""
    spec = importlib.util.find_spec("pycuda")
    if spec is None:
        return ""
    library = next(Path(spec.origin).parent.glob("_driver*.so"))
    listing = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in listing.stdout.splitlines()}
    ours = (HERE / "driver.cpp").read_text()
    return "".join(f"NEVER({name})\n" for name in sorted(names) if name.startswith("cu") and f" {name}(" not in ours)


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """The folder of a libcuda.so.1."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "rest.h").write_text(never_called())
    # Nothing else is seen from outside: NVRTC has a C++ library of its own inside, which must not meet ours.
    (folder / "seen").write_text("{ global: cu*; live_objects; local: *; };")
    flags = ["-O1", "-ffp-contract=off", "-shared", "-fPIC", "-w", "-I", KERNELS, f'-DREST="{folder}/rest.h"']
    # Without a soname: loaded by its path it is not taken for the machine's driver by whoever looks for that later.
    flags += [f"-Wl,--version-script={folder}/seen", "-o", folder / "libcuda.so.1"]
    subprocess.run(["g++", *flags, HERE / "driver.cpp", "-ldl"], check=True)
    return folder
