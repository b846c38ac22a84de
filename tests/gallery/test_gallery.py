import dataclasses
import sqlite3

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.gallery import AdmissionPolicy, CropImage, Gallery

from ..models import CONTRACT
from .tables import images, new_gallery, people


@pytest.fixture
def gallery(tmp_path):
    with new_gallery(tmp_path / "g.gallery") as opened:
        yield opened


def codes(added):
    return {each.id: each.codes for each in added.refused}


def test_what_is_added_comes_back(gallery, tmp_path):
    rows = people(
        ["anna", "ben"], camera=np.array(["a", "b", ""] * 2), time=np.array([5.0, 1.0, np.nan] * 2),
        track=np.array(["t1"] * 6), reasons=np.array(["", "upper_8_bits", ""] * 2),
        quality=np.linspace(0.5, 1, 6, dtype=np.float32),
    )  # fmt: skip
    kept = images(rows)
    assert gallery.add(rows, kept, origin="north gate").added == tuple(rows.id)
    with Gallery.open(gallery.path, read_only=True) as reader:
        actual = reader.embeddings()
        for name, values in rows.columns().items():
            assert np.array_equal(actual.columns()[name], values, equal_nan=values.dtype.kind == "f"), name
        assert actual.metadata() == rows.metadata()
        assert reader.crop(rows.id[4]) == kept[4].jpeg
        anna, _ = reader.people()
        assert (anna.name, anna.crops, anna.images, anna.cameras, anna.first, anna.last) == (
            "anna", 3, 3, ("a", "b"), 1.0, 5.0,
        )  # fmt: skip
        assert reader.of("ben").id.tolist() == rows.id[3:].tolist()


def test_adding_twice_adds_once(gallery):
    rows = people(["anna"])
    gallery.add(rows)
    assert gallery.add(rows).known == tuple(rows.id)
    assert len(gallery) == 3


def test_an_id_of_another_crop_is_refused(gallery):
    gallery.add(people(["anna"]))
    other = people(["anna"], seed=1)
    assert codes(gallery.add(other)) == dict.fromkeys(other.id.tolist(), ("name_taken",))
    renamed = dataclasses.replace(people(["anna"]), identity=np.array(["ben"] * 3))
    assert {each.detail for each in gallery.add(renamed).refused} == {"a crop of anna, with the same content"}


def test_equal_content_under_a_second_name_is_kept_as_such(gallery):
    rows = people(["anna"], crops=1)
    gallery.add(rows, [CropImage("sha256:1")])
    second = dataclasses.replace(rows, id=np.array(["again.jpg"]), identity=np.array(["ben"]))
    added = gallery.add(second, [CropImage("sha256:1")])
    assert (added.added, added.same_content) == (("again.jpg",), (("again.jpg", rows.id[0], "anna"),))
    assert gallery.check().shared_content == ((rows.id[0], "again.jpg"),)


def test_crops_below_the_policy_are_refused_with_their_codes(tmp_path):
    policy = AdmissionPolicy(refused=("blank", "too_small"), least_quality=0.3)
    rows = people(
        ["anna"], crops=7, reasons=np.array(["", "blank,too_small", "low_contrast", "", "", "", ""]),
        quality=np.array([1, 1, 1, 0.2, np.nan, 1, 1], np.float32),
    )  # fmt: skip
    rows.identity[5], rows.error[6] = "", "x"
    rows = dataclasses.replace(rows, error=np.array([""] * 6 + ["corrupt"]))
    with new_gallery(tmp_path / "strict", policy=policy) as gallery:
        refused = codes(gallery.add(rows))
    with Gallery.open(tmp_path / "strict") as gallery:
        assert gallery.policy == policy
        assert len(gallery) == 3
    assert [*refused.values()] == [("blank", "too_small"), ("low_quality",), ("no_person",), ("no_vector",)]


def test_vectors_of_another_contract_are_refused_with_both_ids(gallery):
    other = dataclasses.replace(CONTRACT, weights="sha256:01")
    rows = dataclasses.replace(people(["anna"]), contract=other.to_json(), contract_id=other.contract_id)
    with pytest.raises(StorageError, match=f"other_contract: .*{CONTRACT.contract_id}.*{other.contract_id}"):
        gallery.add(rows)
    assert len(gallery) == 0


def test_an_add_that_fails_in_the_middle_adds_nothing(gallery, monkeypatch):
    rows = people(["anna"])
    with pytest.raises(StorageError):
        gallery.add(rows, images(rows)[:2])
    vectors = rows.embedding.copy()
    monkeypatch.setattr("reid_runtime.gallery.add._number", lambda column, row: 1 / 0 if row == 2 else None)
    with pytest.raises(ZeroDivisionError):
        gallery.add(dataclasses.replace(rows, embedding=vectors))
    assert len(gallery) == 0


def test_a_search_reads_the_file_once_until_it_changes(gallery):
    gallery.add(people(["anna"]))
    first = gallery.embeddings()
    assert gallery.embeddings() is first
    with Gallery.open(gallery.path) as writer:
        writer.add(people(["ben"]))
    assert len(gallery.embeddings()) == 6


@pytest.mark.parametrize("content", [b"", b"no gallery at all" * 100, "sqlite"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other"
    if content == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t (a)")
        connection.close()
    else:
        path.write_bytes(content)
    with pytest.raises(StorageError, match="gallery"):
        Gallery.open(path)
    if content:
        with pytest.raises(StorageError, match="gallery"):
            new_gallery(path)


@pytest.mark.parametrize(("table", "column"), [("vector", "embedding"), ("image", "jpeg")])
def test_check_names_a_row_that_was_altered(gallery, table, column):
    rows = people(["anna"])
    gallery.add(rows, images(rows))
    assert not gallery.check().problems
    connection = sqlite3.connect(gallery.path)
    connection.execute(f"UPDATE {table} SET {column} = zeroblob(length({column})) WHERE rowid = 2")
    connection.commit()
    connection.close()
    (problem,) = gallery.check().problems
    assert rows.id[1] in problem


def test_check_finds_a_damaged_page(gallery):
    rows = people([f"person-{number}" for number in range(50)])
    gallery.add(rows, images(rows))
    gallery.close()
    content = bytearray(gallery.path.read_bytes())
    content[4096 * 3 : 4096 * 60] = bytes(4096 * 57)
    gallery.path.write_bytes(content)
    with Gallery.open(gallery.path, read_only=True) as damaged:
        assert damaged.check().problems
