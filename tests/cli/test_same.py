"""reid-runtime same: one line for two images or two folders, by the model's calibration or a stated one."""

import dataclasses
import json
import shutil

import pytest
from PIL import Image

from reid_runtime import Embedder
from reid_runtime.matching import beside, write_calibration

from ..matching.made import calibration
from ..sample_images import paint


@pytest.fixture
def site(tmp_path, tiny_model):
    """A calibrated model, two folders of two images, and two blank images."""
    model = tmp_path / "m.onnx"
    shutil.copy(tiny_model, model)
    made = calibration()
    source = dataclasses.replace(made.source, own_site=False)
    contract_id = Embedder.load(model).contract.contract_id
    write_calibration(beside(model), dataclasses.replace(made, source=source, contract_id=contract_id))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.jpg").touch()
    paint(tmp_path)
    for number in range(2):
        Image.new("RGB", (32, 64), (90 + number, 90, 90)).save(tmp_path / f"blank {number}.png")
    return tmp_path


def test_one_line(command, site):
    run = command("same", site / "a/0.jpg", site / "a/0.jpg", "--model", site / "m.onnx")
    assert run.code == 0
    assert run.out == "same: similarity 1.000, FMR at most 0.1 %, FNMR 100 %; calibrated elsewhere\n"
    other = command("same", site / "a/0.jpg", site / "b/0.jpg", "--model", site / "m.onnx")
    assert other.code == 0
    assert other.out.split(":")[0] in ("same", "different", "unsure")


def test_folders_are_compared_by_the_thresholds_of_means(command, site):
    run = command("same", site / "a", site / "b", "--json", "--fmr", "0.01", "--model", site / "m.onnx")
    actual = json.loads(run.out)
    assert (actual["crops"], actual["same_threshold"]) == ("nxn", 0.5)
    assert actual["settings"] == {"same_fmr": 0.01, "different_fnmr": 0.01}
    assert [side["images"] for side in actual["images"]] == [2, 2]
    assert actual["images"][0]["digest"] != actual["images"][1]["digest"]
    assert actual["artefact_id"].startswith("sha256:")
    mixed = command("same", site / "a", site / "b/0.jpg", "--model", site / "m.onnx")
    assert (mixed.code, "no comparisons 1xn" in mixed.err) == (1, True)


def test_blank_images_are_nobody(command, site):
    run = command("same", site / "blank 0.png", site / "blank 1.png", "--model", site / "m.onnx")
    assert run.code == 0
    assert run.out.startswith("unsure: similarity 1.000, which says nothing of people: blank")


def test_without_a_calibration_there_is_no_verdict(command, site, tmp_path, tiny_model):
    run = command("same", site / "a", site / "b", "--model", tiny_model)
    assert run.code == 1
    assert "carries no calibration" in run.err
    write_calibration(tmp_path / "c.json", calibration())
    run = command("same", site / "a", site / "b", "--model", tiny_model, "--calibration", tmp_path / "c.json")
    assert run.code == 1
    assert "0123456789abcdef" in run.err
