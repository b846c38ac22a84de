"""Saved vectors score as fresh ones do, and what is not of one data set is refused."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.evaluation import PROTOCOL, EvalSettings, eval_set_of, evaluate, score_rows
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.evaluation.saved import check_same_data, eval_set_of_rows, read_saved
from reid_runtime.jobs import write_embeddings
from reid_runtime.model_file.contract import Contract
from reid_runtime.scoring.layouts import read_market
from reid_runtime.scoring.layouts.mars import read_mars
from reid_runtime.scoring.layouts.plain import read_plain

from ..sample_images import paint
from ..scoring.layouts import miniatures


def another_space(rows):
    contract = dataclasses.replace(Contract.from_json(rows.contract, "x"), weights="sha256:ff")
    return dataclasses.replace(rows, contract=contract.to_json(), contract_id=contract.contract_id)


@pytest.fixture
def market_rows(tiny, market):
    return embed_eval_set(tiny, eval_set_of(read_market(market)))


def test_a_saved_file_scores_the_same(market, market_rows, tmp_path):
    eval_set, rows = eval_set_of(read_market(market)), market_rows
    write_embeddings(tmp_path / "x.npz", rows)
    read = read_saved([tmp_path / "x.npz"])
    expected = score_rows(eval_set, rows, "m").scores.summary()
    assert score_rows(eval_set_of_rows(read, "x"), read, "m").scores.summary() == expected
    assert score_rows(eval_set, read, "m").scores.summary() == expected


def test_query_and_gallery_may_lie_in_two_files(market_rows, tmp_path):
    rows = market_rows
    for name in ("query", "gallery"):
        part = rows.split == name
        columns = {key: values[part] for key, values in rows.columns().items()}
        write_embeddings(tmp_path / f"{name}.npz", dataclasses.replace(rows, **columns))
    read = read_saved([tmp_path / "query.npz", tmp_path / "gallery.npz"])
    assert np.array_equal(read.embedding, rows.embedding)
    with pytest.raises(StorageError, match="no row is of the split gallery"):
        eval_set_of_rows(read_saved([tmp_path / "query.npz"]), "x")


def test_files_of_two_contract_ids_are_refused(market_rows, tmp_path):
    other = another_space(market_rows)
    for name, part in (("a", market_rows), ("b", market_rows), ("c", other)):
        write_embeddings(tmp_path / f"{name}.npz", part)
    ids = rf"1 of 3 files have another contract id .*{market_rows.contract_id}.*c\.npz \({other.contract_id}\)"
    with pytest.raises(StorageError, match=ids):
        read_saved([tmp_path / f"{name}.npz" for name in "abc"])


def test_rows_without_a_sound_vector_are_refused(market_rows, tmp_path):
    broken = market_rows.embedding.copy()
    broken[[2, 4], 1] = np.nan
    reasons = np.array(["", "", "", "it is empty", "", ""])
    for change, match in (
        ({"embedding": broken}, r"2 vectors are not of unit length, .* of bounding_box_test/0000_c2s1.* nan"),
        ({"error": reasons}, r"1 of 6 rows have no vector, the first is .*0001_c1s1_001051_03.*is empty"),
        ({"camera": None, "split": None}, "has no column camera, split"),
    ):
        write_embeddings(tmp_path / "x.npz", dataclasses.replace(market_rows, **change), force=True)
        with pytest.raises(StorageError, match=match):
            read_saved([tmp_path / "x.npz"])


def test_rows_of_another_set_are_refused(market, market_rows):
    rows = market_rows
    check_same_data(rows, another_space(rows), ("a", "b"))
    cameras = rows.camera.copy()
    cameras[-1] = 9
    relabelled = dataclasses.replace(rows, camera=cameras)
    with pytest.raises(
        StorageError, match=r"1 of 4 gallery rows of a are not in b, .*0003_c5s3.*identity 3 of camera 5"
    ):
        check_same_data(rows, relabelled, ("a", "b"))
    with pytest.raises(StorageError, match="1 of 4 gallery rows of market are not in the vectors"):
        score_rows(eval_set_of(read_market(market)), relabelled, "m")
    turned = dataclasses.replace(rows, **{name: values[::-1] for name, values in rows.columns().items()})
    with pytest.raises(StorageError, match="same query rows in another order"):
        check_same_data(rows, turned, ("a", "b"))


def test_saved_boxes_need_their_folder(tiny, search):
    rows = embed_eval_set(tiny, eval_set_of(search))
    assert rows.id[0].endswith("#xywh=10,10,40,80")
    with pytest.raises(StorageError, match="name the folder"):
        eval_set_of_rows(rows, "x")
    assert score_rows(eval_set_of(search), rows, "m").scores.summary() == evaluate(tiny, search).scores.summary()


def test_rows_without_labels_are_refused(market, market_rows):
    bare = dataclasses.replace(market_rows, camera=None)
    for use in (partial(score_rows, eval_set_of(read_market(market))), eval_set_of_rows):
        with pytest.raises(StorageError, match="the rows have no split, identity or camera"):
            use(bare, "m")


def test_without_the_folder_the_protocol_is_not_known(tiny, mars, tmp_path):
    miniatures.touch(tmp_path / "plain", "ann/1/a.jpg", "ann/2/b.jpg")
    for splits in (read_plain(paint(tmp_path / "plain")), read_mars(mars)):
        rows = embed_eval_set(tiny, eval_set_of(splits))
        evaluation = score_rows(eval_set_of_rows(rows, "x"), rows, "m", EvalSettings(pooling=None))
        assert evaluation.protocol == PROTOCOL.replace("single query", "query and gallery as saved")
