"""What `import reid_runtime` brings along."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import reid_runtime

CODE = """if True:
    import sys, json
    before = set(sys.modules)
    import reid_runtime
    assert not {"numpy", "PIL", "typing"} & (set(sys.modules) - before)
    assert all(hasattr(reid_runtime, name) for name in reid_runtime.__all__)
    print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))
"""


def test_import_is_light():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(run.stdout)) - sys.stdlib_module_names
    assert loaded <= {"reid_runtime", "numpy", "PIL", "cython_runtime", "defusedxml"}, loaded


def test_everything_public_is_there():
    assert all(hasattr(reid_runtime, name) for name in reid_runtime.__all__)


ALWAYS = ("backends.cuda", "backends.tensorrt", "backends.openvino", "backends.remote", "scoring", "evaluation", "cli")
EMBED = """if True:
    import sys
    import numpy
    from reid_runtime import Embedder
    embedder = Embedder.load(sys.argv[1])
    images = numpy.zeros((2, 20, 10, 3), numpy.uint8)
    embedder.embed(images, "rgb")
    embedder.embed_boxes(images[0], [(0, 0, 10, 20)], "rgb")
    print(*sys.modules)
"""


JOB = """if True:
    import sys
    from PIL import Image
    from reid_runtime import Embedder, embed_folder
    Image.new("RGB", (10, 20)).save("1.png")
    embed_folder(Embedder.load(sys.argv[1]), "1.png", "x.npz")
    print(*sys.modules)
"""


@pytest.mark.parametrize(("code", "rooms"), [(EMBED, (*ALWAYS, "jobs")), (JOB, ALWAYS)], ids=["embed", "embed_folder"])
def test_embedding_on_the_cpu_loads_no_room_it_does_not_need(tiny_model, tmp_path, code, rooms):
    pytest.importorskip("onnxruntime")
    root = str(Path(__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code, tiny_model],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    loaded = run.stdout.split()
    assert "reid_runtime.backends.onnx" in loaded
    assert not [name for name in loaded if name.startswith(tuple(f"reid_runtime.{room}" for room in rooms))]
