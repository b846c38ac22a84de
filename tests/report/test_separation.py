"""Cosines on the page of an evaluation: histograms, the DET curve, thresholds, and under each image."""

import re

import numpy as np
import pytest

from reid_runtime.evaluation import EvalSettings, eval_set_of, evaluate, score_rows
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.report.page import page
from reid_runtime.report.separation import det_curve, error_rates, histograms, samples_of
from reid_runtime.scoring.layouts import read_market
from reid_runtime.scoring.layouts.plain import read_plain

from ..matching.made import HISTOGRAMS, POINTS
from ..miniature import write_crops, write_market
from .browser import check_layout
from .test_page import Page


@pytest.fixture(scope="module")
def evaluation(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("market")
    write_market(folder, identities=12)
    return evaluate(tiny, read_market(folder))


def test_rates_follow_from_the_histograms():
    # As counted by hand: 1,000,000 non-mated and 20,000 mated comparisons.
    expected = [(1, 0), (0.1, 0), (0.01, 0.01), (0.001, 0.1), (0.0001, 0.5), (0, 1)]
    assert np.allclose(error_rates(HISTOGRAMS), expected)


def test_the_det_curve_marks_the_thresholds_where_the_rates_are():
    drawn = Page(det_curve(HISTOGRAMS, POINTS))
    curve = [tuple(map(float, pair.split(","))) for pair in drawn.all("polyline", "curve")[0]["points"].split()]
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in drawn.all("circle", "dot")]
    assert all(min(np.hypot(x - left, y - top) for left, top in curve) < 0.2 for x, y in dots[1:])
    assert "FMR 0.1 %: FNMR 10 %" in drawn.all("svg")[0]["aria-label"]
    steps = np.diff([x for x, _ in dots])
    assert np.allclose(steps, steps[0], atol=0.2), "each tenth of the FMR is as far from the last"


def test_histograms_are_drawn_to_scale():
    drawn = Page(histograms(HISTOGRAMS, POINTS))
    heights = {}
    for kind in ("mated", "non-mated"):
        points = [tuple(map(float, pair.split(","))) for pair in drawn.all("polygon", kind)[0]["points"].split()]
        base = points[0][1]
        heights[kind] = sum(base - y for _, y in points[1:-1])
    assert heights["mated"] == pytest.approx(heights["non-mated"], rel=0.02), "each to its own total"
    assert len(drawn.all("line", "threshold")) == len(POINTS)


def test_comparisons_are_those_across_cameras_of_people(evaluation):
    samples = samples_of(evaluation)
    entries = [evaluation.eval_set.query, evaluation.eval_set.gallery]
    identities = np.concatenate([each.identities for each in entries])
    cameras = np.concatenate([each.cameras for each in entries])
    people = identities > 0
    same, across = identities[:, None] == identities, cameras[:, None] != cameras
    pairs = np.triu(across & people[:, None] & people, 1)
    text = Page(page(evaluation)).text
    assert f"of two cameras: {np.count_nonzero(pairs & same):,} mated" in text
    assert f"{np.count_nonzero(pairs & ~same):,} non-mated (of two), of 6 people" in text
    assert len(samples.vectors) == np.count_nonzero(people)
    assert "is not supported by these data" in text, "six people support no rate"


def test_means_of_queries_and_queries_that_are_the_gallery_are_counted_once(evaluation, tiny, tmp_path):
    write_crops(tmp_path, 3)
    eval_set = eval_set_of(read_plain(tmp_path))
    alone = score_rows(eval_set, embed_eval_set(tiny, eval_set), "tiny", EvalSettings())
    assert len(samples_of(alone).vectors) == len(eval_set.gallery) == len(eval_set.query)


def test_the_cosine_is_under_each_image(evaluation):
    drawn = Page(page(evaluation))
    row = evaluation.eval_set.query.ids.index(drawn.all("p", "name")[0]["text"])
    ranked, _ = evaluation.ranked(row, 10)
    expected = evaluation.gallery_vectors[ranked] @ evaluation.query_vectors[row]
    captions = "".join(one["text"] for one in drawn.all("figcaption"))
    cosines = [float(cosine) for cosine in re.findall(r"cosine (-?\d\.\d+)", captions)]
    assert np.allclose(cosines[: len(ranked)], expected, atol=6e-4)


def test_in_a_browser(evaluation, tmp_path):
    text = page(evaluation)
    check_layout(text, tmp_path, images=text.count("<img "))
