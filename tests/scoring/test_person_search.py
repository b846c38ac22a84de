"""Person search: a miniature worked out by hand, and random frames against the definition with scikit-learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.layouts.cuhk_sysu import read_cuhk_sysu
from reid_runtime.scoring.layouts.prw import read_prw
from reid_runtime.scoring.person_search import Boxes, SearchSet, SearchTask, least_overlap, overlaps, score_search

from .brute_force import unit_rows
from .layouts import miniatures


@pytest.fixture
def cuhk_sysu(tmp_path):
    return built(miniatures.cuhk_sysu, tmp_path)


@pytest.fixture
def prw(tmp_path):
    return built(miniatures.prw, tmp_path)


def built(build, root):
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    build(root)
    return root


def similar(*similarities):
    """Unit vectors with these similarities to (1, 0)."""
    values = np.array(similarities, dtype=np.float32)
    return np.stack([values, np.sqrt(1 - values**2)], axis=1)


def boxes_in(*boxes):
    """Detections from (frame, left, top, right, bottom)."""
    table = np.array(boxes, dtype=np.float32)
    return Boxes(table[:, 0].astype(np.int64), table[:, 1:], np.zeros(len(table), dtype=np.int64))


def test_cuhk_sysu_is_read(cuhk_sysu):
    search = read_cuhk_sysu(cuhk_sysu, 50)
    assert search.frames == tuple(f"Image/SSM/s{number}.jpg" for number in range(1, 7))
    assert all(path.is_file() for path in search.paths)
    assert search.gallery_frames == 6
    assert search.boxes.frames.tolist() == [0, 0, 1, 2, 2, 3, 3, 4, 4, 5]
    assert search.boxes.identities.tolist() == [1, 0, 2, 1, 0, 1, 0, 0, 2, 0]
    assert search.boxes.xyxy[3].tolist() == [30, 30, 70, 110]
    assert search.queries.frames.tolist() == [0, 1]
    assert search.queries.xyxy.tolist() == [[10, 10, 50, 90], [20, 20, 60, 100]]
    assert [np.flatnonzero(task.gallery).tolist() for task in search.tasks] == [[2, 3, 4], [0, 4, 5]]
    assert [task.answers.tolist() for task in search.tasks] == [[2, 3], [4]]
    assert search.tasks[0].answer_xyxy.tolist() == [[30, 30, 70, 110], [40, 40, 50, 60]]


def test_cuhk_sysu_with_drawn_boxes_by_hand(cuhk_sysu):
    search = read_cuhk_sysu(cuhk_sysu)
    similarities = [0.2, 0.1, 0.95, 0.8, 0.5, 0.6, 0.7, 0.9, 0.4, 0.3]
    scores = score_search(search, similar(1, 1), search.boxes, similar(*similarities))
    # Query 0 looks in boxes 3 to 8: 7 wrong, 3 right, 6 wrong, 5 right. Query 1 in 7, 8 (right), 9, 0 and 1.
    assert scores.first_hit.tolist() == [2, 2]
    np.testing.assert_allclose(scores.ap_finite_sum, [(1 / 2 + 2 / 4) / 2, 1 / 2])
    np.testing.assert_allclose(scores.inp, [2 / 4, 1 / 2])
    assert scores.gallery == 3


def test_cuhk_sysu_with_detections_by_hand(cuhk_sysu):
    search = read_cuhk_sysu(cuhk_sysu)
    detections = boxes_in(
        (2, 32, 30, 72, 110),  # the person of query 0 in s3, but not the best-ranked such box: wrong
        (2, 30, 32, 70, 112),  # the best-ranked: right
        (3, 40, 40, 48, 50),  # overlaps the small person in s4 by 0.4, and 1/3 is enough: right
        (4, 50, 50, 90, 130),  # wrong
        (4, 270, 50, 310, 130),  # overlaps the person of query 1 by 1/3, and 0.5 is needed: a miss
    )
    scores = score_search(search, similar(1, 1), detections, similar(0.8, 0.9, 0.5, 0.7, 0.6))
    assert scores.first_hit.tolist() == [1, 0]
    np.testing.assert_allclose(scores.ap_finite_sum, [(1 / 1 + 2 / 5) / 2, 0])
    np.testing.assert_allclose(scores.inp, [2 / 5, 0])
    assert scores.valid.all()
    assert scores.summary().rank_1 == 0.5

    kept = np.array([0, 1, 3, 4])
    fewer = Boxes(detections.frames[kept], detections.xyxy[kept], detections.identities[kept])
    missed = score_search(search, similar(1, 1), fewer, similar(0.8, 0.9, 0.7, 0.6))
    assert missed.ap_finite_sum[0] == pytest.approx(1 * 1 / 2), "AP 1 on what was found, scaled by a recall of 1/2"
    assert missed.inp[0] == 0


def test_wrong_copies_of_cuhk_sysu(cuhk_sysu):
    with pytest.raises(DatasetError, match="galleries of 50, 100, 500, 1000, 2000, 4000, not 70"):
        read_cuhk_sysu(cuhk_sysu, 70)
    with pytest.raises(DatasetError, match=r"TestG500.mat is missing"):
        read_cuhk_sysu(cuhk_sysu, 500)
    (cuhk_sysu / "Image/SSM/s3.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 6 images that pool.mat names are missing, .*s3.jpg"):
        read_cuhk_sysu(cuhk_sysu)


def test_prw_is_read(prw):
    search = read_prw(prw)
    assert search.frames == tuple(f"frames/{name}.jpg" for name in miniatures.PRW_BOXES)
    assert search.cameras.tolist() == [1, 1, 2, 6]
    assert search.boxes.identities.tolist() == [479, 0, 480, 479, 480, 0, 479]
    assert search.boxes.xyxy[-1].tolist() == [0, 40, 44, 121], "moved into the frame, and cut to whole pixels"
    assert search.queries.identities.tolist() == [479, 480]
    assert search.queries.xyxy.tolist() == [[10, 10, 50, 90], [0, 30, 36, 110]]
    assert [np.flatnonzero(task.gallery).tolist() for task in search.tasks] == [[1, 2, 3], [0, 1, 3]]
    assert [task.answers.tolist() for task in search.tasks] == [[2, 3], [1]]


def test_prw_searches_every_camera_by_hand(prw):
    search = read_prw(prw)
    scores = score_search(search, similar(1, 1), search.boxes, similar(0.9, 0.8, 0.6, 0.7, 0.65, 0.1, 0.3))
    # Query 0 looks in boxes 2 to 6: 3 right, 4, 2, 6 right, 5. Query 1 in 0, 1, 2 (right), 6, 5.
    np.testing.assert_allclose(scores.ap_finite_sum, [(1 + 2 / 4) / 2, 1 / 3])
    assert scores.cameras.tolist() == [1, 2]


def test_wrong_copies_of_prw(prw):
    (prw / "query_info.txt").write_text("479 1 2 3 c1s1_000151\n")
    with pytest.raises(DatasetError, match="line 1 does not read IDENTITY X Y WIDTH HEIGHT FRAME"):
        read_prw(prw)
    (prw / "query_info.txt").write_text("479 1 2 3 4 c9s1_000151\n")
    with pytest.raises(DatasetError, match=r"1 of 5 images .* are missing, the first is 'frames/c9s1_000151.jpg'"):
        read_prw(prw)


def test_overlap_by_hand():
    person = np.array([0, 0, 10, 20], dtype=np.float32)
    boxes = np.array([[0, 0, 10, 20], [5, 0, 15, 20], [0, 0, 10, 10], [10, 0, 20, 20], [40, 40, 50, 50]], np.float32)
    np.testing.assert_allclose(overlaps(boxes, person), [1, 1 / 3, 1 / 2, 0, 0])
    assert least_overlap(person) == pytest.approx(200 / 600)
    assert least_overlap(np.array([0, 0, 50, 100], np.float32)) == 0.5


@st.composite
def searches(draw):
    """Some queries and detections in frames so small that boxes overlap."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames, queries, found = draw(st.integers(2, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 25))

    def boxes(count):
        corners = rng.integers(0, 30, (count, 2))
        return np.concatenate([corners, corners + rng.integers(5, 60, (count, 2))], axis=1).astype(np.float32)

    tasks = []
    for _ in range(queries):
        gallery = rng.random(frames) < 0.8
        answers = np.flatnonzero(gallery & (rng.random(frames) < 0.5))
        tasks.append(SearchTask(gallery, answers, boxes(len(answers))))
    nobody = np.zeros(found, dtype=np.int64)
    detections = Boxes(rng.integers(0, frames, found), boxes(found), nobody)
    people = Boxes(np.zeros(queries, dtype=np.int64), boxes(queries), np.arange(1, queries + 1))
    names = tuple(map(str, range(frames)))
    search = SearchSet(Path(), names, frames, np.zeros(frames, dtype=np.int64), detections, people, tuple(tasks))
    return search, unit_rows(rng, queries, 8), unit_rows(rng, found, 8)


def overlap(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


@settings(deadline=None, max_examples=200)
@given(searches())
def test_as_the_definition_says(drawn):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the independent judge here")
    search, query_vectors, vectors = drawn
    if not any(task.answers.size for task in search.tasks):
        with pytest.raises(ScoringError, match=r"none of \d queries is in a frame"):
            score_search(search, query_vectors, search.boxes, vectors)
        return
    scores = score_search(search, query_vectors, search.boxes, vectors)
    assert scores.valid.tolist() == [task.answers.size > 0 for task in search.tasks]
    for row in np.flatnonzero(scores.valid):
        task = search.tasks[row]
        people = dict(zip(task.answers.tolist(), task.answer_xyxy.tolist(), strict=True))
        similarity = query_vectors[row] @ vectors.T
        rows = [i for i in range(len(vectors)) if task.gallery[search.boxes.frames[i]]]
        rows.sort(key=lambda i: -similarity[i])
        right = []
        for i in rows:
            frame, box = int(search.boxes.frames[i]), search.boxes.xyxy[i].tolist()
            right.append(False)
            if (person := people.get(frame)) is not None:
                width, height = person[2] - person[0], person[3] - person[1]
                if overlap(box, person) >= min(0.5, width * height / ((width + 10) * (height + 10))):
                    right[-1] = True
                    del people[frame]
        recall = sum(right) / task.answers.size
        expected = metrics.average_precision_score(right, similarity[rows]) * recall if any(right) else 0
        assert scores.ap_finite_sum[row] == pytest.approx(expected, abs=1e-6)
        assert scores.first_hit[row] == (right.index(True) + 1 if any(right) else 0)


def test_vectors_are_checked(cuhk_sysu):
    search = read_cuhk_sysu(cuhk_sysu)
    with pytest.raises(ScoringError, match="detection vectors have the shape"):
        score_search(search, similar(1, 1), search.boxes, similar(0.5))
    with pytest.raises(ScoringError, match="query vectors are not of unit length"):
        score_search(search, 3 * similar(1, 1), search.boxes, similar(*[0.5] * 10))
    empty = replace(search, tasks=tuple(replace(task, answers=task.answers[:0]) for task in search.tasks))
    with pytest.raises(ScoringError, match="none of 2 queries"):
        score_search(empty, similar(1, 1), search.boxes, similar(*[0.5] * 10))
