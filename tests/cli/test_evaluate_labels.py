"""reid-runtime evaluate: what it says of the labels it read, and that it keeps them as they were written."""

import json
from dataclasses import replace

import pytest

from reid_runtime.evaluation import eval_set_of
from reid_runtime.evaluation.account import seen_in_training
from reid_runtime.jobs import read_embeddings
from reid_runtime.model_file.contract import TrainedOn
from reid_runtime.scoring.layouts.registry import read_layout

from ..models import CONTRACT
from ..sample_images import paint
from ..scoring.layouts.miniatures import touch


@pytest.fixture
def evaluate(command, tiny_model):
    """`reid-runtime evaluate` with the small model."""
    return lambda *arguments: command("evaluate", *arguments, "--model", tiny_model, "--device", "cpu")


@pytest.fixture
def named(tmp_path):
    """Two people under two cameras, by their names."""
    folder = tmp_path / "named"
    touch(folder, *(f"{who}/{camera}/{n}.jpg" for who in ("anna", "0051") for camera in ("front", "<b>") for n in "12"))
    return paint(folder)


def test_the_reading_is_printed_and_checked_before_a_model_is_loaded(command, named):
    model = named.with_name("broken.onnx")
    model.write_text("no model")
    run = command("evaluate", named, "--model", model)
    assert (run.code, run.err.splitlines()[0]) == (1, "named: 2 people, 2 cameras, 8 images")
    (named / "0051/front/9.jpg").symlink_to(named / "anna/front/1.jpg")
    run = command("evaluate", named, "--model", model)
    assert run.code == 1
    assert "error: 1 image is one file of two people, the first '0051/front/9.jpg' (identity 0051)" in run.err


def test_one_person_alone_is_no_evaluation(evaluate, tmp_path):
    """As where a folder lies in another one of its name: all that is found would be right."""
    touch(tmp_path / "set", *(f"set/{person:04}_{number}.jpg" for person in range(3) for number in range(2)))
    run = evaluate(paint(tmp_path / "set"), "--no-cameras")
    assert run.code == 1
    assert "error: set is one person alone, by its labels" in run.err


def test_the_reading_is_in_both_outputs(evaluate, named):
    touch(named, "anna/front/3.heic")
    run = evaluate(named, "--json")
    assert run.err.splitlines()[:4] == [
        "named: 2 people, 2 cameras, 8 images",
        "  0051/<b>/1.jpg: identity 0051, camera <b>",
        "  anna/front/2.jpg: identity anna, camera front",
        "passed over: 1 file (1 .heic)",
    ]
    actual = json.loads(run.out)["labels"]
    assert (actual["people"], actual["cameras"], actual["images"], actual["passed_over"]) == (2, 2, 8, {".heic": 1})
    assert actual["examples"][1] == ["anna/front/2.jpg", "anna", "front"]


@pytest.mark.parametrize("name", ["-1", "junk"])
def test_junk_is_said_to_be_left_out(evaluate, tmp_path, name):
    touch(tmp_path, *(f"{who}/{camera}/1.jpg" for who in ("1", "2", name) for camera in "12"))
    run = evaluate(paint(tmp_path))
    assert "2 people, 2 cameras, 4 images" in run.err
    assert "left out as junk (identity -1, junk or unsure): 2 images" in run.err


def test_names_are_kept_in_files_and_pages(evaluate, command, named, tmp_path):
    file, page = tmp_path / "x.npz", tmp_path / "x.html"
    fresh = json.loads(evaluate(named, "--json", "--save", file, "--report", page).out)
    rows = read_embeddings(file)
    assert rows.identity.tolist() == (["0051"] * 4 + ["anna"] * 4) * 2
    assert rows.camera.tolist() == ["<b>", "<b>", "front", "front"] * 4
    text = page.read_text()
    assert "identity anna" in text
    assert '<th scope="row">camera front</th>' in text
    assert "identity 0051</span><span>camera &lt;b&gt;</span>" in text
    assert "<b></th>" not in text
    for source in ([named, "--from", file], ["--from", file]):
        assert json.loads(command("evaluate", *source, "--json").out)["map_finite_sum"] == fresh["map_finite_sum"]


def test_one_camera_is_scored_where_that_is_asked_for(evaluate, command, tmp_path):
    touch(tmp_path / "one", *(f"{who}/door/{number}.jpg" for who in ("anna", "bert") for number in "123"))
    run = evaluate(paint(tmp_path / "one"))
    assert (run.code, run.out) == (1, "")
    assert "expected at least two cameras, or --no-cameras" in run.err
    file, page = tmp_path / "x.npz", tmp_path / "x.html"
    run = evaluate(tmp_path / "one", "--no-cameras", "--json", "--save", file, "--report", page)
    actual = json.loads(run.out)
    assert (actual["valid_queries"], actual["labels"]["cameras"]) == (6, 1)
    assert "each image a query in turn; cameras not used" in actual["protocol"]
    assert "cameras are not used" in run.err
    assert "Cameras are not used" in page.read_text()
    assert set(read_embeddings(file).camera) == {"door"}
    again = json.loads(command("evaluate", "--from", file, "--no-cameras", "--json").out)
    assert again["map_finite_sum"] == actual["map_finite_sum"]
    assert command("evaluate", "--from", file, "--json").code == 1


def test_folders_without_cameras_need_no_option(evaluate, command, tmp_path):
    touch(tmp_path / "two", *(f"{who}/{number}.jpg" for who in ("anna", "bert") for number in "123"))
    run = evaluate(paint(tmp_path / "two"), "--json", "--save", tmp_path / "x.npz")
    actual = json.loads(run.out)
    assert (actual["valid_queries"], actual["labels"]["cameras"]) == (6, 0)
    assert "cameras not used" in actual["protocol"]
    assert json.loads(command("evaluate", "--from", tmp_path / "x.npz", "--json").out)["minp"] == actual["minp"]


def test_names_by_a_pattern(evaluate, tmp_path):
    touch(tmp_path / "flat", *(f"{who}_{camera}.jpg" for who in ("anna", "bert") for camera in ("in", "out")))
    paint(tmp_path / "flat")
    assert json.loads(evaluate(tmp_path / "flat", "--names", "{identity}_{camera}", "--json").out)["valid_queries"] == 4
    assert evaluate(tmp_path / "flat", "--names", "{identity}_", "--layout", "market1501").code == 2
    run = evaluate(tmp_path / "flat")
    assert (run.code, len(run.err.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    ("folder", "begin"),
    [
        ("Market-1501/bounding_box_train", ["warning: tiny was trained on market1501/bounding_box_train, and so",
                                            "tiny was trained on rendered people (here), unpublished: scores"]),
        ("market1501/query", ["tiny was trained on rendered people (here), unpublished: scores"]),
        ("ours", ["tiny was trained on market1501/bounding_box_train and rendered people (here), unpublished: scores"]),
    ],
)  # fmt: skip
def test_warning_for_images_of_the_training_data(tmp_path, folder, begin):
    seen = TrainedOn("market1501/bounding_box_train", "Academic research only", 751, 12936)
    contract = replace(CONTRACT, trained_on=(seen, replace(seen, data="rendered people (here), unpublished")))
    names = [f"{folder}/000{who}_c{camera}s1_0.jpg" for who in (2, 7) for camera in (1, 2)]
    touch(tmp_path, *names)
    rows = "".join(f"{name},{name.split('/')[-1][:4]},{name.split('_c')[-1][0]}\n" for name in names)
    (tmp_path / "x.csv").write_text("id,identity,camera\n" + rows)
    dataset, splits = read_layout(tmp_path / "x.csv")
    lines = seen_in_training(contract, eval_set_of(splits, dataset=dataset))
    assert [line[: len(words)] for line, words in zip(lines, begin, strict=True)] == begin
