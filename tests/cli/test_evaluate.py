"""reid-runtime evaluate: the default model on drawn people, and sets that cannot be scored."""

import json
from dataclasses import replace

import numpy as np
import pytest

from reid_runtime.embedder import Embedder
from reid_runtime.evaluation import eval_set_of
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.jobs import read_embeddings, write_embeddings
from reid_runtime.model_file.packaged import default_model
from reid_runtime.scoring.layouts import read_market
from tests.miniature import write_market

from ..sample_images import paint
from ..scoring.layouts import miniatures

SCORES = [
    "contract_id", "artefact_id", "rank_1", "rank_5", "rank_10", "map_finite_sum", "map_trapezoid", "minp", "queries",
    "valid_queries", "gallery", "reranked",
]  # fmt: skip
OTHERS = ["dataset", "protocol", "model", "labels", "warnings", "open_set", "reassociation"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Drawn people in Market-1501's layout, 8 crops of 4 people to tell apart."""
    folder = tmp_path_factory.mktemp("data") / "drawn"
    write_market(folder, identities=7, cameras=2, views=1)
    return folder


@pytest.fixture(scope="module")
def saved(drawn, tmp_path_factory):
    """What `evaluate --save` keeps of them, by the default model."""
    path = tmp_path_factory.mktemp("saved") / "saved.npz"
    write_embeddings(path, embed_eval_set(Embedder.load(), eval_set_of(read_market(drawn))))
    return path


@pytest.fixture
def evaluate(command, tiny_model):
    """`reid-runtime evaluate` with the small model, for what is not about the scores."""
    return lambda *arguments: command("evaluate", *arguments, "--model", tiny_model, "--device", "cpu")


def test_scores_of_the_default_model(command, drawn, default, tmp_path):
    run = command("evaluate", drawn, "--json", "--save", tmp_path / "x.npz", "--device", "cpu")
    assert run.code == 0
    actual = json.loads(run.out)
    assert sorted(actual) == sorted(SCORES + OTHERS)
    assert (actual["queries"], actual["valid_queries"], actual["gallery"]) == (8, 8, 9)
    assert (actual["dataset"], actual["model"], actual["reranked"]) == ("drawn", default_model().name, False)
    assert actual["contract_id"] == default.contract.contract_id
    assert 0.5 < actual["map_trapezoid"] <= actual["map_finite_sum"] <= 1
    assert actual["rank_1"] <= actual["rank_5"] <= actual["rank_10"] == 1
    rows = read_embeddings(tmp_path / "x.npz")
    assert (rows.width.tolist(), rows.height.tolist()) == ([64] * 17, [128] * 17)
    assert rows.split.tolist() == ["query"] * 8 + ["gallery"] * 9
    assert (set(rows.identity), set(rows.role), set(rows.camera)) == (
        {"", "0005", "0006", "0007", "0008"},
        {"", "distractor"},
        {"1", "2"},
    )
    assert np.array_equal(rows.embedding, default.embed([drawn / name for name in rows.id]))


def test_a_saved_file_gives_the_same_numbers_without_a_model(command, drawn, saved):
    fresh = json.loads(command("evaluate", drawn, "--json", "--device", "cpu").out)
    kept = command("evaluate", "--from", saved, "--json")
    assert kept.code == 0
    again = json.loads(kept.out)
    assert [again[key] for key in SCORES] == [fresh[key] for key in SCORES]
    assert again["dataset"] == "saved"
    assert again["protocol"].startswith("query and gallery as saved; same identity and camera ignored")
    assert json.loads(command("evaluate", drawn, "--from", saved, "--json").out)["dataset"] == "drawn"


def test_the_table_has_percent_and_intervals(command, saved):
    actual = json.loads(command("evaluate", "--from", saved, "--json").out)
    run = command("evaluate", "--from", saved)
    lines = run.out.splitlines()
    line = next(line for line in lines if line.startswith("mAP (finite-sum)"))
    _, _, value, low, to, high = line.split()
    assert (value, to) == (f"{100 * actual['map_finite_sum']:.1f}", "to")
    assert float(low) <= float(value) <= float(high)
    assert "8 of 8 queries, 9 gallery items" in lines
    assert "bootstrap over the 4 people" in lines[-1]


def test_reranked_scores_differ(command, saved, tmp_path):
    # Drawn people are easily told apart: noise makes room for a better ranking.
    rows = read_embeddings(saved)
    vectors = rows.embedding + np.random.default_rng(0).normal(0, 1, rows.embedding.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    noisy = tmp_path / "noisy.npz"
    write_embeddings(noisy, replace(rows, embedding=vectors))
    plain, reranked = (
        json.loads(command("evaluate", "--from", noisy, "--json", *more).out) for more in ([], ["--rerank"])
    )
    assert reranked["reranked"] is True
    assert reranked != plain | {"reranked": True}
    assert "re-ranked, k1 20, k2 6, weight 0.3" in command("evaluate", "--from", saved, "--rerank").out


def test_unusable_images_write_nothing(evaluate, tmp_path):
    miniatures.market(tmp_path)
    run = evaluate(tmp_path, "--save", tmp_path / "x.npz", "--report", tmp_path / "x.html")
    assert run.code == 1
    assert "6 of 6 images cannot be used, the first is" in run.err
    assert "0001_c1s1_001051_00.jpg: the file is empty" in run.err
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_query_without_a_right_answer(evaluate, tmp_path):
    miniatures.market(tmp_path)
    (tmp_path / "bounding_box_test/0003_c5s3_065187_01.jpg").unlink()
    run = evaluate(paint(tmp_path), "--json")
    assert run.code == 0
    actual = json.loads(run.out)
    assert (actual["queries"], actual["valid_queries"]) == (2, 1)
    assert run.err.splitlines()[-1].startswith(
        "1 of 2 queries have no right answer and are not averaged, the first is query/0003_c6s3"
    )
    assert "95 % interval" not in evaluate(tmp_path).out, "of one person there is none"


def test_a_csv(evaluate, tmp_path):
    miniatures.touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    table = "id,identity,camera\na.jpg,ann,door\nb.jpg,ann,hall\nc.jpg,bob,door\nd.jpg,bob,hall\n"
    (paint(tmp_path) / "crops.csv").write_text(table)
    for path in (tmp_path, tmp_path / "crops.csv"):
        actual = json.loads(evaluate(path, "--json").out)
        assert (actual["queries"], actual["gallery"]) == (4, 4)
        assert actual["protocol"].startswith("each image a query in turn")


@pytest.fixture
def mars(tmp_path):
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    miniatures.mars(tmp_path / "mars")
    return paint(tmp_path / "mars")


def test_tracklets_by_both_protocols_and_poolings(evaluate, mars):
    actual = json.loads(evaluate(mars, "--json").out)
    assert (actual["queries"], actual["gallery"]) == (3, 6)
    assert actual["protocol"].startswith("official: every test tracklet in the gallery; mean-pooled tracklets; ")
    actual = json.loads(evaluate(mars, "--json", "--layout", "mars-torchreid", "--pooling", "max").out)
    assert (actual["queries"], actual["gallery"]) == (3, 3)
    assert actual["protocol"].startswith("torchreid's: no query in the gallery; max-pooled tracklets; ")


def test_saved_tracklets_score_the_same(evaluate, command, mars, tmp_path):
    fresh = json.loads(evaluate(mars, "--json", "--save", tmp_path / "x.npz").out)
    kept = json.loads(command("evaluate", mars, "--from", tmp_path / "x.npz", "--json").out)
    assert kept["map_finite_sum"] == fresh["map_finite_sum"]
    assert len(read_embeddings(tmp_path / "x.npz")) == 3 + 6


def test_person_search_with_a_gallery_size(evaluate, tmp_path):
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    miniatures.cuhk_sysu(tmp_path / "set")
    paint(tmp_path / "set", 140, 300)
    actual = json.loads(evaluate(tmp_path / "set", "--json").out)
    assert (actual["queries"], actual["gallery"]) == (2, 3)
    assert actual["protocol"].startswith("person search, 100 gallery frames a query; boxes that people drew; AP scaled")
    actual = json.loads(evaluate(tmp_path / "set", "--json", "--gallery-size", "50").out)
    assert actual["protocol"].startswith("person search, 50 gallery frames a query; ")
    run = evaluate(tmp_path / "set", "--gallery-size", "500")
    assert run.code == 1
    assert "TestG500.mat" in run.err


def test_report_is_written(command, drawn, saved, tmp_path):
    run = command("evaluate", drawn, "--from", saved, "--report", tmp_path / "x.html")
    assert run.code == 0
    page = (tmp_path / "x.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 20
    again = command("evaluate", drawn, "--from", saved, "--report", tmp_path / "x.html")
    assert again.code == 1
    assert "x.html exists and is not overwritten" in again.err
    assert command("evaluate", drawn, "--from", saved, "--report", tmp_path / "x.html", "--force").code == 0
    assert (tmp_path / "x.html").read_text() == page


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([], 2, "Missing argument 'FOLDER'"),
        (["absent"], 2, "does not exist"),
        (["{saved}"], 1, "holds embeddings: expected images"),
        (["{drawn}", "--dataset", "nonsense"], 2, "'nonsense' is not one of 'market1501'"),
        (["{drawn}", "--dataset", "market1501", "--layout", "plain"], 2, "state one of --dataset and --layout"),
        (["{drawn}", "--dataset", "market1501"], 1, "query: expected 3368, found 8"),
        (["{drawn}", "--dataset", "msmt17"], 1, "is not msmt17: missing list_query.txt, list_gallery.txt"),
        (["{drawn}", "--layout", "prw"], 1, "does not lie as prw does: missing frames, annotations"),
        (["{drawn}", "--pooling", "max"], 2, "--pooling is for tracklets"),
        (["{drawn}", "--gallery-size", "50"], 2, "--gallery-size is for CUHK-SYSU"),
        (["{drawn}", "--multi-query"], 1, "gt_bbox"),
        (["{drawn}", "--from", "{saved}"], 2, "--model: no model runs"),
        (["{drawn}", "--report", "x.txt"], 1, "expected a name that ends in .html"),
        (["{drawn}", "--report", "nowhere/x.html"], 1, "nowhere is not a folder"),
        (["{drawn}", "--save", "nowhere/x.npz"], 1, "nowhere is not a folder"),
        (["--from", "{saved}", "--gallery-size", "50"], 2, "--gallery-size says how to read FOLDER"),
    ],
)
def test_usage_errors_come_before_the_work(evaluate, drawn, saved, tmp_path, monkeypatch, arguments, code, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reid_runtime.cli.evaluate.embed_eval_set", lambda *_: pytest.fail("images were embedded"))
    run = evaluate(*(word.format(drawn=drawn, saved=saved) for word in arguments))
    assert (run.code, run.out) == (code, "")
    assert reason in run.err
    assert "Traceback" not in run.err
