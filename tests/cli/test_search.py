"""reid-runtime search: what is printed, receipts and their replay, the page."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from reid_runtime import read_embeddings, write_embeddings
from reid_runtime.matching import write_calibration

from ..jobs.search.made import QUERY, at, calibration, rows
from ..miniature import write_crops


@pytest.fixture
def files(tmp_path, monkeypatch):
    """q.npz, a person who is in g.npz, and c.json, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_embeddings("q.npz", rows(np.concatenate([QUERY[None], at(0.0)]), ["one.jpg", "two.jpg"]))
    labels = {"identity": ["anna", "ben", "ben", ""], "role": ["", "", "", "junk"], "camera": ["1", "1", "2", "1"]}
    write_embeddings("g.npz", rows(at(0.9, 0.4, 0.2, 0.99), **labels))
    write_calibration(tmp_path / "c.json", calibration(own_site=False))
    return tmp_path


def ask(command, *options):
    return command("search", "q.npz", "--in", "g.npz", *options)


@pytest.mark.usefixtures("files")
def test_table_of_matches(command):
    run = ask(command, "--calibration", "c.json")
    assert run.code == 0
    assert "one.jpg: match: anna\n    1  0.900  same, FMR ≤ 0.1 %   anna  0.jpg" in run.out
    assert "two.jpg: nobody among 2 people" in run.out
    assert "threshold 0.500: FPIR 1 % in a gallery of 2 people; calibrated elsewhere, on made" in run.out
    assert "left out of g.npz: 1 junk" in run.err
    without = ask(command)
    assert "2 candidates, no decision: there is no calibration" in without.out
    assert without.code == 0


@pytest.mark.usefixtures("files")
def test_json_is_a_list_with_the_keys_that_scripts_rely_on(command):
    first, second = json.loads(ask(command, "--calibration", "c.json", "--json").out)
    assert (first["query"], first["decision"], first["threshold"], first["gallery_size"]) == (
        "one.jpg",
        "match",
        0.5,
        2,
    )
    assert (
        first["matches"][0] | {"id": "0.jpg", "identity": "anna", "similarity": 0.9, "fmr": 0.001, "rank": 1}
        == (first["matches"][0])
    )
    assert (second["decision"], second["matches"]) == ("nobody", [])
    assert first["calibrated_elsewhere"] is True
    assert {*first["digests"]} == {"model", "calibration", "gallery", "gallery_model", "query"}
    assert first["digests"]["calibration"] == calibration(own_site=False).calibration_id


@pytest.mark.usefixtures("files")
def test_csv_has_a_line_for_each_candidate(command):
    table = list(csv.DictReader(io.StringIO(ask(command, "--calibration", "c.json", "--csv").out)))
    actual = [(row["query"], row["identity"], row["decision"], row["is_match"]) for row in table]
    assert actual == [
        ("one.jpg", "anna", "match", "1"), ("one.jpg", "ben", "match", "0"),
        ("two.jpg", "anna", "nobody", "0"), ("two.jpg", "ben", "nobody", "0"),
    ]  # fmt: skip


@pytest.mark.usefixtures("files")
def test_csv_has_nothing_that_a_terminal_or_a_spreadsheet_obeys(command):
    evil = "=HYPERLINK(1)\x1b[2J\n"
    rows = read_embeddings("q.npz")
    write_embeddings("q.npz", replace(rows, id=np.array([evil, "-1"])), force=True)
    text = ask(command, "--calibration", "c.json", "--csv").out
    table = list(csv.DictReader(io.StringIO(text)))
    assert {row["query"] for row in table} == {"'=HYPERLINK(1)\\x1b[2J\\n", "-1"}
    assert text.count("\n") == 1 + len(table)
    assert "\x1b" not in text


def test_a_receipt_holds_until_something_changes(files, command):
    (files / "receipt.json").write_text(ask(command, "--calibration", "c.json", "--json").out, encoding="utf-8")
    replayed = command("search", "--replay", "receipt.json")
    assert (replayed.code, replayed.out.count("still holds, to the same bytes")) == (0, 2)
    (files / "one.json").write_text(json.dumps(json.loads((files / "receipt.json").read_text())[1]))
    assert command("search", "--replay", "one.json").code == 0, "one of several holds by itself"

    altered = json.loads((files / "receipt.json").read_text())
    altered[0]["matches"][0]["identity"] = "ben"
    (files / "altered.json").write_text(json.dumps(altered))
    run = command("search", "--replay", "altered.json", "--json")
    assert (run.code, [each["holds"] for each in json.loads(run.out)]) == (1, [False, True])

    write_embeddings("g.npz", rows(at(0.3, 0.4), identity=["anna", "ben"]), force=True)
    run = command("search", "--replay", "receipt.json")
    assert run.code == 1
    assert "the gallery has changed: it was sha256:" in run.out
    assert 'decision: it was "match", and is "nobody"' in run.out
    (files / "c.json").unlink()
    assert command("search", "--replay", "receipt.json").code == 1


@pytest.mark.parametrize(
    ("content", "words"), [("no", "is no receipt, or damaged"), ("[{}]", "lacks digests"), ("[]", "holds no receipt")]
)
def test_foreign_receipt_is_refused(tmp_path, command, content, words):
    (tmp_path / "receipt.json").write_text(content)
    run = command("search", "--replay", tmp_path / "receipt.json")
    assert run.code == 1
    assert words in run.err


@pytest.mark.parametrize(
    "arguments",
    [("q.npz",), ("--in", "g.npz"), ("q.npz", "--in", "g.npz", "--json", "--csv"), ("q.npz", "--replay", "c.json"),
     ("q.npz", "--in", "g.npz", "--fpir", "0"), ("q.npz", "--in", "g.npz", "--model", "base")],
)  # fmt: skip
@pytest.mark.usefixtures("files")
def test_wrong_usage(command, arguments):
    assert command("search", *arguments).code == 2


def test_images_that_cannot_be_read_are_skipped_and_said(tmp_path, command, tiny_model):
    write_crops(tmp_path / "people", 2)
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    image = next((tmp_path / "people/person-01/camera-1").iterdir())
    arguments = ("--in", tmp_path / "people", "--model", tiny_model, "--device", "cpu", "--report", tmp_path / "p.html")
    run = command("search", image, tmp_path / "bad.jpg", *arguments)
    assert run.code == 3
    assert "bad.jpg" in run.err
    assert "person-02" in run.out
    assert (tmp_path / "p.html").read_text(encoding="utf-8").count('<img src="data:image/jpeg;base64,') == 3
    run = command("search", tmp_path / "bad.jpg", *arguments, "--force")
    assert run.code == 1
    assert "no query is left" in run.err
