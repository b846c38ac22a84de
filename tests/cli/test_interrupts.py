"""The command as a process: on a terminal, in a pipe, interrupted and killed."""

import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_runtime.batching import WINDOW
from reid_runtime.images.decode import load_image
from reid_runtime.jobs import read_embeddings
from reid_runtime.jobs.manifest import PART_IMAGES
from reid_runtime.jobs.parts import part_name

from ..sample_images import encode, sample_image

pty = pytest.importorskip("pty", reason="no terminals here")

COUNT = 20_000
CODE = """if True:
    import signal
    from reid_runtime.cli import main
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background hand down that it is ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and those under nohup
    main()
"""
PROGRESS = re.compile(rb" [1-9][0-9]?%")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder in which one picture has very many names: enough work to be interrupted in."""
    folder = tmp_path_factory.mktemp("many")
    content = encode(sample_image(20, 10), "BMP")
    (folder / "0.bmp").write_bytes(content)
    for number in range(1, COUNT):
        os.symlink("0.bmp", folder / f"{number}.bmp")
    return folder


@pytest.fixture
def start(tiny_model, tmp_path):
    """Starts `reid-runtime embed`; what it gives is (process, its terminal)."""
    began = []

    def run(*arguments, ignored=None, code=CODE, model=tiny_model):
        mine, theirs = pty.openpty()
        if ignored is not None:
            code = CODE.replace("main()", f"signal.signal(signal.{ignored}, signal.SIG_IGN); main()")
        words = [sys.executable, "-c", code, "embed", *map(str, arguments)]
        process = subprocess.Popen(
            [*words, "--model", model, "--device", "cpu"],
            cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        began.append((process, mine))
        return process, mine

    yield run
    for process, mine in began:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(mine)


def read_until(terminal, pattern, seconds=60):
    """What the terminal shows, up to a pattern or (None) the end, as long as no such time passes in silence.

    It is counted in tenths, of which a machine that was stopped meanwhile, as a laptop that sleeps, loses one.
    """
    seen, silent = b"", 0
    while silent < 10 * seconds:
        if not select.select([terminal], [], [], 0.1)[0]:
            silent += 1
            continue
        silent = 0
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            part = b""
        seen += part
        if not part or (pattern is not None and pattern.search(seen)):
            return seen
    pytest.fail(f"{pattern} was not shown: {seen[-300:]!r}")


@pytest.mark.parametrize(
    ("number", "times", "code"),
    [(signal.SIGINT, 1, 130), (signal.SIGINT, 3, 130), (signal.SIGTERM, 1, 143), (signal.SIGHUP, 1, 129)],
)
def test_interrupted_file_job(start, many, tmp_path, number, times, code):
    process, terminal = start(many, "-o", "out.npz")
    read_until(terminal, PROGRESS)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.03)
    message = read_until(terminal, None).decode()
    assert process.wait(timeout=30) == code
    assert "Traceback" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.npz"]
    kept = read_embeddings(tmp_path / "out.partial.npz")
    assert 0 < len(kept) < COUNT
    assert kept.id.tolist() == sorted(path.name for path in many.iterdir())[: len(kept)]
    assert (
        f"ended after {len(kept):,} of {COUNT:,} images; what was finished is in out.partial.npz; to go on: " in message
    )


def test_nohup(start, many, tmp_path):
    """Who has a signal ignored wants it ignored."""
    process, terminal = start(many, "-o", "out.npz", ignored="SIGHUP")
    read_until(terminal, PROGRESS)
    process.send_signal(signal.SIGHUP)
    read_until(terminal, re.compile(rb" [2-9][0-9]%"))
    process.send_signal(signal.SIGTERM)
    read_until(terminal, None)
    assert process.wait(timeout=30) == 143


def test_killed_file_job(start, many, tmp_path):
    process, terminal = start(many, "-o", "out.npz")
    read_until(terminal, PROGRESS)
    process.kill()
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


SLOW_LAST = """if True:
    import time
    from reid_runtime import preparation
    from reid_runtime.cli import main
    decode = preparation.decode_image
    preparation.decode_image = lambda source, *more: time.sleep(60 * source.endswith("last")) or decode(source, *more)
    main()
"""


def endless_on_white(tiny_model, path, metadata=None):
    """The model, that never ends on a batch with bright pixels; a call of it takes no notice of signals."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    model = onnx.load(tiny_model)
    if metadata is not None:
        helper.set_model_props(model, metadata)
    infos = (
        ("i", kinds.INT64),
        ("more", kinds.BOOL),
        ("value", kinds.FLOAT),
        ("again", kinds.BOOL),
        ("same", kinds.FLOAT),
    )
    values = [helper.make_tensor_value_info(name, kind, None if kind == kinds.FLOAT else []) for name, kind in infos]
    nodes = [helper.make_node("Identity", ["more"], ["again"]), helper.make_node("Identity", ["value"], ["same"])]
    body = helper.make_graph(nodes, "body", values[:3], values[3:])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(200, np.float32), "grey"))
    nodes = [
        helper.make_node("ReduceMax", ["maximum"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "grey"], ["is_white"]),
        helper.make_node("Loop", ["", "is_white", "unit"], ["looped"], body=body),
    ]
    for node in nodes:
        model.graph.node.insert(len(model.graph.node) - 1, node)
    model.graph.node[-1].input[0] = "looped"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("where", ["decoding", "inferring"])
def test_signal_ends_what_takes_forever(start, many, tiny_model, tmp_path, where):
    """Within two seconds, and the window before it is kept."""
    (tmp_path / "last").write_bytes(encode(np.full((20, 10, 3), 255, np.uint8), "BMP"))
    (tmp_path / "list.txt").write_text("\n".join([*(f"{many}/{number}.bmp" for number in range(WINDOW)), "last"]))
    model = endless_on_white(tiny_model, tmp_path / "endless.onnx") if where == "inferring" else tiny_model
    process, terminal = start("list.txt", "-o", "out.npz", code=SLOW_LAST if where == "decoding" else CODE, model=model)
    read_until(terminal, re.compile(rb"9[0-9]%"))
    time.sleep(0.2)
    begin = time.monotonic()
    process.terminate()
    read_until(terminal, None)
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - begin < 2
    assert len(read_embeddings(tmp_path / "out.partial.npz")) == WINDOW


def test_failed_job_does_not_wait_for_the_model(many, tiny_model, tmp_path):
    """It ends with its error, and not below the thread that infers."""
    (tmp_path / "last").write_bytes(encode(np.full((20, 10, 3), 255, np.uint8), "BMP"))
    (tmp_path / "list.txt").write_text("\n".join(["nowhere", *[f"{many}/{n}.bmp" for n in range(WINDOW)], "last"]))
    model = endless_on_white(tiny_model, tmp_path / "endless.onnx")
    code = "from reid_runtime.__main__ import main; main()"
    words = ["embed", "list.txt", "--on-error", "raise", "--model", model, "--device", "cpu", "-o", "out.npz"]
    run = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, timeout=60)
    assert b"error: nowhere: cannot be read" in run.stderr
    assert run.returncode == 1


def test_signal_ends_a_call_that_takes_no_notice(tiny_model, tmp_path):
    """Of a model in the main thread."""
    model = endless_on_white(tiny_model, tmp_path / "endless.onnx", metadata={})
    process = subprocess.Popen([sys.executable, "-c", CODE, "describe", model], stderr=subprocess.PIPE)
    time.sleep(3)
    assert process.poll() is None
    begin = time.monotonic()
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - begin < 2
    assert process.stderr.read() == b""


SLOW_DISK = """if True:
    import ctypes, os, threading
    from reid_runtime.cli import main
    flush = os.fsync

    def slow(descriptor):
        lock = ctypes.CDLL(None).pthread_mutex_lock  # a call that no signal ends
        mutex = ctypes.create_string_buffer(64)
        lock(mutex)
        threading.Timer(3, ctypes.CDLL(None).pthread_mutex_unlock, [mutex]).start()
        lock(mutex)
        flush(descriptor)

    os.fsync = slow
    main()
"""


def test_signal_waits_for_what_is_being_written(start, many, tmp_path):
    process, terminal = start(many / "0.bmp", "-o", "out.npz", code=SLOW_DISK)
    end = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(".out.npz.*.part")):
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.3)
    process.terminate()
    read_until(terminal, None)
    assert process.wait(timeout=30) == 143
    assert len(read_embeddings(next(tmp_path.glob("out*.npz")))) == 1


@pytest.fixture(scope="module")
def several(many):
    """A list of six parts of pictures, the last one short; its path."""
    names = sorted(path.name for path in many.iterdir())[: 5 * PART_IMAGES + 100]
    path = many.parent / f"{many.name}.txt"
    path.write_text("".join(f"{many}/{name}\n" for name in names))
    return path


def wait_for_part(process, folder, number, seconds=60):
    """Until a part is there, or the process has ended."""
    end = time.monotonic() + seconds
    while not (folder / part_name(number)).exists() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_folder_job(start, several, tmp_path, number, code):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    process, terminal = start(several, "-o", "out/")
    wait_for_part(process, tmp_path / "out", 1)
    process.send_signal(number)
    message = read_until(terminal, None).decode()
    assert process.wait(timeout=30) == code
    assert "Traceback" not in message
    actual = sorted(path.name for path in (tmp_path / "out").iterdir())
    done = len(actual) - 1
    assert actual == ["manifest.json", *map(part_name, range(done))]
    assert 2 <= done < 6
    assert f"ended after {done} of 6 parts, {done * PART_IMAGES:,} of {5 * PART_IMAGES + 100:,} images" in message
    assert re.search(rf"to go on: reid-runtime embed --resume {several} -o out/ ", message)


def test_killed_job_resumes(start, several, tmp_path):
    """Killed three times, also between what it writes; then the bytes are those of one that nobody killed."""
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    moments = random.Random(1)
    for part in (0, 1, 3):
        process, _ = start(several, "-o", "out/", "--resume")
        wait_for_part(process, tmp_path / "out", part)
        time.sleep(moments.random() / 10)
        process.kill()
        process.wait(timeout=30)
    for arguments in (("-o", "out/", "--resume"), ("-o", "complete/")):
        process, terminal = start(several, *arguments)
        assert b"Traceback" not in read_until(terminal, None)
        assert process.wait(timeout=60) == 0
    actual, complete = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("out", "complete")
    )
    assert actual == complete
    assert read_embeddings(tmp_path / "out").id.tolist() == [*several.open().read().split()]


def test_second_job_is_locked_out(start, several, tmp_path):
    """While the first, which does not come to its end, is there; not once it is killed."""
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    (tmp_path / "last").write_bytes(encode(sample_image(20, 10), "BMP"))
    (tmp_path / "list.txt").write_text(f"{several.read_text()}last\n")
    first, _ = start("list.txt", "-o", "out/", code=SLOW_LAST)
    wait_for_part(first, tmp_path / "out", 0)
    second, terminal = start("list.txt", "-o", "out/", "--resume")
    assert b"another run is going on in out" in read_until(terminal, None)
    assert second.wait(timeout=30) == 1
    first.kill()
    first.wait(timeout=30)
    third, terminal = start("list.txt", "-o", "out/", "--resume")
    read_until(terminal, None)
    assert third.wait(timeout=60) == 0


IMPORTING = """if True:
    import os, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupted = sys.argv.pop(1)

    class Finder:
        @staticmethod
        def find_spec(name, *_):
            if name == interrupted:
                os.kill(os.getpid(), signal.SIGINT)

    sys.meta_path.insert(0, Finder)
    from reid_runtime.__main__ import main
    main()
"""


@pytest.mark.parametrize("module", ["reid_runtime.cli", "click", "numpy", "PIL.Image", "onnxruntime"])
def test_interrupted_import(module, tiny_model, tmp_path):
    picture_file = tmp_path / "1.png"
    picture_file.write_bytes(encode(sample_image(), "PNG"))
    run = subprocess.run(
        [sys.executable, "-c", IMPORTING, module, "embed", picture_file, "--model", tiny_model, "--device", "cpu"],
        cwd=tmp_path, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (run.returncode, run.stderr.strip()) == (130, b"")
    assert list(tmp_path.iterdir()) == [picture_file]


def test_progress_on_terminals_only(start, many, tmp_path, tiny_model):
    (tmp_path / "list.txt").write_text("".join(f"{many}/{number}.bmp\n" for number in range(300)))
    process, terminal = start("list.txt", "-o", "out.npz")
    shown = read_until(terminal, None).decode()
    assert process.wait(timeout=30) == 0
    assert "embedding  [" in shown
    assert "100%" in shown
    assert "embedded 300 of 300 images" in shown
    # In a pipe there is neither the bar nor what Pillow says of a damaged piece of metadata.
    maker = Image.Exif()
    maker[0x010F] = "a name that is too long to lie within its entry"
    start_of_exif = b"Exif\0\0MM\0*\0\0\0\x08\0"
    odd = encode(sample_image(), "JPEG", exif=maker).replace(start_of_exif + b"\1", start_of_exif + b"\x09")
    (tmp_path / "odd.jpg").write_bytes(odd)
    with pytest.warns(UserWarning, match="Corrupt EXIF data|Truncated|larger than file"):
        load_image(odd)
    names = b"".join((tmp_path / "list.txt").read_bytes().splitlines(keepends=True)[:299]) + b"odd.jpg\n"
    command = [Path(sys.executable).with_name("reid-runtime"), "embed", "-", "-o", "piped.npz"]
    piped = subprocess.run(
        [*command, "--model", tiny_model, "--device", "cpu"], cwd=tmp_path, input=names, capture_output=True, timeout=60
    )
    assert piped.returncode == 0
    assert (piped.stdout, len(piped.stderr.splitlines())) == (b"", 2)
    assert piped.stderr.startswith(b"embedded 300 of 300 images")


OWN_HANDLER = """if True:
    import os, signal, time
    import click
    from reid_runtime import cli

    cli._STUCK = 0.1

    @click.command()
    def training():
        signal.signal(signal.SIGTERM, lambda *_: print("heard"))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        print("saved")

    cli.run(training)
"""


def test_command_with_a_handler_of_its_own_has_its_time():
    """As `python -m training`, which finishes its update and saves."""
    done = subprocess.run([sys.executable, "-c", OWN_HANDLER], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, [b"heard", b"saved"])
