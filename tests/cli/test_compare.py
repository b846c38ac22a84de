"""reid-runtime compare: planted changes are told from noise, and two data sets are not compared."""

import dataclasses
import json

import numpy as np
import pytest

from reid_runtime.io.folder import open_folder
from reid_runtime.jobs import Embeddings, write_embeddings
from reid_runtime.jobs.manifest import Manifest
from reid_runtime.jobs.parts import Part, begin

from ..models import CONTRACT, DIMENSION
from ..sample_images import paint
from ..scoring.layouts import miniatures

PEOPLE = 40


def planted(noise, seed=0, weights="sha256:00"):
    """Vectors of PEOPLE people about directions of their own: 2 queries each, and 4 gallery items elsewhere."""
    centres = np.random.default_rng(1).normal(size=(PEOPLE, DIMENSION))
    people = np.concatenate([np.repeat(np.arange(PEOPLE), 2), np.repeat(np.arange(PEOPLE), 4)])
    vectors = centres[people] + noise * np.random.default_rng((2, seed)).normal(size=(len(people), DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contract = dataclasses.replace(CONTRACT, weights=weights)
    query = np.arange(len(people)) < 2 * PEOPLE
    return Embeddings(
        id=np.array([f"{number}.jpg" for number in range(len(people))]),
        embedding=vectors.astype(np.float32),
        width=np.ones(len(people), np.int32),
        height=np.ones(len(people), np.int32),
        error=np.full(len(people), "", dtype=np.str_),
        contract=contract.to_json(),
        contract_id=contract.contract_id,
        artefact_id=weights,
        identity=(people + 1).astype(np.str_),
        camera=np.where(query, "1", "2"),
        split=np.where(query, "query", "gallery"),
    )


@pytest.fixture
def files(tmp_path):

    def write(name, rows):
        write_embeddings(tmp_path / name, rows, force=True)
        return tmp_path / name

    return write


def test_a_better_model_is_more_than_noise(command, files):
    before, after = files("a.npz", planted(0.9)), files("b.npz", planted(0.5, weights="sha256:01"))
    run = command("compare", before, after, "--json")
    assert (run.code, run.err) == (0, "")
    actual = json.loads(run.out)
    assert actual["more_than_noise"] is True
    assert (actual["paired_queries"], actual["identities"]) == (2 * PEOPLE, PEOPLE)
    change = actual["changes"]["map_finite_sum"]
    assert change["change"] == pytest.approx(actual["after"]["map_finite_sum"] - actual["before"]["map_finite_sum"])
    assert 0 < change["low"] < change["change"] < change["high"]
    assert actual["before"]["contract_id"] != actual["after"]["contract_id"], "two models may be compared"
    text = command("compare", before, after).out
    assert text.splitlines()[-1] == f"mAP (finite-sum) rises by {100 * change['change']:.1f} points: more than noise"
    turned = json.loads(command("compare", after, before, "--json").out)
    assert turned["changes"]["map_finite_sum"]["change"] == pytest.approx(-change["change"])
    assert "falls by" in command("compare", after, before).out


def test_backends_of_both_sides(command, files):
    before = files("a.npz", planted(0.6))
    after = files("b.npz", dataclasses.replace(planted(0.6), backend="openvino cpu, bfloat16"))
    actual = json.loads(command("compare", before, after, "--json").out)
    assert (actual["before"]["backend"], actual["after"]["backend"]) == (None, "openvino cpu, bfloat16")
    lines = command("compare", before, after).out.splitlines()
    assert lines[0].endswith(", by a backend that it does not name")
    assert lines[1].endswith(", by openvino cpu, bfloat16")


def test_another_draw_of_the_same_noise_is_noise(command, files):
    paths = files("a.npz", planted(0.6)), files("b.npz", planted(0.6, seed=1))
    actual = json.loads(command("compare", *paths, "--json").out)
    assert actual["more_than_noise"] is False
    change = actual["changes"]["map_finite_sum"]
    assert change["low"] < 0 < change["high"]
    assert command("compare", *paths).out.rstrip().endswith("points: no more than noise")


def test_a_file_and_itself_do_not_differ(command, files):
    path = files("a.npz", planted(0.6))
    lines = command("compare", path, path).out.splitlines()
    assert lines[-1] == "mAP (finite-sum) changes by 0.0 points: no more than noise"
    measure = next(line for line in lines if line.startswith("rank-1 ")).split()
    assert measure[1] == measure[2]
    assert measure[3:] == ["0.0", "0.0", "to", "0.0"]


def test_reranked_on_both_sides(command, files):
    before, after = files("a.npz", planted(0.9)), files("b.npz", planted(0.5))
    plain, reranked = (
        json.loads(command("compare", before, after, "--json", *more).out) for more in ([], ["--rerank"])
    )
    assert (plain["reranked"], reranked["reranked"]) == (False, True)
    for side in ("before", "after"):
        assert plain[side]["map_finite_sum"] != reranked[side]["map_finite_sum"]


def test_two_data_sets_are_refused(command, files):
    rows = planted(0.6)
    path, ids, identities = files("a.npz", rows), rows.id.copy(), rows.identity.copy()
    ids[100:103], identities[0] = ["x", "y", "z"], 7
    for change, *reasons in (
        ({"id": ids}, "3 of 160 gallery rows of", "the first is '100.jpg', identity 6 of camera 2"),
        ({"identity": identities}, "1 of 80 query rows of", "'0.jpg', identity 1 of camera 1"),
    ):
        run = command("compare", path, files("b.npz", dataclasses.replace(rows, **change)))
        assert (run.code, run.out) == (1, "")
        assert all(reason in run.err for reason in reasons)


def test_files_of_another_kind_are_refused(command, files, tmp_path):
    path = files("a.npz", planted(0.6))
    bare = files("b.npz", dataclasses.replace(planted(0.6), split=None))
    run = command("compare", path, bare)
    assert run.code == 1
    assert "has no column split; expected a file of `evaluate --save`" in run.err
    (tmp_path / "c.npz").write_text("hello")
    assert "expected a file of embeddings" in command("compare", path, tmp_path / "c.npz").err
    assert command("compare", path, tmp_path / "absent.npz").code == 2
    assert command("compare", path).code == 2


def test_a_person_search_is_compared_with_its_folder(command, tiny_model, tmp_path):
    pytest.importorskip("scipy.io", reason="the miniature holds MATLAB files")
    miniatures.prw(tmp_path / "set")
    paint(tmp_path / "set", 140, 300)
    path = tmp_path / "x.npz"
    run = command("evaluate", tmp_path / "set", "--model", tiny_model, "--device", "cpu", "--save", path, "--json")
    bare = command("compare", path, path)
    assert bare.code == 1
    assert "each query has its own gallery; name the folder" in bare.err
    actual = json.loads(command("compare", path, path, "--folder", tmp_path / "set", "--json").out)
    assert actual["after"]["map_finite_sum"] == json.loads(run.out)["map_finite_sum"]
    assert actual["changes"]["map_finite_sum"] == {"change": 0, "low": 0, "high": 0}


def test_a_folder_is_read_as_evaluate_reads_it(command, files, tiny_model, tmp_path):
    pytest.importorskip("scipy.io", reason="the miniature holds MATLAB files")
    miniatures.cuhk_sysu(tmp_path / "set")
    paint(tmp_path / "set", 140, 300)
    path, folder = tmp_path / "x.npz", ["--folder", tmp_path / "set"]
    command("evaluate", tmp_path / "set", "--model", tiny_model, "--device", "cpu", "--save", path)
    actual = json.loads(command("compare", path, path, *folder, "--gallery-size", "50", "--json").out)
    assert actual["protocol"].startswith("person search, 50 gallery frames a query; ")
    assert "person search, 100 gallery frames a query; " in command("compare", path, path, *folder).out
    run = command("compare", path, path, *folder, "--gallery-size", "500")
    assert run.code == 1
    assert "TestG500.mat" in run.err
    assert "not all of cuhk-sysu" in command("compare", path, path, *folder, "--dataset", "cuhk-sysu").err
    assert "does not lie as prw does" in command("compare", path, path, *folder, "--layout", "prw").err


def test_layout_options_need_a_folder(command, files):
    path = files("a.npz", planted(0.6))
    run = command("compare", path, path, "--gallery-size", "50")
    assert run.code == 2
    assert "--gallery-size says how to read --folder; name that too" in run.err
    assert "query and gallery as saved; " in command("compare", path, path).out


def test_a_folder_of_parts_is_read_as_a_file(command, files, tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    rows = planted(0.9)
    folder = open_folder(str(tmp_path / "parts"))
    job = Manifest(
        rows.contract, rows.contract_id, rows.artefact_id, "x", "1/1", "skip", len(rows), "1", part_images=100
    )
    job = dataclasses.replace(job, digests=("",) * job.parts)
    begin(folder, job)
    for number in range(job.parts):
        Part(len(job.images_of(number)), "", ()).write(folder, number, rows.take([*job.images_of(number)]))
    run = command("compare", files("a.npz", rows), folder.name, "--json")
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out)["changes"]["map_finite_sum"]["change"] == 0
    bare = tmp_path / "empty"
    bare.mkdir()
    run = command("compare", files("a.npz", rows), bare)
    assert (run.code, "empty has no manifest.json" in run.err) == (1, True)
