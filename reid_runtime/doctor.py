"""What is on this machine, what is missing, and why: every device tried, every extra looked up. Nothing is changed.

A device is tried as a user would: the default model is loaded on it and embeds a few crops. TensorRT and the extras
are only looked up among the installed packages: it takes minutes to build an engine, and without a driver TensorRT can
end the process.
"""

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

import reid_runtime
from reid_runtime.backends.cuda.driver import missing_gpu
from reid_runtime.backends.registry import REGISTRY, Device
from reid_runtime.embedder import Embedder
from reid_runtime.install import install_line
from reid_runtime.model_file.file import artefact_digest, read_selftest
from reid_runtime.model_file.packaged import PACKAGED, selftest_images

_CPU_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI",
    "amx_int8": "AMX-INT8",
    "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX-BF16",
    "asimddp": "dot product",
    "i8mm": "I8MM",
    "bf16": "BF16",
}
"""What decides the speed of float32, INT8 and bfloat16, by the names in Linux' /proc/cpuinfo."""

_INNER = ("train", "timm", "export", "dev", "docs", "integrations")
"""Extras for a checkout, which the runtime never uses."""


@dataclass(frozen=True)
class Check:
    """Whether one thing can be used here."""

    name: str
    usable: bool
    detail: str
    """What was found; where it cannot be used, why, and what to do about it."""


@dataclass(frozen=True)
class DoctorReport:
    """What is on this machine and in this installation."""

    package: str
    """The version of reid-runtime."""
    python: str
    system: str
    cores: int
    """CPU cores that this process may use."""
    cpu_features: tuple[str, ...] | None
    """Those that matter for speed; None where the system does not tell."""
    gpu: Check
    cuda: Check
    """NVIDIA's libraries from pip; those of the system are not seen."""
    model: Check
    """The packaged models."""
    devices: tuple[Check, ...]
    extras: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether the default path works: the packaged models, intact, the first on the CPU."""
        cpu = next(check for check in self.devices if check.name == "cpu")
        return self.model.usable and cpu.usable


def run_checks() -> DoctorReport:
    """Try everything. Takes a few seconds; needs no network and writes nothing."""
    reason = missing_gpu()
    gpu = Check("NVIDIA GPU", reason is None, reason or "found by its driver")
    return DoctorReport(
        package=reid_runtime.__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        cpu_features=_cpu_features(),
        gpu=gpu,
        cuda=_cuda(),
        model=_model(),
        devices=tuple(
            _engine(name, device, gpu) if device.builds_engines else _device(name, device)
            for name, device in REGISTRY.items()
        ),
        extras=tuple(_extra(name, packages) for name, packages in _extras().items()),
    )


def _cpu_features(source: Path = Path("/proc/cpuinfo")) -> tuple[str, ...] | None:
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    return tuple(dict.fromkeys(title for flag, title in _CPU_FEATURES.items() if flag in present))


def _model() -> Check:
    name = "packaged models"
    try:
        for model in PACKAGED.values():
            read_selftest(model.path)  # which only a file whose every bit is as it was written gives
        digests = [f"{model.name} {artefact_digest(model.path)}" for model in PACKAGED.values()]
        return Check(name, True, ", ".join(digests))
    except Exception as error:  # a damaged installation fails in any way
        return Check(name, False, _message(error))


def _device(name: str, device: Device) -> Check:
    try:
        embedder = Embedder.load(device=name)
        vectors = embedder.embed(selftest_images())
        if not np.isfinite(vectors).all():
            return Check(name, False, f"{embedder.backend.name} gives vectors that are not finite")
    except Exception as error:  # whatever a broken package raises is what the user must hear
        return Check(name, False, _message(error))
    detail = f"{embedder.backend.name}, {_installed(device.packages)[0]}"
    if embedder.drift is not None:
        detail += f", least cosine to float32 {embedder.drift.worst_cosine:.4f}"
    return Check(name, True, detail)


def _engine(name: str, device: Device, gpu: Check) -> Check:
    """Looked up among the packages and not tried: an engine takes minutes to build."""
    installed = ", ".join(_installed(device.packages))
    if not installed:
        return Check(name, False, f"{device.packages[0]} is missing: {install_line(device.extra)}")
    if not gpu.usable:
        return Check(name, False, f"{installed}, and {gpu.detail}: install NVIDIA's driver")
    return Check(name, True, f"{installed}; not tried, an engine takes minutes to build")


def _cuda() -> Check:
    names = {str(each.metadata["Name"]) for each in metadata.distributions()}
    installed = _installed(sorted(name for name in names if name.startswith("nvidia-")))
    return Check("CUDA libraries", bool(installed), ", ".join(installed) or f"none from pip: {install_line('gpu')}")


def _extras() -> Mapping[str, list[str]]:
    """The packages of each extra that the runtime uses, as this package's own metadata name them."""
    extras: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires("reid-runtime") or []
    except metadata.PackageNotFoundError:
        return {}
    for requirement in requirements:
        match = re.match(r"([\w.-]+).*; *extra *== *['\"]([\w-]+)['\"]", requirement)
        if match and match[2] not in (*_INNER, "cpu", "gpu"):
            extras.setdefault(match[2], []).append(match[1])
    return extras


def _extra(name: str, packages: Iterable[str]) -> Check:
    absent = [package for package in packages if not _installed([package])]
    if absent:
        return Check(name, False, f"{', '.join(absent)} missing: {install_line(name)}")
    return Check(name, True, ", ".join(_installed(packages)))


def _installed(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are installed, with their versions."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return versions


def _message(error: Exception) -> str:
    """In one line, and with its kind where the words alone would say nothing."""
    words = " ".join(str(error).split())
    return words if words and isinstance(error, reid_runtime.ReidRuntimeError) else f"{type(error).__name__}: {words}"
