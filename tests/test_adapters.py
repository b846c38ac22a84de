"""Callables for third-party code: rows stay with their boxes and images, and nothing heavy is pickled."""

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from reid_runtime import (
    BackendError,
    EmbedBatch,
    EmbedBoxes,
    Embedder,
    EmbedShard,
    ReidRuntimeError,
    adapters,
    embed_folder,
    read_embeddings,
)  # fmt: skip
from reid_runtime.jobs.merge import merge

from .models import DIMENSION
from .sample_images import encode, sample_image

FILES = [encode(sample_image(40, 20, seed), "PNG") for seed in range(5)]


@pytest.fixture
def batch(tmp_path):
    """Five images, the second of which cannot be used."""
    paths = []
    for index, content in enumerate(FILES):
        path = tmp_path / f"{index}.png"
        path.write_bytes(content if index != 1 else content[:50])
        paths.append(str(path))
    content = np.empty(5, dtype=object)
    content[:] = [(tmp_path / f"{index}.png").read_bytes() for index in range(5)]
    return {"path": np.array(paths), "bytes": content, "number": np.arange(5)}


def test_boxes_or_detections(tiny):
    frame, boxes = sample_image(60, 80), np.array([(0, 0, 20, 50), (30, 5, 60, 60.4)], np.float32)
    embed = EmbedBoxes(tiny, "bgr")
    expected = tiny.embed_boxes(frame, boxes, "bgr")
    assert np.array_equal(embed(frame, boxes), expected)
    assert np.array_equal(embed(frame, SimpleNamespace(xyxy=boxes, confidence=None)), expected)
    assert embed(frame, SimpleNamespace(xyxy=np.empty((0, 4)))).shape == (0, DIMENSION)


@pytest.mark.parametrize("column", ["path", "bytes"])
def test_dict_columns(tiny, tiny_model, batch, column):
    kept = {name: values.copy() for name, values in batch.items()}
    actual = EmbedBatch(str(tiny_model), column=column)(batch)
    assert list(actual) == ["path", "bytes", "number", "embedding", "width", "height", "error"]
    good = [0, 2, 3, 4]
    assert np.array_equal(actual["embedding"][good], tiny.embed([FILES[index] for index in good]))
    assert (actual["embedding"].dtype, actual["embedding"].shape) == (np.float32, (5, DIMENSION))
    assert np.isnan(actual["embedding"][1]).all()
    assert [bool(error) for error in actual["error"]] == [False, True, False, False, False]
    assert "truncated" in actual["error"][1]
    assert actual["width"].tolist() == [20, 0, 20, 20, 20]
    assert actual["height"].tolist() == [40, 0, 40, 40, 40]
    assert list(batch) == list(kept)
    assert all(np.array_equal(batch[name], kept[name]) for name in kept)


def test_data_frame_columns(tiny, tiny_model, batch):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    rows = pandas.DataFrame({name: list(values) for name, values in batch.items()}, index=[7, 7, 3, 1, 0])
    actual = EmbedBatch(str(tiny_model))(rows)
    assert actual.index.tolist() == [7, 7, 3, 1, 0]
    assert actual["embedding"].iloc[1] is None
    assert actual["embedding"].iloc[4] == tiny.embed([FILES[4]])[0].tolist()
    assert actual["error"].isna().tolist() == [True, False, True, True, True]
    assert list(rows.columns) == ["path", "bytes", "number"]


def test_arrays_with_channel_order(tiny, tiny_model):
    images = np.stack([sample_image(40, 20, seed) for seed in range(3)])
    actual = EmbedBatch(str(tiny_model), column="image", channel_order="bgr")({"image": images})
    assert np.array_equal(actual["embedding"], tiny.embed(list(images), "bgr"))


def test_row_that_is_no_image(tiny_model):
    values = np.array([None, 3.5, FILES[0]], dtype=object)
    actual = EmbedBatch(str(tiny_model))({"path": values})
    assert [bool(error) for error in actual["error"]] == [True, True, False]


def test_an_empty_batch(tiny_model):
    actual = EmbedBatch(str(tiny_model))({"path": np.array([], dtype=object)})
    assert (actual["embedding"].shape, len(actual["error"])) == ((0, DIMENSION), 0)


def test_columns_are_checked(tiny_model, batch):
    embed = EmbedBatch(str(tiny_model))
    with pytest.raises(ReidRuntimeError, match=r"in the column 'path', found \['image'\]"):
        embed({"image": batch["path"]})
    with pytest.raises(ReidRuntimeError, match=r"has \['embedding', 'error'\] already"):
        embed(batch | {"error": batch["number"], "embedding": batch["number"]})
    with pytest.raises(ReidRuntimeError, match="dict of arrays or a pandas data frame, found list"):
        embed([batch])


def test_pickles_small(tiny_model, batch):
    embed = EmbedBatch(str(tiny_model))
    before = embed(batch)
    pickled = pickle.dumps(embed)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert np.array_equal(again(batch)["embedding"], before["embedding"], equal_nan=True)


def test_one_model_per_process(tiny_model, batch, monkeypatch):
    loads = []
    load = Embedder.load.__func__
    monkeypatch.setattr(Embedder, "load", classmethod(lambda cls, *a, **k: (loads.append(a), load(cls, *a, **k))[1]))
    adapters._load.cache_clear()
    copies = [pickle.loads(pickle.dumps(EmbedBatch(str(tiny_model), threads=1))) for _ in range(8)]
    start = threading.Barrier(8)

    def work(embed):
        start.wait(timeout=30)
        return embed(batch)["embedding"]

    with ThreadPoolExecutor(8) as pool:
        actual = list(pool.map(work, copies))
    assert len(loads) == 1
    assert all(np.array_equal(rows, actual[0], equal_nan=True) for rows in actual)


def loaded():
    """How many models this process and those that it was forked from have loaded."""
    return adapters._load.cache_info().currsize


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_fork_loads_its_own(tiny_model, batch):
    """A session's threads do not come along into a fork: one that used its parent's may wait for them for ever."""
    adapters._load.cache_clear()
    embed = EmbedBatch(str(tiny_model))
    expected = embed(batch)["embedding"]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        actual = pool.apply_async(embed, [batch]).get(timeout=60)["embedding"]
        assert (loaded(), pool.apply(loaded)) == (1, 2)
    assert np.array_equal(actual, expected, equal_nan=True)


def test_missing_model(batch):
    with pytest.raises(BackendError, match="no such model file"):
        EmbedBatch("absent.onnx")(batch)


def test_shards_are_together_one_job(tiny, tiny_model, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "crops").mkdir()
    for place in range(20):
        (tmp_path / "crops" / f"{place:02}.png").write_bytes(encode(sample_image(48, 24, place), "PNG"))
    embed = pickle.loads(pickle.dumps(EmbedShard(f"{tmp_path}/crops", f"{tmp_path}/rows/", 3, str(tiny_model))))
    assert sum(map(embed, embed.numbers)) == 20
    assert sum(map(embed, embed.numbers)) == 20  # as a scheduler that has lost the answers does
    assert merge([embed.folder(number) for number in embed.numbers], tmp_path / "rows.npz") == 20
    embed_folder(tiny, tmp_path / "crops", tmp_path / "alone.npz")
    rows, alone = (read_embeddings(tmp_path / name) for name in ("rows.npz", "alone.npz"))
    assert rows.id.tolist() == alone.id.tolist()
    assert rows.embedding.tobytes() == alone.embedding.tobytes()
