"""What `import reid_runtime` brings along."""

import json
import subprocess
import sys

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
