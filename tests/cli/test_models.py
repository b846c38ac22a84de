"""`reid-runtime models`: what it says is what the files say."""

import json

import pytest

from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import PACKAGED


def test_each_model_with_its_scores_and_once_the_terms(command):
    run = command("models")
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    for model in PACKAGED.values():
        contract = ModelFile.open(model.path).contract
        row = next(number for number, line in enumerate(lines) if line.startswith(f"{model.name}: "))
        assert f"{model.path.stat().st_size / 1e6:.1f} MB, {model.gflops:g} GFLOPs" in lines[row]
        assert contract.contract_id in lines[row]
        for offset, score in enumerate(contract.scores, 1):
            assert lines[row + offset].split()[0] == score.dataset
            assert f"{score.rank_1:.1%}" in lines[row + offset]
    terms = [line for line in lines if line.startswith("terms: ")]
    assert len(terms) == len(set(terms)) >= 2


def test_json_has_what_scripts_need(command):
    models = json.loads(command("models", "--json").out)
    assert [model["name"] for model in models] == list(PACKAGED)
    for model in models:
        file = ModelFile.open(model["file"])
        assert (model["contract_id"], model["artefact_id"]) == (file.contract.contract_id, file.artefact_id)
        assert model["megabytes"] == pytest.approx(file.path.stat().st_size / 1e6)
        assert [score["rank_1"] for score in model["scores"]] == [score.rank_1 for score in file.contract.scores]
