"""The vectors of an evaluation set against those of the embedder called by hand."""

import numpy as np
import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import EvalSettings, eval_set_of, evaluate
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.images.decode import load_image
from reid_runtime.scoring.layouts import read_market
from reid_runtime.scoring.layouts.mars import read_mars
from reid_runtime.scoring.layouts.plain import read_plain
from reid_runtime.scoring.person_search import score_search
from reid_runtime.scoring.ranking import score
from reid_runtime.scoring.tracklets import pool

from ..sample_images import encode, paint, sample_image
from ..scoring.layouts import miniatures


def test_rows_carry_what_a_file_keeps(tiny, market):
    (market / "query/0003_c6s3_079642_00.jpg").write_bytes(encode(sample_image(50, 20), "JPEG"))
    rows = embed_eval_set(tiny, eval_set_of(read_market(market)))
    assert rows.split.tolist() == ["query"] * 2 + ["gallery"] * 4
    assert rows.identity.tolist() == ["0001", "0003", "", "0001", "0001", "0003"]
    assert rows.role.tolist() == ["", "", "distractor", "", "", ""]
    assert rows.camera.tolist() == ["1", "6", "2", "1", "2", "5"]
    assert list(zip(rows.width, rows.height, strict=True))[:3] == [(32, 64), (20, 50), (32, 64)]
    assert rows.artefact_id == tiny.artefact_id


def test_images_of_query_and_gallery_are_embedded_once(tiny, tmp_path):
    miniatures.touch(tmp_path, "ann/1/a.jpg", "ann/2/b.jpg", "bob/1/c.jpg", "bob/2/d.jpg")
    seen = []
    evaluation = evaluate(tiny, read_plain(paint(tmp_path)), lambda: seen.append(1))
    assert len(seen) == 4
    assert evaluation.scores.summary().valid_queries == evaluation.scores.gallery == 4
    assert evaluation.protocol.startswith("each image a query in turn; ")


def test_unusable_images_are_counted_and_the_first_is_named(tiny, market):
    (market / "bounding_box_test/-1_c1s1_000401_03.jpg").write_bytes(b"junk need not be an image")
    evaluate(tiny, read_market(market))
    (market / "bounding_box_test/0001_c2s1_000776_01.jpg").write_bytes(b"")
    (market / "query/0003_c6s3_079642_00.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"2 of 6 images cannot be used, the first is .*query/0003_c6s3.*: not a"):
        evaluate(tiny, read_market(market))


def test_unusable_frames_of_tracklets_are_named(tiny, mars):
    (mars / "bbox_test/0002/0002C3T0001F002.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 of 10 images .*, the first is .*0002C3T0001F002\.jpg: the"):
        evaluate(tiny, read_mars(mars))


def by_boxes(embedder, search, boxes):
    """The vectors of boxes as a tracker would ask for them."""
    rows = [
        embedder.embed_boxes(load_image(search.paths[frame]), xyxy[None], "rgb")[0]
        for frame, xyxy in zip(boxes.frames, boxes.xyxy, strict=True)
    ]
    return np.stack(rows)


def test_boxes_of_a_person_search_are_those_of_embed_boxes(tiny, search, monkeypatch):
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


def test_unusable_frames_are_named_with_the_box(tiny, search):
    search.paths[0].write_bytes(b"")
    with pytest.raises(DatasetError, match=r"2 of \d+ images .*, the first is .*, box \(10, 10, 50, 90\)"):
        evaluate(tiny, search)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_tracklets_are_pooled_and_then_normalised(tiny, mars, pooling, monkeypatch):
    monkeypatch.setattr("reid_runtime.evaluation.embedding._POOLED", 2)
    data = read_mars(mars)
    evaluation = evaluate(tiny, data, settings=EvalSettings(pooling=pooling))
    frames = tiny.embed(data.query.paths)
    query = pool(frames, data.query.starts, data.query.stops, pooling)
    assert np.allclose(evaluation.query_vectors, query, atol=1e-6)
    kept = data.gallery.take(np.flatnonzero(data.gallery.identities >= 0))
    expected = score(query, data.query, pool(frames, kept.starts, kept.stops, pooling), kept)
    assert evaluation.scores.summary() == expected.summary()
    assert f"; {pooling}-pooled tracklets; " in evaluation.protocol
