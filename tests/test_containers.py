"""The Dockerfiles, built for real from a bare Debian, and their images: no root, a read-only root, no network.

Debian's debootstrap makes the base and buildah builds, in a chroot: no image of others is pulled, no daemon runs.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reid_runtime import Embedder, read_embeddings

ROOT = Path(__file__).parents[1]
TOOLS = ("debootstrap", "buildah", "unshare")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs root on Linux"),
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"),
]


def run(*words, timeout=900, **options):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=timeout, check=False, **options)
    assert done.returncode == 0, f"{words[:4]}: {done.stdout[-1500:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """What is sent to the builder, and buildah's options; the store has a Debian that nobody else made."""
    work = tmp_path_factory.mktemp("container")
    context, store = work / "context", ("--root", work / "store", "--runroot", work / "run", "--storage-driver", "vfs")
    (context / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "runtime.txt", context / ".ci")
    run(sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "--outdir", context / "dist", ROOT)
    run("debootstrap", "--variant=minbase", "bookworm", work / "base")
    base = run("buildah", *store, "from", "scratch").strip()
    run("buildah", *store, "add", base, work / "base", "/")
    run("buildah", *store, "commit", "--rm", base, "debian-of-debootstrap")
    yield context, store
    shutil.rmtree(work, ignore_errors=True)


@pytest.fixture(scope="module", params=["Dockerfile", "Dockerfile.gpu"])
def image(request, context):
    """The file system of an image, and its configuration."""
    folder, store = context
    # The certificates and the configuration of this machine's pip, for an index that is not the usual one.
    given = ["--volume", "/etc/ssl/certs:/certificates:ro", "--env", "PIP_CERT=/certificates/ca-certificates.crt"]
    for name in ("PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL"):
        given += ["--env", f"{name}={os.environ[name]}"] if name in os.environ else []
    run(
        "buildah", *store, "bud", "--isolation", "chroot", "--network", "host", *given, "-f", ROOT / request.param,
        "--build-arg", "BASE=localhost/debian-of-debootstrap", "-t", "reid-runtime", folder,
        timeout=3000,
    )  # fmt: skip
    container = run("buildah", *store, "from", "localhost/reid-runtime").strip()
    root = Path(run("buildah", *store, "mount", container).strip())
    yield root, json.loads(run("buildah", *store, "inspect", "--type", "image", "localhost/reid-runtime"))
    run("buildah", *store, "rm", container)


def inside(image, folder, *words):
    """Process 1 in the image, as its configuration says, with a read-only root, /tmp, /data and no network."""
    root, description = image
    config = description["OCIv1"]["config"]
    mounts = f"""
        mount --bind {root} {root} && mount -o remount,bind,ro {root} &&
        mount -t proc proc {root}/proc && mount -t tmpfs tmpfs {root}/tmp &&
        mount --bind {folder} {root}{config["WorkingDir"]} &&
        exec chroot --userspec={config["User"]}:{config["User"]} {root} \\
            env -i {" ".join(config["Env"])} sh -c 'cd {config["WorkingDir"]} && exec "$@"' sh "$@"
    """
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", mounts, "sh", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)


def test_it_embeds_as_nobody_in_a_read_only_root_without_network(image, tmp_path):
    os.chmod(tmp_path, 0o777)
    shutil.copytree(ROOT / "examples" / "crops", tmp_path / "crops")
    entry = image[1]["OCIv1"]["config"]["Entrypoint"]
    done = inside(image, tmp_path, *entry, "embed", "crops", "-o", "out.npz", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    rows = read_embeddings(tmp_path / "out.npz")
    assert (tmp_path / "out.npz").stat().st_uid == int(image[1]["OCIv1"]["config"]["User"]) != 0
    assert rows.artefact_id == Embedder.load().artefact_id
    expected = Embedder.load().embed([tmp_path / "crops" / name for name in rows.id.tolist()])
    assert (rows.embedding * expected).sum(axis=1).min() > 0.99999
    assert inside(image, tmp_path, *entry, "verify", "base", "--device", "cpu").returncode == 0
    for words in (["touch", "/opt/x"], ["touch", "/etc/x"], ["cat", "/etc/shadow"]):
        assert inside(image, tmp_path, *words).returncode != 0


def test_what_is_in_it_is_listed(image):
    root, _ = image
    listed = json.loads((root / "opt/reid-runtime/sbom.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    there = {each["name"].lower().replace("_", "-") for each in listed["components"]}
    assert {"reid-runtime", "numpy", "pillow", "pyarrow"} <= there
    packages = root / "opt/reid-runtime/lib/python3.11/site-packages"
    installed = {each.name.split("-")[0].lower().replace("_", "-") for each in packages.glob("*.dist-info")}
    assert installed <= there
    assert not {"torch", "pip"} & installed
