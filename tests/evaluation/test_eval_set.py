"""Sets that cannot be scored are refused before anything is embedded."""

import dataclasses

import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import EvalSettings, evaluate
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.layouts import read_market
from reid_runtime.scoring.layouts.plain import read_plain

from ..scoring.layouts import miniatures


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("1/1/a.jpg", "1/1/b.jpg", "2/1/c.jpg"), "hold one camera only"),
        (("1/1/a.jpg", "2/2/b.jpg"), "none of 2 queries has a right answer, the first is identity 1 of camera 1"),
    ],
)
def test_crops_without_answers_are_not_embedded(tiny, tmp_path, names, reason):
    miniatures.touch(tmp_path, *names)
    with pytest.raises(ScoringError, match=reason):
        evaluate(tiny, read_plain(tmp_path), lambda: pytest.fail("an image was embedded"))


def test_multi_query_needs_further_crops(tiny, market):
    with pytest.raises(DatasetError, match=r"multi-query needs further crops.*gt_bbox"):
        evaluate(tiny, read_market(market), settings=EvalSettings(multi_query=True))


def test_a_person_search_without_answers_is_not_embedded(tiny, search):
    tasks = tuple(dataclasses.replace(task, answers=task.answers[:0]) for task in search.tasks)
    with pytest.raises(ScoringError, match="none of 2 queries is in a frame of its gallery"):
        evaluate(tiny, dataclasses.replace(search, tasks=tasks), lambda: pytest.fail("a box was embedded"))
