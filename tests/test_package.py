"""What `import reid_runtime` brings along."""

import json
import subprocess
import sys

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


def test_embedding_on_the_cpu_loads_no_room_it_does_not_need(tiny_model):
    pytest.importorskip("onnxruntime")
    run = subprocess.run([sys.executable, "-c", EMBED, tiny_model], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    assert "reid_runtime.backends.onnx" in loaded
    rooms = ("backends.cuda", "backends.tensorrt", "backends.openvino", "scoring", "evaluation", "jobs", "cli")
    assert not [name for name in loaded if name.startswith(tuple(f"reid_runtime.{room}" for room in rooms))]
