"""Saved vectors score as fresh ones do, and what is not of one data set is refused."""

import dataclasses

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

from ..pictures import paint
from ..scoring.layouts import miniatures


def another_space(rows):
    contract = dataclasses.replace(Contract.from_json(rows.contract, "x"), weights="sha256:ff")
    return dataclasses.replace(rows, contract=contract.to_json(), contract_id=contract.contract_id)


def test_a_saved_file_scores_the_same(tiny, market, tmp_path):
    task = eval_set_of(read_market(market))
    rows = embed_eval_set(tiny, task)
    write_embeddings(tmp_path / "x.npz", rows)
    read = read_saved([tmp_path / "x.npz"])
    expected = score_rows(task, rows, "m").scores.summary()
    assert score_rows(eval_set_of_rows(read, "x"), read, "m").scores.summary() == expected
    assert score_rows(task, read, "m").scores.summary() == expected


def test_query_and_gallery_may_lie_in_two_files(tiny, market, tmp_path):
    rows = embed_eval_set(tiny, eval_set_of(read_market(market)))
    for name in ("query", "gallery"):
        part = rows.split == name
        columns = {key: values[part] for key, values in rows.columns().items()}
        write_embeddings(tmp_path / f"{name}.npz", dataclasses.replace(rows, **columns))
    read = read_saved([tmp_path / "query.npz", tmp_path / "gallery.npz"])
    assert np.array_equal(read.embedding, rows.embedding)
    with pytest.raises(StorageError, match="no row is of the split gallery"):
        eval_set_of_rows(read_saved([tmp_path / "query.npz"]), "x")


def test_two_contract_ids_are_told(tiny, market, tmp_path):
    rows = embed_eval_set(tiny, eval_set_of(read_market(market)))
    other = another_space(rows)
    for name, part in (("a", rows), ("b", rows), ("c", other)):
        write_embeddings(tmp_path / f"{name}.npz", part)
    with pytest.raises(StorageError) as raised:
        read_saved([tmp_path / f"{name}.npz" for name in "abc"])
    said = str(raised.value)
    assert "1 of 3 files have another contract id" in said
    assert rows.contract_id in said
    assert f"c.npz ({other.contract_id})" in said


def test_rows_without_a_sound_vector_are_told(tiny, market, tmp_path):
    rows = embed_eval_set(tiny, eval_set_of(read_market(market)))
    broken = rows.embedding.copy()
    broken[[2, 4], 1] = np.nan
    write_embeddings(tmp_path / "nan.npz", dataclasses.replace(rows, embedding=broken))
    with pytest.raises(StorageError, match=r"2 of 6 vectors hold NaN .* of bounding_box_test/0000_c2s1"):
        read_saved([tmp_path / "nan.npz"])
    reasons = np.array(["", "", "", "it is empty", "", ""])
    write_embeddings(tmp_path / "error.npz", dataclasses.replace(rows, error=reasons))
    with pytest.raises(StorageError, match=r"1 of 6 rows have no vector, the first is .*0001_c1s1_001051_03.*is empty"):
        read_saved([tmp_path / "error.npz"])
    write_embeddings(tmp_path / "bare.npz", dataclasses.replace(rows, camera=None, split=None))
    with pytest.raises(StorageError, match="has no column camera, split"):
        read_saved([tmp_path / "bare.npz"])


def test_rows_of_another_set_are_refused(tiny, market):
    task = eval_set_of(read_market(market))
    rows = embed_eval_set(tiny, task)
    check_same_data(rows, another_space(rows), ("a", "b"))
    cameras = rows.camera.copy()
    cameras[-1] = 9
    relabelled = dataclasses.replace(rows, camera=cameras)
    with pytest.raises(
        StorageError, match=r"1 of 4 gallery rows of a are not in b, .*0003_c5s3.*identity 3 of camera 5"
    ):
        check_same_data(rows, relabelled, ("a", "b"))
    with pytest.raises(StorageError, match="1 of 4 gallery rows of market are not in the vectors"):
        score_rows(task, relabelled, "m")
    turned = dataclasses.replace(rows, **{name: values[::-1] for name, values in rows.columns().items()})
    with pytest.raises(StorageError, match="same query rows in another order"):
        check_same_data(rows, turned, ("a", "b"))


def test_saved_boxes_need_their_folder(tiny, search):
    rows = embed_eval_set(tiny, eval_set_of(search))
    assert rows.id[0].endswith("#xywh=10,10,40,80")
    with pytest.raises(StorageError, match="name the folder"):
        eval_set_of_rows(rows, "x")
    assert score_rows(eval_set_of(search), rows, "m").scores.summary() == evaluate(tiny, search).scores.summary()


def test_rows_without_labels_are_told(tiny, market):
    task = eval_set_of(read_market(market))
    bare = dataclasses.replace(embed_eval_set(tiny, task), camera=None)
    for use in (lambda: score_rows(task, bare, "m"), lambda: eval_set_of_rows(bare, "x")):
        with pytest.raises(StorageError, match="the rows have no split, identity or camera"):
            use()


def test_without_the_folder_the_protocol_is_not_known(tiny, mars, tmp_path):
    miniatures.touch(tmp_path / "plain", "ann/1/a.jpg", "ann/2/b.jpg")
    for splits in (read_plain(paint(tmp_path / "plain")), read_mars(mars)):
        rows = embed_eval_set(tiny, eval_set_of(splits))
        said = score_rows(eval_set_of_rows(rows, "x"), rows, "m", EvalSettings(pooling=None)).protocol
        assert said == PROTOCOL.replace("single query", "query and gallery as saved")
