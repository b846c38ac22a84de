"""Evaluations of small drawn sets through a real model, against the scorer called by hand."""

import numpy as np
import pytest

from reid_runtime.evaluation import PROTOCOL, EvalSettings, eval_set_of, evaluate
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.layouts import read_market
from reid_runtime.scoring.layouts.mars import read_mars, read_mars_torchreid
from reid_runtime.scoring.layouts.registry import find_dataset
from reid_runtime.scoring.ranking import score
from reid_runtime.scoring.reranking import RerankSettings, score_reranked
from reid_runtime.scoring.vectors import normalise

from ..sample_images import paint
from ..scoring.layouts import miniatures


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


def test_reranking_is_that_of_scoring(tiny, market):
    evaluation = evaluate(tiny, read_market(market), settings=EvalSettings(rerank=RerankSettings(3, 2, 0.3)))
    expected = score_reranked(
        evaluation.query_vectors, evaluation.eval_set.query, evaluation.gallery_vectors, evaluation.eval_set.gallery,
        RerankSettings(3, 2, 0.3),
    )  # fmt: skip
    assert evaluation.scores.summary() == expected.summary()
    assert evaluation.report()["reranked"] is True


def test_multi_query_averages_the_further_crops(tiny, market):
    names = [f"gt_bbox/0001_c1s1_00{number}_00.jpg" for number in (1, 2)]
    other, elsewhere = "gt_bbox/0003_c6s3_001_00.jpg", "gt_bbox/0001_c2s1_003_00.jpg"
    miniatures.touch(market, *names, other, elsewhere)
    paint(market)
    evaluation = evaluate(tiny, read_market(market), settings=EvalSettings(multi_query=True))
    expected = normalise(tiny.embed([market / name for name in names]).mean(axis=0, keepdims=True), "mean")[0]
    assert np.allclose(evaluation.query_vectors[0], expected, atol=1e-6)
    assert np.allclose(evaluation.query_vectors[1], tiny.embed([market / other])[0], atol=1e-6)
    assert evaluation.protocol.startswith("multi-query; ")
    assert "multi_query" not in evaluate(tiny, read_market(market)).eval_set.splits, "nobody asked for them"


def test_both_protocols_of_mars(tiny, mars):
    official = evaluate(tiny, eval_set_of(read_mars(mars), None, find_dataset("mars")))
    torchreid = evaluate(tiny, eval_set_of(read_mars_torchreid(mars), None, find_dataset("mars-torchreid")))
    assert (official.scores.gallery, torchreid.scores.gallery) == (6, 3)
    assert official.protocol.startswith("official: ")
    assert torchreid.protocol.startswith("torchreid's: ")


def test_ranked_boxes_agree_with_the_scores(tiny, search):
    evaluation = evaluate(tiny, search)
    for row, hit in enumerate(evaluation.scores.first_hit.tolist()):
        places, right = evaluation.ranked(row, 100)
        assert np.flatnonzero(right)[0] + 1 == hit
        assert right.sum() == len(search.tasks[row].answers)
        assert search.tasks[row].gallery[search.boxes.frames[places]].all()


def test_reranking_a_person_search_is_refused(tiny, search):
    with pytest.raises(ScoringError, match="in a person search each has its own"):
        evaluate(tiny, search, settings=EvalSettings(rerank=RerankSettings()))


def test_ranked_crops_agree_with_the_scores(tiny, market):
    evaluation = evaluate(tiny, read_market(market))
    for row, hit in enumerate(evaluation.scores.first_hit.tolist()):
        places, right = evaluation.ranked(row, 100)
        assert np.flatnonzero(right)[0] + 1 == hit
        assert len(places) == (3 if row == 0 else 4), "the query's own camera is left out"
