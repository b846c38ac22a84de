"""A gallery into a vector database, for those who outgrow one machine: LanceDB (embedded) and Qdrant.

    reid-runtime gallery export site.gallery -o site.npz
    python examples/gallery_to_stores.py site.npz FOLDER

The gallery lists the exported file, so that forgetting somebody tells of it. Neither database knows of contracts: its
name carries the contract id here, and what is searched with vectors of another model is another table. What they
answer are neighbours, without error rates or "nobody".
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from reid_runtime import Embeddings, read_embeddings
from reid_runtime.vectors import Vectors


def to_lancedb(rows: Embeddings, folder: Path) -> Any:
    """A new table of LanceDB in a folder; its cosine distance is 1 less the similarity."""
    import lancedb

    table = [
        {"id": name, "identity": person, "camera": camera, "vector": vector}
        for name, person, camera, vector in zip(*_columns(rows), rows.embedding, strict=True)
    ]
    return lancedb.connect(str(folder)).create_table(f"gallery_{rows.contract_id}", table)


def search_lancedb(table: Any, vector: Vectors, count: int) -> list[tuple[str, float]]:
    """(identity, cosine) of the nearest rows."""
    found = table.search(vector).distance_type("cosine").limit(count).to_list()
    return [(row["identity"], 1 - row["_distance"]) for row in found]


def to_qdrant(rows: Embeddings, client: Any) -> str:
    """A new collection of Qdrant, by `QdrantClient(url=...)`, or `QdrantClient(path=...)` without a server."""
    from qdrant_client import models

    name = f"gallery_{rows.contract_id}"
    size = rows.embedding.shape[1]
    client.create_collection(name, vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE))
    points = [
        models.PointStruct(
            id=number, vector=vector.tolist(), payload={"id": crop, "identity": person, "camera": camera}
        )
        for number, (crop, person, camera, vector) in enumerate(zip(*_columns(rows), rows.embedding, strict=True))
    ]
    client.upload_points(name, points)
    return name


def search_qdrant(client: Any, name: str, vector: Vectors, count: int) -> list[tuple[str, float]]:
    """(identity, cosine) of the nearest rows."""
    found = client.query_points(name, query=vector.tolist(), limit=count).points
    return [(point.payload["identity"], point.score) for point in found]


def _columns(rows: Embeddings) -> tuple[list[str], list[str], list[str]]:
    empty = [""] * len(rows)
    columns = (rows.id, rows.identity, rows.camera)
    first, second, third = (empty if each is None else each.tolist() for each in columns)
    return first, second, third


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of `gallery export`")
    parser.add_argument("folder", type=Path, help="of the database")
    given = parser.parse_args()
    print(to_lancedb(read_embeddings(given.file), given.folder).count_rows(), "rows in", given.folder)
