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
        sizes, scores = (line for line in lines if line.split()[:1] == [model.name])
        assert sizes.split()[-4:] == [
            f"{model.path.stat().st_size / 1e6:.1f}", f"{model.gflops:g}", str(contract.dimension), contract.contract_id
        ]  # fmt: skip
        percent = [f"{100 * score.rank_1:.1f} / {100 * score.map_finite_sum:.1f}" for score in contract.scores]
        assert scores.split(maxsplit=1)[1].split("  ")[0] == percent[0]
        assert all(each in scores for each in percent)
    terms = [line for line in lines if line.startswith("terms ")]
    assert len(terms) == len(set(terms)) >= 2


def test_json_for_scripts(command):
    models = json.loads(command("models", "--json").out)
    assert [model["name"] for model in models] == list(PACKAGED)
    for model in models:
        file = ModelFile.open(model["file"])
        assert (model["contract_id"], model["artefact_id"]) == (file.contract.contract_id, file.artefact_id)
        assert model["megabytes"] == pytest.approx(file.path.stat().st_size / 1e6)
        assert [score["rank_1"] for score in model["scores"]] == [score.rank_1 for score in file.contract.scores]
