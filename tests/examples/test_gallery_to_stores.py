"""The recipe that puts a gallery into vector databases gives what the gallery's own search gives."""

import numpy as np
import pytest

from examples.gallery_to_stores import search_lancedb, search_qdrant, to_lancedb, to_qdrant

from ..gallery.tables import new_gallery, people


@pytest.fixture
def rows(tmp_path):
    with new_gallery(tmp_path / "g.gallery") as gallery:
        gallery.add(people([f"person-{number}" for number in range(12)], crops=4))
        return gallery.embeddings()


def exact(rows, count):
    similarities = rows.embedding @ rows.embedding[5]
    order = np.argsort(-similarities)[:count]
    return rows.identity[order].tolist(), similarities[order]


def check(found, rows):
    identities, similarities = exact(rows, len(found))
    assert [identity for identity, _ in found] == identities
    assert np.allclose([similarity for _, similarity in found], similarities, atol=1e-5)


def test_lancedb(rows, tmp_path):
    pytest.importorskip("lancedb")
    table = to_lancedb(rows, tmp_path / "lance")
    assert table.count_rows() == 48
    check(search_lancedb(table, rows.embedding[5], 6), rows)


def test_qdrant(rows, tmp_path):
    qdrant = pytest.importorskip("qdrant_client")
    client = qdrant.QdrantClient(path=str(tmp_path / "qdrant"))
    name = to_qdrant(rows, client)
    check(search_qdrant(client, name, rows.embedding[5], 6), rows)
    client.close()
