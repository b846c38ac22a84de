"""Evaluations of small drawn sets through a real model, against the scorer called by hand."""

import dataclasses

import numpy as np
import pytest

from reid_runtime.contract import Contract
from reid_runtime.errors import DatasetError, StorageError
from reid_runtime.evaluation import PROTOCOL, Settings, evaluate, score_rows, task_of
from reid_runtime.evaluation.embedding import embed_task
from reid_runtime.evaluation.saved import check_same_data, read_saved, task_of_rows
from reid_runtime.scoring import reranking
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.layouts import read_market
from reid_runtime.scoring.layouts.cuhk_sysu import read_cuhk_sysu
from reid_runtime.scoring.layouts.mars import read_mars, read_mars_torchreid
from reid_runtime.scoring.layouts.plain import read_plain
from reid_runtime.scoring.layouts.prw import read_prw
from reid_runtime.scoring.layouts.reading import dataset
from reid_runtime.scoring.person_search import score_search
from reid_runtime.scoring.ranking import score
from reid_runtime.scoring.tracklets import pool
from reid_runtime.scoring.vectors import unit
from reid_runtime.storage import write_embeddings

from .pictures import encode, picture
from .scoring.layouts import miniatures


def paint(root, height=64, width=32):
    """Pixels, each file its own, for the empty pictures of a miniature."""
    for seed, path in enumerate(sorted(root.rglob("*.jpg"))):
        if not path.name.startswith("."):
            path.write_bytes(encode(picture(height, width, seed), "JPEG"))
    return root


@pytest.fixture
def market(tmp_path):
    miniatures.market(tmp_path / "market")
    return paint(tmp_path / "market")


@pytest.fixture
def mars(tmp_path):
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    miniatures.mars(tmp_path / "mars")
    return paint(tmp_path / "mars")


def test_scores_are_those_of_the_vectors(tiny, market):
    data = read_market(market)
    seen = []
    evaluation = evaluate(tiny, data, lambda: seen.append(1))
    kept = data.gallery.where(data.gallery.identities >= 0)
    expected = score(tiny.embed(data.query.paths), data.query, tiny.embed(kept.paths), kept)
    assert evaluation.scores.summary() == expected.summary()
    assert len(seen) == 6, "the junk is not embedded"
    report = evaluation.report()
    assert (report["dataset"], report["protocol"], report["model"]) == ("market", PROTOCOL, "tiny.onnx")
    assert (report["contract_id"], report["gallery"]) == (tiny.contract.contract_id, 4)


def test_rows_carry_what_a_file_keeps(tiny, market):
    (market / "query/0003_c6s3_079642_00.jpg").write_bytes(encode(picture(50, 20), "JPEG"))
    rows = embed_task(tiny, task_of(read_market(market)))
    assert rows.split.tolist() == ["query"] * 2 + ["gallery"] * 4
    assert rows.identity.tolist() == [1, 3, 0, 1, 1, 3]
    assert rows.camera.tolist() == [1, 6, 2, 1, 2, 5]
    assert list(zip(rows.width, rows.height, strict=True))[:3] == [(32, 64), (20, 50), (32, 64)]
    assert rows.artefact_id == tiny.artefact_id


def test_pictures_that_are_query_and_gallery_are_embedded_once(tiny, tmp_path):
    miniatures.touch(tmp_path, "ann/1/a.jpg", "ann/2/b.jpg", "bob/1/c.jpg", "bob/2/d.jpg")
    seen = []
    evaluation = evaluate(tiny, read_plain(paint(tmp_path)), lambda: seen.append(1))
    assert len(seen) == 4
    assert evaluation.scores.summary().valid_queries == evaluation.scores.gallery == 4
    assert evaluation.protocol.startswith("each picture a query in turn; ")


def test_pictures_that_cannot_be_used_are_counted_and_the_first_is_named(tiny, market):
    (market / "bounding_box_test/-1_c1s1_000401_03.jpg").write_bytes(b"junk need not be a picture")
    evaluate(tiny, read_market(market))
    (market / "bounding_box_test/0001_c2s1_000776_01.jpg").write_bytes(b"")
    (market / "query/0003_c6s3_079642_00.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"2 of 6 pictures cannot be used, the first is .*query/0003_c6s3.*: not a"):
        evaluate(tiny, read_market(market))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("1/1/a.jpg", "1/1/b.jpg", "2/1/c.jpg"), "hold one camera only"),
        (("1/1/a.jpg", "2/2/b.jpg"), "none of 2 queries has a right answer, the first is identity 1 of camera 1"),
    ],
)
def test_what_cannot_be_scored_is_not_embedded(tiny, tmp_path, names, said):
    miniatures.touch(tmp_path, *names)
    with pytest.raises(ScoringError, match=said):
        evaluate(tiny, read_plain(tmp_path), lambda: pytest.fail("a picture was embedded"))


def test_reranking_is_that_of_the_scorer(tiny, market):
    evaluation = evaluate(tiny, read_market(market), settings=Settings(rerank=reranking.Settings(3, 2, 0.3)))
    expected = reranking.score_reranked(
        evaluation.query_vectors, evaluation.task.query, evaluation.gallery_vectors, evaluation.task.gallery,
        reranking.Settings(3, 2, 0.3),
    )  # fmt: skip
    assert evaluation.scores.summary() == expected.summary()
    assert evaluation.report()["reranked"] is True


def test_multi_query_averages_the_further_crops(tiny, market):
    names = [f"gt_bbox/0001_c1s1_00{number}_00.jpg" for number in (1, 2)]
    other, elsewhere = "gt_bbox/0003_c6s3_001_00.jpg", "gt_bbox/0001_c2s1_003_00.jpg"
    miniatures.touch(market, *names, other, elsewhere)
    paint(market)
    evaluation = evaluate(tiny, read_market(market), settings=Settings(multi_query=True))
    expected = unit(tiny.embed([market / name for name in names]).mean(axis=0, keepdims=True), "mean")[0]
    assert np.allclose(evaluation.query_vectors[0], expected, atol=1e-6)
    assert np.allclose(evaluation.query_vectors[1], tiny.embed([market / other])[0], atol=1e-6)
    assert evaluation.protocol.startswith("multi-query; ")
    assert "multi_query" not in evaluate(tiny, read_market(market)).task.parts, "nobody asked for them"


def test_multi_query_without_further_crops_is_told(tiny, market):
    with pytest.raises(DatasetError, match=r"multi-query needs further crops.*gt_bbox"):
        evaluate(tiny, read_market(market), settings=Settings(multi_query=True))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_tracklets_are_pooled_and_then_normalised(tiny, mars, pooling, monkeypatch):
    monkeypatch.setattr("reid_runtime.evaluation.embedding._POOLED", 2)
    data = read_mars(mars)
    evaluation = evaluate(tiny, data, settings=Settings(pooling=pooling))
    frames = tiny.embed(data.query.paths)
    query = pool(frames, data.query.starts, data.query.stops, pooling)
    assert np.allclose(evaluation.query_vectors, query, atol=1e-6)
    kept = data.gallery.take(np.flatnonzero(data.gallery.identities >= 0))
    expected = score(query, data.query, pool(frames, kept.starts, kept.stops, pooling), kept)
    assert evaluation.scores.summary() == expected.summary()
    assert f"; {pooling}-pooled tracklets; " in evaluation.protocol


def test_both_protocols_of_mars(tiny, mars):
    official = evaluate(tiny, task_of(read_mars(mars), None, dataset("mars")))
    torchreid = evaluate(tiny, task_of(read_mars_torchreid(mars), None, dataset("mars-torchreid")))
    assert (official.scores.gallery, torchreid.scores.gallery) == (6, 3)
    assert official.protocol.startswith("official: ")
    assert torchreid.protocol.startswith("torchreid's: ")


def test_frames_that_cannot_be_used_are_told(tiny, mars):
    (mars / "bbox_test/0002/0002C3T0001F002.jpg").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"1 of 10 pictures cannot be used, the first is .*0002C3T0001F002\.jpg: the"
    ):
        evaluate(tiny, read_mars(mars))


@pytest.fixture(params=["cuhk-sysu", "prw"])
def search(request, tmp_path):
    """A person search with frames to cut from, and the name of its layout."""
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    build, read = {"cuhk-sysu": (miniatures.cuhk_sysu, read_cuhk_sysu), "prw": (miniatures.prw, read_prw)}[
        request.param
    ]
    build(tmp_path / "set")
    paint(tmp_path / "set", 140, 300)
    return read(tmp_path / "set")


def by_boxes(embedder, search, boxes):
    """The vectors of boxes as a tracker would ask for them."""
    from reid_runtime.images import load_image

    rows = [
        embedder.embed_boxes(load_image(search.paths[frame]), xyxy[None], "rgb")[0]
        for frame, xyxy in zip(boxes.frames, boxes.xyxy, strict=True)
    ]
    return np.stack(rows)


def test_boxes_of_a_person_search_are_embedded_as_boxes_always_are(tiny, search, monkeypatch):
    from reid_runtime.evaluation import embedding

    decoded = []
    load = embedding.load_image
    monkeypatch.setattr(embedding, "load_image", lambda path: decoded.append(path) or load(path))
    evaluation = evaluate(tiny, search)
    assert np.allclose(evaluation.query_vectors, by_boxes(tiny, search, search.queries), atol=1e-6)
    assert np.allclose(evaluation.gallery_vectors, by_boxes(tiny, search, search.boxes), atol=1e-6)
    expected = score_search(search, evaluation.query_vectors, search.boxes, evaluation.gallery_vectors)
    assert evaluation.scores.summary() == expected.summary()
    assert len(decoded) == len(set(decoded)), "each frame is decoded once"


def test_ranked_boxes_agree_with_the_scores(tiny, search):
    evaluation = evaluate(tiny, search)
    for row, hit in enumerate(evaluation.scores.first_hit.tolist()):
        found, right = evaluation.ranked(row, 100)
        assert np.flatnonzero(right)[0] + 1 == hit
        assert right.sum() == len(search.tasks[row].answers)
        assert search.tasks[row].gallery[search.boxes.frames[found]].all()


def test_a_frame_that_cannot_be_read_is_told_with_its_boxes(tiny, search):
    search.paths[0].write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"2 of \d+ pictures cannot be used, the first is .*, box \(10, 10, 50, 90\)"
    ):
        evaluate(tiny, search)


def test_reranking_a_person_search_is_refused(tiny, search):
    with pytest.raises(ScoringError, match="in a person search each has its own"):
        evaluate(tiny, search, settings=Settings(rerank=reranking.Settings()))


def test_ranked_crops_agree_with_the_scores(tiny, market):
    evaluation = evaluate(tiny, read_market(market))
    for row, hit in enumerate(evaluation.scores.first_hit.tolist()):
        found, right = evaluation.ranked(row, 100)
        assert np.flatnonzero(right)[0] + 1 == hit
        assert len(found) == (3 if row == 0 else 4), "the query's own camera is left out"


def test_a_saved_file_scores_the_same(tiny, market, tmp_path):
    task = task_of(read_market(market))
    rows = embed_task(tiny, task)
    write_embeddings(tmp_path / "x.npz", rows)
    read = read_saved([tmp_path / "x.npz"])
    expected = score_rows(task, rows, "m").scores.summary()
    assert score_rows(task_of_rows(read, "x"), read, "m").scores.summary() == expected
    assert score_rows(task, read, "m").scores.summary() == expected


def test_query_and_gallery_may_lie_in_two_files(tiny, market, tmp_path):
    rows = embed_task(tiny, task_of(read_market(market)))
    for name in ("query", "gallery"):
        part = rows.split == name
        columns = {key: values[part] for key, values in rows.columns().items()}
        write_embeddings(tmp_path / f"{name}.npz", dataclasses.replace(rows, **columns))
    read = read_saved([tmp_path / "query.npz", tmp_path / "gallery.npz"])
    assert np.array_equal(read.embedding, rows.embedding)
    with pytest.raises(StorageError, match="no row is of the split gallery"):
        task_of_rows(read_saved([tmp_path / "query.npz"]), "x")


def another_space(rows):
    contract = dataclasses.replace(Contract.from_json(rows.contract, "x"), weights="sha256:ff")
    return dataclasses.replace(rows, contract=contract.to_json(), contract_id=contract.contract_id)


def test_two_contract_ids_are_told(tiny, market, tmp_path):
    rows = embed_task(tiny, task_of(read_market(market)))
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
    rows = embed_task(tiny, task_of(read_market(market)))
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
    task = task_of(read_market(market))
    rows = embed_task(tiny, task)
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
    rows = embed_task(tiny, task_of(search))
    assert rows.id[0].endswith("#xywh=10,10,40,80")
    with pytest.raises(StorageError, match="name the folder"):
        task_of_rows(rows, "x")
    assert score_rows(task_of(search), rows, "m").scores.summary() == evaluate(tiny, search).scores.summary()
