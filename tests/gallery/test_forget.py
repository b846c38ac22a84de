import sqlite3
import threading

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.gallery import Gallery
from reid_runtime.gallery import erase as erasing

from .tables import images, new_gallery, people

ANNA, OTHERS = "anna-who-was-here", [f"person-{number:03}" for number in range(40)]
WINDOW = 12


def traces(rows, kept):
    """Every run of WINDOW bytes, in steps of 4, of somebody's vectors and crops; their names and ids."""
    contents = [vector.tobytes() for vector in rows.embedding] + [image.jpeg for image in kept]
    runs = {content[at : at + WINDOW] for content in contents for at in range(0, len(content) - WINDOW + 1, 4)}
    return runs, [ANNA.encode(), *(name.encode() for name in rows.id), *(image.content.encode() for image in kept)]


def found_in(folder, runs, texts):
    """How many traces are in the bytes of the gallery and of everything beside it."""
    content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    windows = {content[at : at + WINDOW] for at in range(len(content) - WINDOW + 1)} & runs
    return len(windows) + sum(text in content for text in texts)


@pytest.fixture
def enrolled(tmp_path):
    """A gallery with Anna among others, written in many small steps so that pages split; and her traces."""
    gallery = new_gallery(tmp_path / "g.gallery")
    her = people([ANNA], crops=12, seed=7)
    others = people(OTHERS, crops=5)
    hers = images(her, size=5000)  # more than a page
    for step in range(12):
        chosen = np.arange(step * 16, step * 16 + 16)
        gallery.add(others.take(chosen), images(others.take(chosen), size=200))
        one = her.take(np.array([step]))
        gallery.add(one, [hers[step]])
    yield gallery, traces(her, hers)
    gallery.close()


def test_nothing_of_a_forgotten_person_is_in_the_files_bytes(enrolled, tmp_path):
    gallery, sought = enrolled
    assert found_in(tmp_path, *sought) > 12_000
    gone = gallery.forget(ANNA)
    assert (gone.people, gone.crops) == (1, 12)
    assert found_in(tmp_path, *sought) == 0  # the write-ahead log is there: the gallery is still open
    assert len(gallery) == 192
    assert ANNA not in {person.name for person in gallery.people()}
    assert not gallery.check().problems
    log = gallery._database.rows("SELECT action, people, crops FROM log")
    assert log == [("forget", 1, 12)]


@pytest.mark.parametrize("step", ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"])
def test_a_process_that_dies_before_the_bytes_are_gone_leaves_that_to_the_next(enrolled, tmp_path, monkeypatch, step):
    gallery, sought = enrolled

    class Dies:
        def __init__(self, connection):
            self._connection = connection

        def execute(self, sql, *values):
            if sql == step:
                raise KeyboardInterrupt
            return self._connection.execute(sql, *values)

        def __getattr__(self, name):
            return getattr(self._connection, name)

    whole = gallery._database.connection
    gallery._database.connection = Dies(whole)
    with pytest.raises(KeyboardInterrupt):
        gallery.forget(ANNA)
    gallery._database.connection = whole
    with Gallery.open(tmp_path / "g.gallery", read_only=True) as reader:
        assert reader.check().erasure_pending
        assert ANNA not in reader.embeddings().identity
    Gallery.open(tmp_path / "g.gallery").close()
    assert found_in(tmp_path, *sought) == 0
    assert not gallery.check().erasure_pending


def test_a_reader_in_the_way_is_named_and_the_next_writer_finishes(enrolled, tmp_path, monkeypatch):
    gallery, sought = enrolled
    gallery._database.connection.execute("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(tmp_path / "g.gallery", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM crop").fetchone()
    with pytest.raises(erasing.ErasurePendingError, match="answers no more"):
        gallery.forget(ANNA)
    assert ANNA not in gallery.embeddings().identity
    assert gallery.check().erasure_pending
    reader.close()
    gallery.forget_expired()
    assert found_in(tmp_path, *sought) == 0


def test_what_expires_answers_no_more_and_leaves_the_file_when_it_is_opened(tmp_path, monkeypatch):
    her, others = people([ANNA], seed=7), people(OTHERS[:3])
    clock = [1000.0]
    for module in ("gallery", "erase"):
        monkeypatch.setattr(f"reid_runtime.gallery.{module}.time.time", lambda: clock[0])
    with new_gallery(tmp_path / "g.gallery") as gallery:
        gallery.add(her, images(her), expires=2000.0)
        gallery.add(others, images(others))
        assert len(gallery.embeddings()) == 12
        clock[0] = 2001.0
        assert ANNA not in gallery.embeddings().identity
        assert len(gallery.people()) == 3
        assert gallery.check().expired == 3
    with Gallery.open(tmp_path / "g.gallery") as gallery:
        assert len(gallery) == 9
        assert gallery._database.rows("SELECT action, people, crops FROM log") == [("expire", 1, 3)]
    assert found_in(tmp_path, *traces(her, images(her))) == 0


def test_files_made_of_somebody_are_listed_when_they_are_forgotten(tmp_path):
    rows = people(["anna", "ben"])
    with new_gallery(tmp_path / "g.gallery") as gallery:
        gallery.add(rows)
        gallery.record_export("embeddings", tmp_path / "all.npz", ["anna", "ben"], 6)
        gallery.record_export("search", tmp_path / "of-ben.json", ["ben"], 3)
        exports = gallery.forget("anna").exports
        assert [(each.kind, each.path, each.forgotten) for each in exports] == [
            ("embeddings", str(tmp_path / "all.npz"), 1)
        ]
        assert [each.forgotten for each in gallery.exports()] == [1, 0]


def test_a_name_that_is_not_there_forgets_nobody(tmp_path):
    with new_gallery(tmp_path / "g.gallery") as gallery:
        gallery.add(people(["anna"]))
        with pytest.raises(StorageError, match="nobody of the name 'ben'; nothing was forgotten"):
            gallery.forget("anna", "ben")
        assert len(gallery) == 3


def test_threads_share_a_gallery_while_people_are_forgotten(tmp_path):
    rows = people(OTHERS[:10])
    with new_gallery(tmp_path / "g.gallery") as gallery:
        gallery.add(rows)
        seen, errors = [], []

        def read():
            try:
                seen.extend(len(gallery.embeddings()) % 3 for _ in range(30))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for name in OTHERS[:5]:
            gallery.forget(name)
        for thread in threads:
            thread.join()
        assert not errors
        assert {*seen} == {0}  # a person is there as a whole, or not at all
