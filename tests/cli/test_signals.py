"""Every command that works for long ends within two seconds of a signal, with its exit code, and leaves no litter."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reid_runtime import Gallery

from ..sample_images import encode, sample_image

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

ROOT = Path(__file__).parents[2]
COUNT = 20_000
TICKS = os.sysconf("SC_CLK_TCK")
RUNTIME = """if True:
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background hand down that it is ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    from reid_runtime.cli import main
    main()
"""
MODULE = """if True:
    import runpy, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv[:] = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
CHECKPOINT = "start.safetensors"
VERBS = {
    "embed": ["embed", "many", "-o", "out.npz"],
    "search": ["search", "one.bmp", "--in", "many"],
    "cluster": ["cluster", "many", "-o", "out.npz", "--threshold", "0.5"],
    "evaluate": ["evaluate", "many", "--names", "{identity}_{camera}_*", "--save", "out.npz"],
    "calibrate": ["calibrate", "many", "--names", "{identity}_{camera}_*", "-o", "out.json"],
    "gallery": ["gallery", "add", "out.gallery", "many", "--person", "anna"],
}
_STAGE = ["people", "--recipe", "recipe.toml", "--start", CHECKPOINT, "--terms", "x", "-o", "out"]
MODULES = {
    "classify": ["training", "classify", *_STAGE],
    "rank": ["training", "rank", *_STAGE],
    "to_onnx": ["export.to_onnx", CHECKPOINT, "-o", "out.onnx"],
    "to_int8": ["export.to_int8", "base.onnx", "-o", "out.onnx", "--for", "cpu", "--calibrate", "people"],
    "to_fp16": ["export.to_fp16", "base.onnx", "-o", "out.onnx"],
    "pipeline": ["export.pipeline", CHECKPOINT, "-o", "out", "--samples", "32"],
}
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_model):
    """A folder with a pile of images, some people and a checkpoint."""
    folder = tmp_path_factory.mktemp("place")
    content = encode(sample_image(20, 10), "BMP")
    (folder / "one.bmp").write_bytes(content)
    (folder / "many").mkdir()
    for number in range(COUNT):
        # What lies behind the pixels makes each another file, which labels take two of one for a mistake.
        (folder / f"many/{number % 40}_{number // 40 % 2}_{number}.bmp").write_bytes(
            content + number.to_bytes(4, "big")
        )
    shutil.copy(tiny_model, folder / "tiny.onnx")
    for person in range(12):
        for camera in range(2):
            (folder / f"people/p{person}/c{camera}").mkdir(parents=True)
            for number in range(4):
                image = encode(sample_image(128, 64, 100 * person + 10 * camera + number), "PNG")
                (folder / f"people/p{person}/c{camera}/{number}.png").write_bytes(image)
    return folder


@pytest.fixture(scope="module")
def checkpoint(place):
    pytest.importorskip("torch", reason="needs the extra train")
    pytest.importorskip("onnxscript", reason="needs the extra export")
    from training.run.checkpoint import untrained, write_checkpoint

    write_checkpoint(place / CHECKPOINT, untrained("osnet-1.0", 256))
    shutil.copy(ROOT / "reid_runtime/models/base.onnx", place)
    recipe = (ROOT / "training/recipes/two-cores.toml").read_text()
    (place / "recipe.toml").write_text(recipe.replace("mobilenetv2", "osnet-1.0"))


def processor_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def ended(place, words, number, seconds):
    """Start a command, send the signal once it has computed for so long; (exit code, seconds, what was said)."""
    for path in place.glob("*out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = {path.name for path in place.iterdir()}
    process = subprocess.Popen(
        [sys.executable, "-c", *words], cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        while process.poll() is None and processor_seconds(process) < seconds:
            time.sleep(0.05)
        assert process.poll() is None, f"it ended before the signal: {process.stderr.read()!r}"
        begin = time.monotonic()
        process.send_signal(number)
        code = process.wait(timeout=60)
        took = time.monotonic() - begin
    finally:
        process.kill()
    said = process.stderr.read()
    assert b"Traceback" not in said
    assert code == 128 + number
    # Where others compute too, a second of one's own takes several.
    assert took < 2 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), said
    litter = {path.name for path in place.iterdir()} - before
    assert not {name for name in litter if name.startswith(".")}, litter
    return litter


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("verb", VERBS)
def test_verbs(place, verb, number):
    kept = ended(place, [RUNTIME, *VERBS[verb], "--model", "tiny.onnx", "--device", "cpu"], number, 2.0)
    if verb == "embed":
        assert kept == {"out.partial.npz"}
    elif verb == "gallery":
        # What a call has acknowledged is there, and whole.
        if (place / "out.gallery").exists():
            with Gallery.open(place / "out.gallery") as gallery:
                assert not gallery.check().problems
    else:
        assert not kept


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("module", MODULES)
def test_modules(place, module, number):
    kept = ended(place, [MODULE, *MODULES[module]], number, 8.0)
    assert kept <= {"out"}
    if kept and module in ("classify", "rank"):
        files = {path.name for path in (place / "out").iterdir()}
        assert not {name for name in files if name.endswith(".part")}
    assert np.all([path.stat().st_size for path in place.rglob("*.onnx")])
