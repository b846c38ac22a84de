"""With --log-format json all that comes on standard error is JSON, one object a line, whoever wrote it."""

import io
import json
import logging
import sys
import warnings

import pytest

from reid_runtime.cli import json_lines
from reid_runtime.cli.json_lines import JsonLines, is_asked_for

from ..sample_images import encode, sample_image


@pytest.fixture
def lines_of(command, monkeypatch):
    """The objects that a command writes; what it changes in this process is put back."""
    root, ours = logging.getLogger(), logging.getLogger("reid_runtime")
    handlers, level = [*root.handlers], ours.level

    def run(*words):
        monkeypatch.setattr(sys, "stderr", sys.stderr)
        done = command(*words, "--log-format", "json")
        return done.code, [json.loads(line) for line in done.err.splitlines()]

    yield run
    root.handlers[:] = handlers
    ours.setLevel(level)
    logging.captureWarnings(False)


def test_a_job(lines_of, tiny_model, tmp_path):
    (tmp_path / "a.png").write_bytes(encode(sample_image(48, 24, 0), "PNG"))
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    code, lines = lines_of("embed", tmp_path, "--model", tiny_model, "-o", tmp_path / "rows.npz")
    assert code == 3
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    (end,) = [line for line in lines if "stage_seconds" in line]
    assert (end["embedded"], end["failed"], end["logger"]) == (1, 1, "reid_runtime.jobs.job")
    assert any(line["message"].startswith("  b.png: ") for line in lines)
    messages = [line["message"] for line in lines]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("embed", "absent"), 2, "absent: no such file"),
        (("embed", "--sharp", "x"), 2, "--sharp"),
        (("embed",), 2, "PATH"),
    ],
)
def test_errors(lines_of, words, code, reason):
    exit_code, lines = lines_of(*words)
    assert exit_code == code
    assert lines[-1]["level"] == "error"
    assert reason in lines[-1]["message"]


def test_warnings_and_records_of_others(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    root = logging.getLogger()
    before = [*root.handlers]
    try:
        json_lines.begin()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("a warning", stacklevel=1)
        try:
            raise ValueError("a reason")
        except ValueError:
            logging.getLogger("other").exception("a failure", extra={"camera": 3})
        sys.stderr.write("not a whole")
        sys.stderr.write(" line")
        sys.stderr.flush()
    finally:
        root.handlers[:] = before
        logging.captureWarnings(False)
    first, second, third = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert first["level"] == "warning"
    assert "a warning" in first["message"]
    assert (second["camera"], second["logger"]) == (3, "other")
    assert "a reason" in second["traceback"]
    assert third["message"] == "not a whole line"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["embed", "--log-format", "json"], True),
        (["embed", "--log-format=json"], True),
        (["embed", "--log-format", "text"], False),
        (["embed", "--", "--log-format", "json"], False),
    ],
)
def test_what_asks_for_it(words, expected):
    assert is_asked_for(words) is expected


def test_bytes_are_refused():
    with pytest.raises(TypeError):
        JsonLines(sys.stderr).write(b"")


def test_closing_it_after_its_stream_is_no_error():
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.write("not whole")
    stream.close()
    lines.close()  # as the garbage collector does; Python 3.13 tells of errors in that
