"""Every code block of the README and of docs/ runs, a page in a session of its own, and gives the output that it shows.

`WRITE_DOCS=1 pytest tests/test_docs.py` writes the output that comes into the pages, to look at and commit.
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .pages import DATA, RUN, blocks, commands, difference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = 30
"""At most so many blocks of all pages do not run; it is lowered as they do."""
NEEDED = {"video.md": "cv2"}
"""Packages of extras that a page cannot do without."""

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


@pytest.fixture
def session(tmp_path, monkeypatch, command):
    """A folder with examples/, crops, a model, and `reid-runtime` and `python` on the path: session(block) runs it."""
    monkeypatch.chdir(tmp_path)
    for name in ("examples", "reid_runtime", "export", "training", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    people = ROOT / "examples/crops"
    shutil.copy(people / "person-05/camera-1/view-1.jpg", "anna-1.jpg")
    shutil.copy(people / "person-05/camera-1/view-2.jpg", "anna-2.jpg")
    shutil.copy(people / "person-01/camera-2/view-1.png", "ben.png")
    model = onnx.load(ROOT / "reid_runtime/models/tiny.onnx")
    del model.metadata_props[:]  # as a model of others is
    onnx.save(model, "model.onnx")
    bin_folder = tmp_path / ".bin"
    bin_folder.mkdir()
    (bin_folder / "python").symlink_to(sys.executable)
    (bin_folder / "reid-runtime").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reid_runtime "$@"\n')
    (bin_folder / "reid-runtime").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    frame, boxes = np.zeros((720, 1280, 3), np.uint8), []
    for left, name in ((200, "anna-1.jpg"), (600, "ben.png")):
        with Image.open(name) as crop:
            frame[100 : 100 + crop.height, left : left + crop.width] = np.asarray(crop.convert("RGB"))[..., ::-1]
            boxes.append([left, 100, left + crop.width, 100 + crop.height])
    namespace = {"frame": frame, "boxes": np.array(boxes, np.float32)}

    def shell(line):
        if re.fullmatch(r"reid-runtime [^|<>*$;&~#'\"]*", line.partition("  #")[0].strip()):
            run = command(*line.partition("  #")[0].split()[1:])
            return run.code, run.err + run.out
        words = ["bash", "-euo", "pipefail", "-c", line]
        run = subprocess.run(words, capture_output=True, text=True, timeout=120)
        return run.returncode, run.stderr + run.stdout

    def play(block):
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.code, f"line {block.line}", "exec"), namespace)
            return out.getvalue()
        output = ""
        for line, shown in commands(block.code):
            code, text = shell(line)
            text = "".join(each for each in text.splitlines(keepends=True) if not each.startswith("device auto: "))
            assert code == 0, f"line {block.line}: {line} ended with {code}:\n{text}"
            wrong = None if shown is None else difference(f"...{shown}...", text)
            assert wrong is None, f"line {block.line}: {line}\n{wrong}"
            output += text
        return output

    return play


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run_and_give_what_they_show(page, session):
    pytest.importorskip(NEEDED.get(page.name, "onnxruntime"))
    text = page.read_text(encoding="utf-8")
    outputs = []
    for block in blocks(text):
        if ".mp4" in block.code and page.name not in NEEDED and find_spec("cv2") is None:
            continue  # the rest of the page can do without
        if block.reason is None and block.ci is None:
            assert block.language in RUN, f"line {block.line}: {block.language} is neither run nor marked as not run"
            output = session(block)
            outputs.append((block, output))
            if block.expected is not None and "WRITE_DOCS" not in os.environ:
                wrong = difference(block.expected, output)
                assert wrong is None, f"line {block.line}: {wrong}"
    if "WRITE_DOCS" in os.environ:
        for block, output in reversed(outputs):
            if block.expected is not None and difference(block.expected, output):
                text = text[: block.span[0]] + output.rstrip() + "\n" + text[block.span[1] :]
        page.write_text(text, encoding="utf-8")


def test_skipped_blocks_are_counted():
    all_blocks = [block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"))]
    left_out = [block for block in all_blocks if block.reason]
    assert all(len(block.reason) > 10 for block in left_out)
    assert len(left_out) <= NOT_RUN < len(all_blocks) - len(left_out), (len(all_blocks), len(left_out))


def test_ci_runs_the_documented_commands():
    steps = (ROOT / ".ci/run").read_text(encoding="utf-8")
    named = [block.ci for page in PAGES for block in blocks(page.read_text(encoding="utf-8")) if block.ci]
    assert named
    assert all(re.search(rf"\breadme {name}\b", steps) for name in named)


def test_pages_link_to_pages_alone():
    """The site has no page for other files of the repository."""
    for page in PAGES[1:]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                file = (page.parent / target).resolve()
                assert file.is_relative_to(ROOT / "docs"), (page.name, target)
                assert file.is_file(), (page.name, target)


def test_every_page_is_in_the_navigation():
    named = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:])


@pytest.mark.parametrize(
    ("expected", "actual", "is_right"),
    [
        ("same: similarity 0.510", "same: similarity 0.512\n", True),
        ("same: similarity 0.510", "same: similarity 0.71\n", False),
        ("8 people", "9 people", False),
        ("b\n...\nd", "a\nb\nc\nc\nd\n", True),
        ("match: person-05 ... FPIR 1 %", "x: match: person-05\n  1\n FPIR 1 %\n", False),
        ("... match: person-05 ... FPIR 1 %", "x: match: person-05\n  1\n FPIR 1 %\n", True),
    ],
)
def test_outputs_are_compared(expected, actual, is_right):
    assert (difference(expected, actual) is None) == is_right


def test_data_is_not_code():
    assert not set(RUN) & set(DATA)
