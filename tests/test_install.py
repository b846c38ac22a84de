"""The line that installs an extra fits to how the package came here, as pip wrote it down."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from reid_runtime.install import install_line

COMMIT = "0" * 40
CHECKOUT = Path(__file__).parents[1]
NAMED = 'pip install "reid-runtime[video]"'


@pytest.fixture
def came_from(monkeypatch):
    """The package has this direct_url.json; None: an index had it."""

    def put(origin):
        text = origin if origin is None or isinstance(origin, str) else json.dumps(origin)
        distribution = type(
            "Distribution", (), {"read_text": lambda self, name: text if name == "direct_url.json" else None}
        )
        monkeypatch.setattr(metadata, "distribution", lambda name: distribution())

    return put


def test_from_a_checkout(came_from, tmp_path, monkeypatch):
    folder = tmp_path / "my checkout"
    folder.mkdir()
    came_from({"url": folder.as_uri(), "dir_info": {"editable": True}})
    assert install_line("video") == f'pip install -e "{folder}[video]"'
    monkeypatch.chdir(folder)
    assert install_line("video") == 'pip install -e ".[video]"'
    came_from({"url": folder.as_uri(), "dir_info": {}})
    assert install_line("gpu", "--force-reinstall") == 'pip install --force-reinstall ".[gpu]"'


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ({"url": "https://x.org/reid.whl", "archive_info": {}}, "reid-runtime[video] @ https://x.org/reid.whl"),
        (
            {"url": "https://x.org/r.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"reid-runtime[video] @ git+https://x.org/r.git@{COMMIT}",
        ),
    ],
)
def test_from_elsewhere(came_from, origin, source):
    came_from(origin)
    assert install_line("video") == f'pip install "{source}"'


def test_from_a_wheel(came_from, tmp_path):
    wheel = tmp_path / "reid_runtime-1-py3-none-any.whl"
    wheel.touch()
    came_from({"url": wheel.as_uri(), "archive_info": {}})
    assert install_line("video") == f'pip install "{wheel}[video]"'
    wheel.unlink()
    assert install_line("video") == NAMED


@pytest.mark.parametrize("origin", [None, "", "{", "[]", "{}", {"url": "file:///is/gone", "dir_info": {}}])
def test_from_an_index_or_nobody_knows(came_from, origin):
    came_from(origin)
    assert install_line("video") == NAMED


def test_nobody_writes_such_a_line_by_hand():
    folders = ("reid_runtime", "training", "export", "benchmarks", "examples")
    sources = [path for folder in folders for path in Path(folder).rglob("*.py") if path.name != "install.py"]
    by_hand = re.compile(r"pip install [^{\n]*reid-runtime\[")
    assert len(sources) > 200
    assert [path for path in sources if by_hand.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("export.to_onnx --help", "onnx", "export"),
        ("export.to_int8 small --for cpu -o small.onnx", "onnx", "export"),
        ("training --help", "torch", "train"),
        ("benchmarks random-weights --help", "onnx", "openvino,train,export"),
        ("benchmarks --help", "onnx", None),
        ("reid_runtime models", "onnx", None),
    ],
)
def test_a_command_of_the_checkout_says_in_one_line_what_it_lacks(tmp_path, command, package, extra):
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}"}
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    if extra is None:
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {package} is needed and missing: pip install ")
    assert f"[{extra}]" in line
