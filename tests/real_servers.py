"""Servers that exist, started on loopback: Triton as nvidia-pytriton ships it, MLServer, KServe's Python server.

Each has a virtual environment of its own below REID_SERVERS (or ~/servers), for their requirements do not agree; one
that is not there skips its tests. `docs/serving.md` says how they are made.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_PATIENCE = 120.0


def environment_of(name):
    """The virtual environment of a server; skips the test where there is none."""
    folder = Path(os.environ.get("REID_SERVERS", Path.home() / "servers")) / name
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"no virtual environment of {name} in {folder}: docs/serving.md says how it is made")
    return folder


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(line, ready, log, **options):
    """A server's process, from when `ready`, a URL, answers; killed at the end, if it is there still."""
    with open(log, "ab") as output:
        process = subprocess.Popen(line, stdout=output, stderr=output, start_new_session=True, **options)
    try:
        end = time.monotonic() + _PATIENCE
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the server did not start: {Path(log).read_text()[-2000:]}")
            time.sleep(0.3)
        yield process
    finally:
        kill(process)


def kill(process):
    """kill -9 of the server and of what it has started, as a machine that goes away."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def triton(repository, ports, folder):
    """Triton with its Python backend, whose stub for this Python is laid beside it; `ports` are of HTTP and gRPC."""
    venv = environment_of("triton")
    (packages,) = venv.glob("lib/python3.*/site-packages")
    server = packages / "pytriton" / "tritonserver"
    backends = folder / "backends"
    if not backends.exists():
        shutil.copytree(server / "backends", backends)
        stub = server / "python_backend_stubs" / packages.parent.name.removeprefix("python")
        shutil.copy(stub / "triton_python_backend_stub", backends / "python")
    return running(
        [
            server / "bin" / "tritonserver", f"--model-repository={repository}", f"--backend-directory={backends}",
            "--http-address=127.0.0.1", f"--http-port={ports[0]}", "--grpc-address=127.0.0.1",
            f"--grpc-port={ports[1]}", "--allow-metrics=false",
        ],
        f"http://127.0.0.1:{ports[0]}/v2/health/ready",
        folder / "triton.log",
        env=os.environ | {
            "PATH": f"{venv}/bin:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": f"{packages}/nvidia_pytriton.libs",
        },
    )  # fmt: skip


def python_server(name, line, ready, folder):
    """A server of a Python package, which finds this checkout."""
    venv = environment_of(name)
    return running(
        [venv / "bin" / line[0], *line[1:]], ready, folder / f"{name}.log", cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
