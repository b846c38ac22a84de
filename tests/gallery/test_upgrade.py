import dataclasses

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.errors import StorageError
from reid_runtime.gallery.enrol import Keeping, NewCrop, add_crops, find_crops
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.gallery.upgrade import MissingCropsError, _changed_neighbours
from reid_runtime.images.decode import load_image

from ..models import CONTRACT, write_model
from .tables import people

CROPS = "examples/crops"


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    """A model of another space: the same graph, after another contract."""
    contract = dataclasses.replace(CONTRACT, graph="another")
    return Embedder.load(write_model(tmp_path_factory.mktemp("newer") / "newer.onnx", contract))


@pytest.fixture
def gallery(tiny, tmp_path):
    with Gallery.create(tmp_path / "g.gallery", tiny.contract, tiny.artefact_id) as opened:
        add_crops(opened, tiny, find_crops([CROPS], None, "", None), Keeping())
        yield opened


def test_kept_crops_are_embedded_again_and_people_stay(gallery, newer):
    before = gallery.embeddings()
    done = gallery.upgrade(newer)
    after = gallery.embeddings()
    assert (done.before, done.after) == (before.contract_id, newer.contract.contract_id)
    assert after.contract_id == done.after
    assert (done.crops, done.left_out, done.people) == (len(before), 0, len(gallery.people()))
    assert np.array_equal(after.id, before.id)
    assert np.array_equal(after.identity, before.identity)
    kept = newer.embed([gallery.crop(name) for name in after.id.tolist()])
    assert np.allclose(after.embedding, kept, atol=1e-5)
    assert gallery._database.rows("SELECT COUNT(DISTINCT space), COUNT(*) FROM vector") == [(1, len(before))]
    assert not gallery.check().problems
    with pytest.raises(StorageError, match="already"):
        gallery.upgrade(newer)


def test_crops_without_an_image_are_refused_by_name(gallery, tiny, newer):
    crop = NewCrop("alone.jpg", f"{CROPS}/person-01/camera-1/view-1.jpg", "alone")
    add_crops(gallery, tiny, [crop], Keeping(crops=False))
    with pytest.raises(MissingCropsError, match=r"no_image: 1 crop .*alone\.jpg") as refused:
        gallery.upgrade(newer)
    assert refused.value.names == ("alone.jpg",)
    assert gallery.contract_id == tiny.contract.contract_id
    assert not gallery.check().upgrading_to
    assert gallery.upgrade(newer, leave_out=True).left_out == 1
    assert "alone" not in {person.name for person in gallery.people()}


def test_an_interrupted_upgrade_goes_on_and_nobody_notices_it_before(gallery, tiny, newer, monkeypatch):
    monkeypatch.setattr("reid_runtime.gallery.upgrade.WINDOW", 8)
    calls = []

    class Interrupted:
        contract, artefact_id = newer.contract, newer.artefact_id

        def stream(self, contents):
            calls.append(len(contents))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return newer.stream(contents)

    with pytest.raises(KeyboardInterrupt):
        gallery.upgrade(Interrupted())
    assert gallery.check().upgrading_to == newer.contract.contract_id
    assert gallery.embeddings().contract_id == tiny.contract.contract_id
    added = NewCrop("late.jpg", f"{CROPS}/person-01/camera-1/view-1.jpg", "late")
    add_crops(gallery, tiny, [added], Keeping())
    calls.clear()

    def counted(self, contents):
        calls.append(len(contents))
        return newer.stream(contents)

    monkeypatch.setattr(Interrupted, "stream", counted)
    done = gallery.upgrade(Interrupted())
    assert sum(calls) == len(gallery) - 16
    assert done.crops == len(gallery)
    assert "late.jpg" in gallery.embeddings().id
    with pytest.raises(StorageError, match="other_contract"):
        add_crops(gallery, tiny, [dataclasses.replace(added, id="later.jpg")], Keeping())


def test_who_changed_nearest_neighbours_is_reported():
    def at(*degrees):
        radians = np.repeat(np.radians(degrees), 3)
        vectors = np.zeros((12, 8), np.float32)
        vectors[:, 0], vectors[:, 1] = np.cos(radians), np.sin(radians)
        return dataclasses.replace(people(["anna", "ben", "eva", "ida"]), embedding=vectors)

    compared, changed = _changed_neighbours(at(0, 10, 90, 98), at(0, 10, 90, 25))
    assert compared == 4
    assert [(each.person, each.before, each.after) for each in changed] == [("ida", "eva", "ben")]
    assert np.isclose(changed[0].similarity_before, np.cos(np.radians(8)))
    assert np.isclose(changed[0].similarity_after, np.cos(np.radians(15)))


@pytest.mark.parametrize("keep", [True, False])
def test_a_kept_crop_is_small_and_without_the_files_metadata(tiny, tmp_path, keep):
    image_module = pytest.importorskip("PIL.Image")
    exif = image_module.Exif()
    exif[0x010E] = "where she lives"
    pixels = load_image(f"{CROPS}/person-01/camera-1/view-1.jpg")
    image_module.fromarray(pixels).resize((600, 1200)).save(tmp_path / "large.jpg", exif=exif)
    with Gallery.create(tmp_path / "g.gallery", tiny.contract, tiny.artefact_id) as gallery:
        add_crops(gallery, tiny, [NewCrop("large.jpg", str(tmp_path / "large.jpg"), "anna")], Keeping(crops=keep))
        jpeg = gallery.crop("large.jpg")
        assert (jpeg is not None) == keep
        if jpeg:
            assert load_image(jpeg).shape == (384, 192, 3)
            assert b"where she lives" not in jpeg
