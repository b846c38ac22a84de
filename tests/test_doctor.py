"""doctor says what is missing and why, and fails exactly where the default path does not work."""

import dataclasses
import json
import sys
from importlib import metadata

import numpy as np
import pytest

from reid_runtime import __version__, doctor
from reid_runtime.backends import REGISTRY
from reid_runtime.embedder import Embedder
from reid_runtime.install import install_line
from reid_runtime.model_file.file import artefact_digest
from reid_runtime.model_file.packaged import PACKAGED, Packaged

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def checks():
    return doctor.run_checks()


@pytest.fixture
def only_cpu(monkeypatch):
    """The other devices take seconds."""
    monkeypatch.setattr(doctor, "REGISTRY", {"cpu": REGISTRY["cpu"]})


def by_name(findings):
    return {each.name: each for each in findings}


def without(monkeypatch, *packages, **versions):
    """These packages are not installed; others have these versions, by name with _ for -."""
    whole = metadata.version

    def version(name):
        if name in packages:
            raise metadata.PackageNotFoundError(name)
        return versions.get(name.replace("-", "_")) or whole(name)

    monkeypatch.setattr(metadata, "version", version)


def test_everything_is_looked_at(checks):
    assert checks.ok
    assert checks.package == __version__
    assert f"{sys.version_info.major}.{sys.version_info.minor}." in checks.python
    assert checks.cores >= 1
    for model in PACKAGED.values():
        assert f"{model.name} {artefact_digest(model.path)}" in checks.model.detail
    assert list(by_name(checks.devices)) == list(REGISTRY)
    cpu = by_name(checks.devices)["cpu"]
    assert cpu.usable
    assert cpu.detail == f"onnxruntime cpu, onnxruntime {metadata.version('onnxruntime')}"
    assert {"parquet", "openvino"} <= set(by_name(checks.extras))


def test_missing_parts_come_with_reason_and_remedy(checks):
    for each in (*checks.devices, *checks.extras):
        assert each.detail
        if not each.usable:
            assert any(word in each.detail for word in ("pip install", "install NVIDIA's driver", "use device"))


def test_a_device_counts_only_when_it_gives_vectors(monkeypatch, only_cpu):
    monkeypatch.setattr(Embedder, "embed", lambda *_: np.full((4, 256), np.nan, np.float32))
    checks = doctor.run_checks()
    assert not checks.ok
    assert "not finite" in by_name(checks.devices)["cpu"].detail


def test_two_onnx_runtimes_fail(monkeypatch, only_cpu):
    without(monkeypatch, onnxruntime="1.20.0", onnxruntime_gpu="1.23.0")
    checks = doctor.run_checks()
    assert not checks.ok
    assert "both onnxruntime 1.20.0 and onnxruntime-gpu 1.23.0" in by_name(checks.devices)["cpu"].detail
    assert "pip uninstall" in by_name(checks.devices)["cpu"].detail


def test_missing_onnx_runtime_fails(monkeypatch, only_cpu):
    without(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    checks = doctor.run_checks()
    assert not checks.ok
    assert install_line("cpu") in by_name(checks.devices)["cpu"].detail


def test_damaged_model_fails(monkeypatch, only_cpu, tmp_path):
    damaged = tmp_path / "tiny.onnx"
    content = bytearray(PACKAGED["tiny"].path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(Packaged, "path", property(lambda model: damaged))
    checks = doctor.run_checks()
    assert not checks.ok
    assert not checks.model.usable
    assert "damaged" in checks.model.detail


def test_extras_that_only_a_checkout_needs_are_left_out(monkeypatch, only_cpu):
    extras = ("cpu", "parquet", "train", "timm", "export", "dev", "docs", "integrations")
    monkeypatch.setattr(metadata, "requires", lambda name: [f'numpy>=1; extra == "{extra}"' for extra in extras])
    assert [each.name for each in doctor.run_checks().extras] == ["parquet"]


def test_extra_names_its_missing_package(monkeypatch, only_cpu):
    without(monkeypatch, "pyarrow")
    parquet = by_name(doctor.run_checks().extras)["parquet"]
    assert (parquet.usable, parquet.detail) == (False, f"pyarrow missing: {install_line('parquet')}")


def test_tensorrt_is_never_imported(monkeypatch):
    without(monkeypatch, tensorrt="11.4.0")
    monkeypatch.setattr(doctor, "REGISTRY", {name: REGISTRY[name] for name in ("cpu", "tensorrt")})
    monkeypatch.setattr(doctor, "missing_gpu", lambda: "no NVIDIA driver: libcuda.so.1")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    device = by_name(doctor.run_checks().devices)["tensorrt"]
    assert not device.usable
    assert "tensorrt 11.4.0" in device.detail
    assert "no NVIDIA driver" in device.detail
    assert "tensorrt" not in sys.modules


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni avx_vnni amx_bf16\n", ("AVX2", "AVX-512", "VNNI", "AMX-BF16")),
        ("Features\t: fp asimd asimddp i8mm bf16\n", ("dot product", "I8MM", "BF16")),
        ("processor : 0\n", ()),
    ],
)
def test_cpu_features_that_matter(tmp_path, text, features):
    source = tmp_path / "cpuinfo"
    source.write_text(text)
    assert doctor._cpu_features(source) == features


def test_a_system_that_does_not_tell_its_cpu_features(tmp_path):
    assert doctor._cpu_features(tmp_path / "absent") is None


@pytest.fixture
def examined(checks, monkeypatch):
    """The command over a finding that is there already."""
    monkeypatch.setattr("reid_runtime.cli.doctor.run_checks", lambda: checks)
    return checks


def test_the_command_on_one_screen(command, examined):
    run = command("doctor")
    assert run.code == 0
    assert run.err == ""
    assert len(run.out.splitlines()) <= 40
    for each in (examined.model, *examined.devices, *examined.extras):
        assert f"{'ok' if each.usable else '--'}  {each.name} " in run.out
        assert each.detail in run.out


def test_the_command_as_json(command, examined):
    run = command("doctor", "--json")
    assert run.code == 0
    facts = json.loads(run.out)
    assert facts["ok"] is True
    assert {each["name"]: each["usable"] for each in facts["devices"]} == {
        each.name: each.usable for each in examined.devices
    }


def test_the_command_fails_where_the_default_path_does(command, monkeypatch, checks):
    broken = dataclasses.replace(checks, model=dataclasses.replace(checks.model, usable=False))
    monkeypatch.setattr("reid_runtime.cli.doctor.run_checks", lambda: broken)
    for flags in ((), ("--json",)):
        assert command("doctor", *flags).code == 1
