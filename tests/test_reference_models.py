"""Models of others, run by the command with a stated contract and no code of their own, give their known scores."""

import json
from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="needs the extra openvino")

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"
KNOWN = {
    "intel-reid-ir/person-reidentification-retail-0277.xml": (96.2, 87.7),
    "intel-reid-ir/person-reidentification-retail-0288.xml": (86.1, 59.8),
    "intel-reid-ir/person-reidentification-retail-0286.xml": (94.9, 83.8),
    "intel-reid-ir/person-reidentification-retail-0287.xml": (93.1, 76.6),
    "osnet_x0_25-msmt17/osnet_x0_25_msmt17.onnx": (59.8, 33.6),
}
IN_CI = ("retail-0288",)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=() if any(n in name for n in IN_CI) else pytest.mark.slow) for name in KNOWN]
)
def test_a_reference_model_gives_its_known_scores(model, reid_data, market1501, command):
    file = reid_data / "reference" / model
    run = command(
        "evaluate",
        market1501,
        "--model",
        file,
        "--contract",
        PEERS / f"{file.stem}.json",
        "--device",
        "openvino",
        "--json",
    )
    assert run.code == 0, run.err
    actual = json.loads(run.out)
    assert (actual["queries"], actual["valid_queries"], actual["gallery"]) == (3368, 3368, 15913)
    rank_1, mean_ap = KNOWN[model]
    assert round(100 * actual["rank_1"], 1) == pytest.approx(rank_1, abs=0.11)
    assert round(100 * actual["map_finite_sum"], 1) == pytest.approx(mean_ap, abs=0.11)
    assert actual["map_trapezoid"] < actual["map_finite_sum"]
