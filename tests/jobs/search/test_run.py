"""Who a query is: decisions, what never answers, and what is said of it."""

import dataclasses

import numpy as np
import pytest

from reid_runtime import SearchSettings, StorageError, open_gallery, search, write_embeddings
from reid_runtime.errors import OptionsError
from reid_runtime.jobs.search import run
from reid_runtime.matching import CalibrationError
from reid_runtime.scoring.reranking import rerank

from ...miniature import write_crops
from ...models import FOREIGN
from .made import QUERY, at, calibration, rows


@pytest.fixture
def look(tmp_path):
    """Search these gallery rows for QUERY, or for other rows: look(rows, query=rows, **settings) gives the answer."""

    def run(gallery, query=None, known=True, **settings):
        write_embeddings(tmp_path / "gallery.npz", gallery, force=True)
        write_embeddings(tmp_path / "query.npz", query or rows(QUERY[None], ["query.jpg"]), force=True)
        (answer,) = search(
            tmp_path / "query.npz", tmp_path / "gallery.npz", calibration=calibration() if known else None,
            settings=SearchSettings(**settings),
        )  # fmt: skip
        return answer

    return run


def names(matches):
    return [match.identity or match.id for match in matches]


@pytest.mark.parametrize(
    ("cosines", "decision", "matches", "below"),
    [
        ((0.9, 0.45, 0.1), "match", ["a"], ["b", "c"]),
        ((0.9, 0.6, 0.1), "match", ["a", "b"], ["c"]),
        ((0.52, 0.49, 0.1), "ambiguous", ["a", "b"], ["c"]),
        ((0.1, 0.64, 0.63), "ambiguous", ["b", "c"], ["a"]),
        ((0.49, 0.48, 0.1), "nobody", [], ["a", "b", "c"]),
    ],
)
def test_decisions(look, cosines, decision, matches, below):
    answer = look(rows(at(*cosines), identity=["a", "b", "c"]))
    assert (answer.decision, answer.threshold, answer.gallery_size) == (decision, 0.5, 3)
    assert (names(answer.matches), names(answer.below)) == (matches, below)
    assert [match.rank for match in (*answer.matches, *answer.below)] == [1, 2, 3]
    first = max(cosines)
    assert (answer.matches + answer.below)[0].similarity == pytest.approx(first, abs=2e-6)
    assert answer.fpir == 0.01


def test_rows_of_one_person_answer_once_and_distractors_count_as_nobody(look):
    answer = look(rows(at(0.6, 0.9, 0.7, 0.3), identity=["a", "a", "b", ""], role=["", "", "", "distractor"]))
    assert [(match.id, match.identity) for match in answer.matches] == [("1.jpg", "a"), ("2.jpg", "b")]
    assert [match.id for match in answer.below] == ["3.jpg"]
    assert (answer.gallery_size, answer.gallery_of) == (2, "people")


def test_tracks_of_two_cameras_are_two_and_may_be_one_person(look):
    answer = look(rows(at(0.62, 0.63, 0.61), track=["1", "1", "2"], camera=["x", "x", "y"]))
    assert (answer.gallery_size, answer.gallery_of) == (2, "tracks")
    assert answer.decision == "match", "two tracks are not two people"
    assert [match.id for match in answer.matches] == ["1.jpg", "2.jpg"]


def test_the_threshold_follows_the_size_of_the_gallery(look):
    people = [f"p{row}" for row in range(100)]
    small, large = (look(rows(at(*[0.55] + [0.0] * (size - 1)), identity=people[:size])) for size in (10, 100))
    assert (small.threshold, large.threshold) == (0.5, 0.6)
    assert (small.decision, large.decision) == ("match", "nobody")
    assert look(rows(at(*[0.55] * 100), identity=people), fpir=0.1).threshold == 0.5
    beyond = look(rows(at(*[0.55] * 400)))
    assert beyond.extrapolated
    assert beyond.gallery_size == 400
    assert "who is who" in beyond.notes[0]
    with pytest.raises(CalibrationError, match="does not support an FPIR"):
        look(rows(at(0.5)), fpir=0.001)


def test_without_a_calibration_there_are_candidates_and_no_decision(look):
    answer = look(rows(at(0.9, 0.45), identity=["a", "b"]), known=False, k=1)
    assert (answer.decision, answer.threshold, answer.calibrated_elsewhere) == (None, None, None)
    assert [(match.identity, match.fmr, match.verdict) for match in answer.matches] == [("a", None, None)]


def test_the_query_itself_junk_and_worthless_images_never_answer(look):
    gallery = rows(
        at(0.95, 0.94, 0.93, 0.6), ["junk.jpg", "blank.jpg", "bad.jpg", "4.jpg"], role=["junk", "", "", ""],
        reasons=["", "range_scaled,blank", "", "range_scaled"], error=["", "", "corrupt", ""],
    )  # fmt: skip
    answer = look(gallery)
    assert [match.id for match in answer.matches + answer.below] == ["4.jpg"]
    itself = rows(np.concatenate([QUERY[None], QUERY[None], at(0.6)]), ["query.jpg", "copy.jpg", "3.jpg"])
    assert [match.id for match in look(itself).matches] == ["copy.jpg", "3.jpg"]
    of_that_name = rows(at(0.8, 0.6), ["query.jpg", "2.jpg"])
    assert [match.id for match in look(of_that_name).matches] == ["query.jpg", "2.jpg"], "another image of that name"


def test_a_blank_query_is_nobody_whatever_it_is_near(look):
    answer = look(rows(at(0.99), identity=["a"]), rows(QUERY[None], ["blank.jpg"], reasons=["blank"]))
    assert (answer.decision, answer.matches, answer.below, answer.reasons) == ("nobody", (), (), ("blank",))


def test_the_querys_camera_is_left_out_when_asked(look):
    gallery = rows(at(0.9, 0.8), identity=["a", "b"], camera=["1", "2"])
    query = rows(QUERY[None], ["query.jpg"], camera=["1"])
    assert names(look(gallery, query).matches) == ["a", "b"]
    assert names(look(gallery, query, exclude_same_camera=True).matches) == ["b"]
    with pytest.raises(OptionsError, match=r"the camera of 1 of 1 query is not known, the first is query\.jpg"):
        look(gallery, exclude_same_camera=True)
    with pytest.raises(OptionsError, match="says of no row which camera"):
        look(rows(at(0.9)), query, exclude_same_camera=True)


def test_re_ranking_orders_and_cosines_decide(look):
    vectors = np.random.default_rng(2).normal(size=(60, QUERY.size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery = rows(vectors, identity=[f"p{row}" for row in range(60)])
    plain, reranked = look(gallery, k=60), look(gallery, k=60, rerank=True)
    order = np.argsort(rerank(QUERY[None], vectors).distances(0, 1)[0], kind="stable")
    ranked = sorted(reranked.matches + reranked.below, key=lambda match: match.rank)
    assert names(ranked) == [f"p{row}" for row in order]
    assert names(plain.matches + plain.below) != names(ranked)
    assert {*names(reranked.below)} == {*names(plain.below)}, "what is below the threshold stays there"
    assert any("re-ranked" in note for note in reranked.notes)


def test_two_embedding_spaces_are_refused(look):
    other = dataclasses.replace(
        rows(at(0.9)), contract=FOREIGN.to_json(), contract_id=FOREIGN.contract_id, artefact_id="sha256:cd"
    )
    with pytest.raises(StorageError, match=f"{FOREIGN.contract_id}.*two embedding spaces"):
        look(other)


def test_images_and_folders_look_in_a_folder_of_images(tiny, tmp_path):
    write_crops(tmp_path / "people", 4)
    gallery = open_gallery(tmp_path / "people", tiny)
    assert (gallery.size, gallery.size_of, len(gallery.table)) == (4, "people", 16)
    image = next((tmp_path / "people/person-02/camera-1").iterdir())
    one, four = search([image, tmp_path / "people/person-03"], gallery, embedder=tiny)
    ids = [match.id for match in one.matches]
    assert image.relative_to(tmp_path / "people").as_posix() not in ids
    assert {match.identity for match in one.matches} == {f"person-0{number}" for number in range(1, 5)}
    assert {match.identity for match in four.matches} == {"person-01", "person-02", "person-04"}
    assert (one.crops, four.crops) == (1, 4)
    with pytest.raises(OptionsError, match="take a model"):
        search(image, gallery)


def test_a_mean_of_several_images_has_a_higher_threshold(tiny, tmp_path):
    write_crops(tmp_path / "people", 3)
    measured = calibration()
    higher = dataclasses.replace(measured.strata[0], crops="1xn")
    measured = dataclasses.replace(measured, strata=(higher,))
    (answer,) = search(tmp_path / "people/person-01", tmp_path / "people", embedder=tiny, calibration=measured)
    assert answer.threshold == pytest.approx(0.5 + 0.25)
    assert answer.extrapolated
    assert "0.250 above" in answer.notes[0]


def test_many_queries_are_answered_some_at_a_time(tmp_path, monkeypatch):
    write_embeddings(tmp_path / "gallery.npz", rows(at(0.9, 0.5, 0.2)))
    write_embeddings(tmp_path / "query.npz", rows(at(1.0, 0.4, 0.3, 0.2, 0.1), [f"q{row}" for row in range(5)]))
    together = search(tmp_path / "query.npz", tmp_path / "gallery.npz")
    monkeypatch.setattr(run, "_TOGETHER", 2)
    assert search(tmp_path / "query.npz", tmp_path / "gallery.npz") == together
    assert [answer.query for answer in together] == [f"q{row}" for row in range(5)]
