import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from reid_runtime import read_embeddings
from reid_runtime.gallery import Gallery

from ..models import CONTRACT, write_model

CROPS = "examples/crops"


@pytest.fixture
def add(command, tiny_model, tmp_path):
    def run(*arguments):
        return command("gallery", "add", tmp_path / "g.gallery", *arguments, "--model", tiny_model)

    return run


def test_a_folder_of_people_is_added_listed_exported_and_forgotten(add, command, tmp_path):
    path = tmp_path / "g.gallery"
    run = add(CROPS, "--json")
    assert run.code == 0
    assert len(json.loads(run.out)["added"]) == 32
    assert "32 kept" not in run.out
    listed = json.loads(command("gallery", "list", path, "--json").out)
    person = listed["people"][0]
    assert (person["name"], person["crops"], person["cameras"]) == ("person-01", 4, ["camera-1", "camera-2"])
    assert "person-08" in command("gallery", "list", path).out
    output = tmp_path / "out.npz"
    assert command("gallery", "export", path, "person-01", "-o", output).code == 0
    rows = read_embeddings(output)
    assert {*rows.identity.tolist()} == {"person-01"}
    forgotten = command("gallery", "forget", path, "person-01")
    assert (forgotten.code, str(output) in forgotten.err) == (0, True)
    assert "shows 1 person who was forgotten" in command("gallery", "list", path, "--exports").out
    checked = command("gallery", "check", path)
    assert (checked.code, "whole: 7 people, 28 crops (28 with an image)" in checked.out) == (0, True)


def test_refused_crops_have_codes_and_exit_code_3(add, tmp_path):
    folder = tmp_path / "people"
    for name in ("anna", "unsure"):
        shutil.copytree(f"{CROPS}/person-01/camera-1", folder / name / "camera-1")
    Image.new("RGB", (64, 128)).save(folder / "anna/camera-1/blank.png")
    (folder / "anna/camera-1/text.jpg").write_text("no image")
    run = add(folder, "--json")
    assert run.code == 3
    report = json.loads(run.out)
    assert {each["id"]: each["codes"] for each in report["refused"]} == {
        "anna/camera-1/blank.png": ["blank"],
        "anna/camera-1/text.jpg": ["no_vector"],
        "unsure/camera-1/view-1.jpg": ["no_person"],
        "unsure/camera-1/view-2.jpg": ["no_person"],
    }
    assert "blank.png: blank" in run.err
    again = add(folder)
    assert (again.code, "there already: 2" in again.err) == (3, True)


def test_embeddings_are_added_with_their_crops(add, command, tmp_path, tiny_model):
    rows = tmp_path / "rows.npz"
    assert command("embed", CROPS, "-o", rows, "--model", tiny_model).code == 0
    assert "no column identity" in add(rows).err
    assert add(rows, "--person", "anna", "--root", CROPS).code == 0
    with Gallery.open(tmp_path / "g.gallery") as gallery:
        assert gallery.check().images == 32
        assert np.array_equal(gallery.embeddings().embedding, read_embeddings(rows).embedding)
    moved = add(rows, "--person", "anna", "--root", tmp_path)
    assert (moved.code, "is not in" in moved.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--expires", "soon"], "expected 12h, 30d"),
        (["--person", " "], "expected the name of a person"),
        (["examples"], "do not lie at"),
    ],
)
def test_usage_that_means_nothing_is_refused(add, tmp_path, arguments, message):
    run = add(CROPS, *arguments)
    assert run.code in (1, 2)
    assert message in run.err
    assert not (tmp_path / "g.gallery").exists()


def test_expiry_is_by_time(add, command, tmp_path):
    assert add(CROPS, "--expires", "2001-01-01").code == 0
    assert command("gallery", "list", tmp_path / "g.gallery").out.count("\n") == 1
    assert "expired, and still in the file: 32" in command("gallery", "check", tmp_path / "g.gallery").out
    assert "0 crops" in command("gallery", "forget", tmp_path / "g.gallery", "--expired").err
    assert "whole: 0 people" in command("gallery", "check", tmp_path / "g.gallery").out


def test_another_models_vectors_are_refused(add, command, tmp_path):
    newer = write_model(tmp_path / "newer.onnx", dataclasses.replace(CONTRACT, graph="another"))
    add(CROPS)
    run = command("gallery", "add", tmp_path / "g.gallery", CROPS, "--model", newer)
    assert run.code == 1
    assert "other_contract" in run.err
    upgraded = command("gallery", "upgrade", tmp_path / "g.gallery", "--json", "--model", newer)
    assert upgraded.code == 0
    assert json.loads(upgraded.out)["crops"] == 32
    assert command("gallery", "add", tmp_path / "g.gallery", CROPS, "--model", newer).code == 0


def test_a_search_in_a_gallery_is_the_same_as_in_its_export(add, command, tmp_path, tiny_model):
    add(CROPS)
    path, query = tmp_path / "g.gallery", f"{CROPS}/person-01/camera-1/view-1.jpg"
    command("gallery", "export", path, "-o", tmp_path / "all.npz")
    model = ["--model", tiny_model]
    stored = json.loads(command("gallery", "search", path, query, "--json", *model).out)
    exported = json.loads(command("search", query, "--in", tmp_path / "all.npz", "--json", *model).out)
    assert stored[0]["matches"] == exported[0]["matches"]
    assert len(stored[0]["matches"]) == 8
    (tmp_path / "receipt.json").write_text(json.dumps(stored))
    assert command("search", "--replay", tmp_path / "receipt.json").code == 0
    command("gallery", "forget", path, "person-02")
    assert command("search", "--replay", tmp_path / "receipt.json").code == 1


def test_pages_of_a_gallery_show_its_crops_and_are_listed(add, command, tmp_path, tiny_model):
    add(CROPS)
    path = tmp_path / "g.gallery"
    assert command("gallery", "page", path, "-o", tmp_path / "people.html").code == 0
    page = (tmp_path / "people.html").read_text()
    assert page.count("data:image/jpeg") >= 32 + 3 * 8
    assert page.count("Look-alikes</h4>") == 8
    query = f"{CROPS}/person-02/camera-1/view-1.jpg"
    run = command("gallery", "search", path, query, "--report", tmp_path / "found.html", "--model", tiny_model)
    assert run.code == 0
    assert (tmp_path / "found.html").read_text().count("data:image/jpeg") == 9
    kinds = [each["kind"] for each in json.loads(command("gallery", "list", path, "--exports", "--json").out)]
    assert kinds == ["page", "search"]
