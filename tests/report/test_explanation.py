"""Maps as pictures: their colours, what is drawn, and the two files that `reid-runtime explain` writes."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from reid_runtime.explain import Explainer
from reid_runtime.report.explanation import image_figure, pair_figure, total_overlays
from reid_runtime.report.heat import colour_bar, overlaid, upsampled

from ..explained import EXPLAINED, write_explained
from ..miniature import CROPS

A, B, C = (
    CROPS / f"person-{name}" for name in ("01/camera-1/view-1.jpg", "01/camera-2/view-1.png", "02/camera-1/view-1.jpg")
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    return write_explained(tmp_path_factory.mktemp("explained") / "model.onnx", "average")


def lightness(image):
    return np.asarray(image.convert("L"), np.float64)


def test_plots_are_readable_without_colour():
    across = lightness(colour_bar(101, 1))[0]
    assert np.diff(across).min() >= -1, "lightness rises from against to for"
    assert across[0] < 60
    assert across[-1] > 190


def test_places_are_interpolated_between_their_centres():
    wide = upsampled(np.array([[0.0, 1.0]]), 3, 8)
    np.testing.assert_allclose(wide, np.tile([0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1], (3, 1)), atol=1e-6)


def test_nothing_shows_the_image_and_the_scale_is_kept():
    pixels = np.full((20, 10, 3), 128, np.uint8)
    plain = np.asarray(overlaid(pixels, np.zeros((4, 2)), 1.0))
    assert np.ptp(plain) == 0
    some = np.zeros((4, 2))
    some[0, 0], some[3, 1] = 1.0, -1.0
    drawn, weaker = lightness(overlaid(pixels, some, 1.0)), lightness(overlaid(pixels, some, 4.0))
    assert drawn[0, 0] > weaker[0, 0] > plain[0, 0, 0] > weaker[-1, -1] > drawn[-1, -1]


def test_a_pair_shows_the_total_and_what_speaks_for_and_against(model):
    pair = Explainer(model).pair(A, C)
    figure = pair_figure(pair, ("A", "C"), 3, 2)
    assert figure.title == f"Similarity {pair.cosine:.3f}"
    shown = 2 + len(pair.most(3)) + len(pair.against(2))
    assert [len(row.panels) for row in figure.rows] == [shown, shown]
    dimension = pair.most(1)[0]
    assert figure.rows[0].panels[2].caption.startswith(f"dim. {dimension}: {pair.dimensions[dimension]:+.3f}")
    values = np.abs(np.concatenate([pair.total_a.reshape(-1), pair.total_b.reshape(-1)]))
    end = dict(figure.scales)["all dimensions"]
    assert 0.98 <= (values <= end).mean() < 1 or end == values.max()
    over_a, over_c, _ = total_overlays(pair)
    assert np.array_equal(over_a, figure.rows[0].panels[1].image)
    assert np.array_equal(over_c, figure.rows[1].panels[1].image)
    assert len(image_figure(pair.a, "A", 4).rows[0].panels) == 5


def test_the_command_writes_a_picture_a_page_and_numbers_that_add_up(command, model, tmp_path):
    png, page = tmp_path / "pair.png", tmp_path / "pairs.html"
    run = command("explain", A, B, "--model", model, "-o", png, "--json")
    assert run.code == 0, run.err
    (pair,) = json.loads(run.out)["pairs"]
    assert sum(pair["dimensions"]) == pytest.approx(pair["cosine"], abs=1e-6)
    assert np.sum(pair["map_a"]) + pair["bias_a"] == pytest.approx(pair["cosine"], abs=1e-6)
    assert np.sum(pair["map_b"]) + pair["bias_b"] == pytest.approx(pair["cosine"], abs=1e-6)
    assert Image.open(png).width > 400
    assert command("explain", A, B, C, "--model", model, "-o", page).code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<section>") == 2
    assert EXPLAINED.contract_id in text
    assert not re.search(r'(src|href)="(?!data:)', text), "one file"
    assert len(text) < 500_000


def test_one_image_shows_its_strongest_dimensions(command, model, tmp_path):
    run = command("explain", A, "--model", model, "--json", "--dimensions", "3")
    image = json.loads(run.out)["image"]
    for each in image["strongest"]:
        assert np.sum(each["map"]) + each["bias"] == pytest.approx(each["value"], abs=1e-5)
    assert len(image["strongest"]) == 3


def test_bad_output_is_refused_before_the_work(command, model, tiny_model, tmp_path):
    png = tmp_path / "out.png"
    png.write_bytes(b"mine")
    for arguments, said in (
        ((A, "--model", model, "-o", tmp_path / "out.gif"), "ends in .png or .html"),
        ((A, "--model", model, "-o", png), "--force"),
        ((A, "--model", tiny_model), "does not name its features"),
        ((A, tmp_path / "out.png", "--model", model), "out.png"),
    ):
        run = command("explain", *arguments)
        assert run.code == 1
        assert said in run.err
    assert png.read_bytes() == b"mine"
