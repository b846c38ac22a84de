"""What every verb does alike: one short line for an error, escapes for what a terminal would obey, closed streams."""

import json
import os
import subprocess
import sys
import time

import click
import onnx
import pytest

from reid_runtime.backends import parse_device
from reid_runtime.cli import run, shortened
from reid_runtime.cli.progress import progress_bar
from reid_runtime.errors import BackendError, OptionsError, StorageError
from reid_runtime.io.text import in_one_line
from reid_runtime.report.markup import escaped

from ..sample_images import encode, sample_image


@pytest.fixture
def raising(monkeypatch, capsys):
    """A command that raises this, run to its end: (exit code, standard error)."""

    def end(error, *arguments):
        @click.command()
        @click.option("-v", is_flag=True)
        def command(v):
            raise error

        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        with pytest.raises(SystemExit) as left:
            run(command)
        return left.value.code, capsys.readouterr().err

    return end


def test_long_errors_are_cut(raising):
    path = "/" + "folder/" * 100 + "x.npz"
    code, line = raising(StorageError(f"{path}: the reason is first, " + "and much follows " * 50))
    assert (code, line.count("\n")) == (1, 1)
    assert line.startswith(f"error: {path}: the reason is first, and much follows")
    assert line.endswith(" ... (all of it: -v)\n")
    assert len(line) - len(path) <= 200 + len(" ... (all of it: -v)\n")
    _, text = raising(StorageError("reason " + "and much follows " * 50 + "the end"), "-v")
    assert text.splitlines()[0].endswith("the end")
    assert "Traceback" in text
    assert shortened("short") == "short"


def test_exit_codes(raising):
    assert raising(OptionsError("no"))[0] == 2
    code, line = raising(KeyError("nobody thought of it\n\x1b[31m"))
    assert (code, line.count("\n")) == (1, 1)
    assert line.startswith("error: KeyError: ")
    assert "\x1b" not in line
    assert "this is a fault of reid-runtime, -v prints where it is" in line


def test_what_terminals_obey():
    assert in_one_line("a\nb\x1b]0;t\x07\x9b1m\u202e\ud800ä") == r"a\nb\x1b]0;t\x07\x9b1m\u202e\ud800ä"


def test_strings_of_a_model_are_escaped(command, tiny_model, tmp_path):
    model = onnx.load(tiny_model)
    (entry,) = [each for each in model.metadata_props if each.key == "reid_runtime.contract"]
    name = "\x1b]0;owned\x07\nartefact   sha256:forged\x9b2J\ud800"
    entry.value = json.dumps(json.loads(entry.value) | {"name": name})
    del model.metadata_props[:]
    model.metadata_props.append(entry)
    onnx.save(model, tmp_path / "m.onnx")
    for options in ((), ("--json",)):
        result = command("describe", tmp_path / "m.onnx", *options)
        assert result.code == 0
        assert not {"\x1b", "\x07", "\x9b", "\ud800"} & {*result.out + result.err}
        assert not any(line.startswith("artefact   sha256:forged") for line in result.out.splitlines())
        assert "owned" in result.out


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "<&- >&- 2>&-"])
def test_closed_streams(tiny_model, tmp_path, closed):
    (tmp_path / "1.png").write_bytes(encode(sample_image(), "PNG"))
    words = f'"{sys.executable}" -m reid_runtime embed 1.png --model "{tiny_model}" --device cpu --json {closed}'
    assert subprocess.run(words, shell=True, cwd=tmp_path, timeout=60).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "embeddings.npz"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("gpu", ("cuda", 0)), ("cuda:1", ("cuda", 1)), ("gpu:12", ("cuda", 12)), ("cpu", ("cpu", 0))],
)
def test_devices_as_users_name_them(text, expected):
    assert parse_device(text) == expected


@pytest.mark.parametrize("text", ["", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "tensorrt:1", "mps"])
def test_no_device(text):
    with pytest.raises(BackendError, match=r"no device is called .* known: auto, cpu"):
        parse_device(text)


@pytest.mark.parametrize("resumed", [0, 4096])
def test_time_left(monkeypatch, resumed):
    """Images come a window at a time, each in a second: the time left is about what is left."""
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    shown = []

    def render(bar):
        if bar.pos and not bar.finished:
            shown.append((bar.pos, bar.eta))

    monkeypatch.setattr("click._termui_impl.ProgressBar.render_progress", render)
    with progress_bar(resumed + 20 * 512) as advance:
        advance(resumed)
        for _ in range(10):
            now[0] += 1
            for _ in range(512):
                advance()
    assert len(shown) == 10
    for position, eta in shown:
        left = 20 - position / 512
        assert left / 2 <= eta <= 2 * left


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8(command, tiny_model, tmp_path):
    name = os.fsdecode(b"\xff\x1b.jpg")
    (tmp_path / "pile").mkdir()
    (tmp_path / "pile" / name).write_bytes(encode(sample_image(40, 80), "JPEG"))
    query, model = tmp_path / "pile" / name, ("--model", tiny_model)
    assert command("search", query, "--in", tmp_path / "pile", *model).code == 0
    added = command("gallery", "add", tmp_path / "g.gallery", tmp_path / "pile", "--names", "{identity}", *model)
    assert (added.code, "added 1 crop" in added.err + added.out) == (0, True)
    assert "\x1b" not in escaped(name)


def test_nothing_is_clustered_where_no_image_can_be_used(command, tiny_model, tmp_path):
    (tmp_path / "bad.jpg").write_text("text")
    run = command("cluster", tmp_path / "bad.jpg", "-o", tmp_path / "out", "--model", tiny_model, "--threshold", "0.5")
    assert run.code == 1
    assert "the only image cannot be used, and" in run.err
    assert not (tmp_path / "out").exists()
