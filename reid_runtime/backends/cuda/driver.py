"""What this machine has of NVIDIA's: asked of the driver itself, so that a failure can be told with its reason."""

import ctypes
import sys


def missing_gpu() -> str | None:
    """Why no NVIDIA GPU can be used here; None where the driver says that one can."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError as error:
        return f"no NVIDIA driver: {error}"
    code = int(driver.cuInit(0))
    return None if code == 0 else f"no GPU that the NVIDIA driver can use (cuInit gives {code})"
