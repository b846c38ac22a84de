"""Why images are alike, in the pages of `evaluate` and `search`: on demand, bounded, and refused where it cannot be."""

import re

import pytest

from reid_runtime.explain import Explainer
from reid_runtime.images.decode import load_image
from reid_runtime.report.total_maps import TotalMaps

from ..explained import write_explained
from ..miniature import CROPS, write_crops, write_market
from .test_page import Page

pytest.importorskip("onnxruntime")

PATHS = sorted(CROPS.glob("person-0[1-3]/camera-1/*"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_explained(tmp_path_factory.mktemp("explained") / "model.onnx", "average")


def loaders(paths):
    return [(path.name, lambda path=path: load_image(path)) for path in paths]


def test_a_page_says_the_similarity_of_the_very_images_and_stops_at_its_most(model):
    explainer = Explainer(model)
    maps = TotalMaps(explainer, most=3)
    (_, query), *candidates = loaders(PATHS[:5])
    page = Page(f"<div>{maps.details(query, candidates)}</div>")
    assert [each["tag"] for each in page.elements].count("figure") == 3
    assert f"similarity {explainer.pair(PATHS[0], PATHS[1]).cosine:.3f}" in page.text
    assert maps.details(query, candidates) == ""


def test_images_that_are_gone_are_left_out(model):
    def gone():
        return load_image(CROPS / "nobody.png")

    maps = TotalMaps(Explainer(model))
    (_, query), (name, candidate) = loaders(PATHS[:2])
    assert maps.details(gone, [(name, candidate)]) == maps.details(None, [(name, candidate)]) == ""
    assert maps.details(query, [("gone", gone), ("none", None), (name, candidate)]).count("<figure>") == 1


def test_an_evaluation_and_a_search_show_it_where_asked(command, model, tmp_path):
    write_market(tmp_path / "set", identities=4, cameras=2, views=1)
    write_crops(tmp_path / "people", 2)
    query = tmp_path / "people" / "person-01" / "camera-1" / "view-1.jpg"
    for name, arguments in (
        ("evaluate", ("evaluate", tmp_path / "set")),
        ("search", ("search", query, "--in", tmp_path / "people")),
    ):
        page = tmp_path / f"{name}.html"
        run = command(*arguments, "--model", model, "--device", "cpu", "--report", page, "--explain")
        assert run.code == 0, run.err
        text = page.read_text(encoding="utf-8")
        Page(text[text.index("<html") :])
        assert text.count('<details class="why">') == text.count("<article")
        assert len(re.findall("similarity -?[01]", text)) >= text.count("<article")
        run = command(*arguments, "--model", model, "--device", "cpu", "--report", page, "--force")
        assert 'class="why"' not in page.read_text(encoding="utf-8")


def test_unexplainable_model_is_refused_before_embedding(command, model, tiny_model, tmp_path):
    write_market(tmp_path / "set", identities=4, cameras=2, views=1)
    page = tmp_path / "page.html"
    run = command("evaluate", tmp_path / "set", "--model", tiny_model, "--report", page, "--explain")
    assert run.code == 1
    assert "does not name its features before pooling" in run.err
    assert command("evaluate", tmp_path / "set", "--model", model, "--explain").code == 2
    assert command("search", PATHS[0], "--in", CROPS, "--model", model, "--explain").code == 2
    vectors = tmp_path / "vectors.npz"
    assert command("embed", CROPS, "--model", model, "-o", vectors).code == 0
    run = command("search", vectors, "--in", vectors, "--report", page, "--explain")
    assert run.code in (1, 2)
    assert "contract" in run.err
    assert not page.exists()
