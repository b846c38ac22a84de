"""The callables for other people's code: rows stay with their boxes and pictures, and nothing heavy is pickled."""

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from reid_runtime import BackendError, EmbedBatch, EmbedBoxes, Embedder, ReidRuntimeError, adapters

from .models import DIMENSION
from .pictures import encode, picture

FILES = [encode(picture(40, 20, seed), "PNG") for seed in range(5)]


@pytest.fixture
def batch(tmp_path):
    """Five pictures, the second of which cannot be used."""
    paths = []
    for place, content in enumerate(FILES):
        path = tmp_path / f"{place}.png"
        path.write_bytes(content if place != 1 else content[:50])
        paths.append(str(path))
    content = np.empty(5, dtype=object)
    content[:] = [(tmp_path / f"{place}.png").read_bytes() for place in range(5)]
    return {"path": np.array(paths), "bytes": content, "number": np.arange(5)}


def test_boxes_may_be_an_array_or_detections(tiny):
    frame, boxes = picture(60, 80), np.array([(0, 0, 20, 50), (30, 5, 60, 60.4)], np.float32)
    embed = EmbedBoxes(tiny, "bgr")
    expected = tiny.embed_boxes(frame, boxes, "bgr")
    assert np.array_equal(embed(frame, boxes), expected)
    assert np.array_equal(embed(frame, SimpleNamespace(xyxy=boxes, confidence=None)), expected)
    assert embed(frame, SimpleNamespace(xyxy=np.empty((0, 4)))).shape == (0, DIMENSION)


@pytest.mark.parametrize("column", ["path", "bytes"])
def test_a_dict_gets_the_columns_of_an_npz_file(tiny, tiny_model, batch, column):
    kept = {name: values.copy() for name, values in batch.items()}
    found = EmbedBatch(str(tiny_model), column=column)(batch)
    assert list(found) == ["path", "bytes", "number", "embedding", "width", "height", "error"]
    good = [0, 2, 3, 4]
    assert np.array_equal(found["embedding"][good], tiny.embed([FILES[place] for place in good]))
    assert (found["embedding"].dtype, found["embedding"].shape) == (np.float32, (5, DIMENSION))
    assert np.isnan(found["embedding"][1]).all()
    assert [bool(error) for error in found["error"]] == [False, True, False, False, False]
    assert "truncated" in found["error"][1]
    assert found["width"].tolist() == [20, 0, 20, 20, 20]
    assert found["height"].tolist() == [40, 0, 40, 40, 40]
    assert list(batch) == list(kept)
    assert all(np.array_equal(batch[name], kept[name]) for name in kept)


def test_a_data_frame_gets_the_columns_of_a_parquet_file(tiny, tiny_model, batch):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    rows = pandas.DataFrame({name: list(values) for name, values in batch.items()}, index=[7, 7, 3, 1, 0])
    found = EmbedBatch(str(tiny_model))(rows)
    assert found.index.tolist() == [7, 7, 3, 1, 0]
    assert found["embedding"].iloc[1] is None
    assert found["embedding"].iloc[4] == tiny.embed([FILES[4]])[0].tolist()
    assert found["error"].isna().tolist() == [True, False, True, True, True]
    assert list(rows.columns) == ["path", "bytes", "number"]


def test_arrays_with_their_colour(tiny, tiny_model):
    images = np.stack([picture(40, 20, seed) for seed in range(3)])
    found = EmbedBatch(str(tiny_model), column="image", channel_order="bgr")({"image": images})
    assert np.array_equal(found["embedding"], tiny.embed(list(images), "bgr"))


def test_what_is_no_picture_is_that_rows_error(tiny_model):
    values = np.array([None, 3.5, FILES[0]], dtype=object)
    found = EmbedBatch(str(tiny_model))({"path": values})
    assert [bool(error) for error in found["error"]] == [True, True, False]


def test_an_empty_batch(tiny_model):
    found = EmbedBatch(str(tiny_model))({"path": np.array([], dtype=object)})
    assert (found["embedding"].shape, len(found["error"])) == ((0, DIMENSION), 0)


def test_columns_are_checked(tiny_model, batch):
    embed = EmbedBatch(str(tiny_model))
    with pytest.raises(ReidRuntimeError, match=r"in the column 'path', found \['image'\]"):
        embed({"image": batch["path"]})
    with pytest.raises(ReidRuntimeError, match=r"has \['embedding', 'error'\] already"):
        embed(batch | {"error": batch["number"], "embedding": batch["number"]})
    with pytest.raises(ReidRuntimeError, match="dict of arrays or a pandas data frame, found list"):
        embed([batch])


def test_it_pickles_small_also_after_use(tiny_model, batch):
    embed = EmbedBatch(str(tiny_model))
    before = embed(batch)
    pickled = pickle.dumps(embed)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert np.array_equal(again(batch)["embedding"], before["embedding"], equal_nan=True)


def test_a_process_loads_one_model_however_many_copies_and_threads(tiny_model, batch, monkeypatch):
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
        found = list(pool.map(work, copies))
    assert len(loads) == 1
    assert all(np.array_equal(rows, found[0], equal_nan=True) for rows in found)


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
        found = pool.apply_async(embed, [batch]).get(timeout=60)["embedding"]
        assert (loaded(), pool.apply(loaded)) == (1, 2)
    assert np.array_equal(found, expected, equal_nan=True)


def test_a_model_that_cannot_be_loaded_stops_the_job(batch):
    with pytest.raises(BackendError, match="no such model file"):
        EmbedBatch("absent.onnx")(batch)
