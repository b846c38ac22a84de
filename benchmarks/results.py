"""The one schema of results: what was measured, on what, every sample kept."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt")


@dataclass(frozen=True)
class Row:
    """One measured case."""

    case: str
    """What was run: engine, device, precision."""
    setting: Mapping[str, Any]
    """What was varied: height, width, batch, threads, ..."""
    seconds: tuple[float, ...]
    """Every counted sample."""
    items: int
    """Images, queries or whatever one sample works on."""
    facts: Mapping[str, float]
    """What else was measured beside the time: cosine to the reference, peak memory, ..."""


@dataclass(frozen=True)
class Report:
    """A benchmark's rows and the place they were measured in."""

    benchmark: str
    environment: Mapping[str, Any]
    rows: tuple[Row, ...]

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def environment() -> dict[str, Any]:
    """The machine, the packages and the state of the source, as far as they can be told."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions,
        "gpus": _gpus(),
        "git": _git(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _gpus() -> list[str]:
    """Name and driver of each NVIDIA GPU, as the driver's own tool tells them."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return told.stdout.strip().splitlines()


def _git() -> str | None:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
