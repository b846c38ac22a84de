"""The page of a search: what it says, and how a browser lays it out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reid_runtime import search
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.jobs.search.gallery import open_gallery
from reid_runtime.jobs.search.queries import read_queries
from reid_runtime.report.search import search_page

from ..jobs.search.made import calibration
from ..miniature import write_crops
from .browser import check_layout
from .test_page import Page


@pytest.fixture(scope="module")
def searched(tiny, tmp_path_factory):
    """Three people, one of them named so that it would break a page; and an image, a folder and a blank image."""
    folder = tmp_path_factory.mktemp("searched")
    write_crops(folder / "people", 3)
    (folder / "people/person-03").rename(folder / "people/<b>Ann & Bo")
    from PIL import Image

    Image.fromarray(np.full((64, 32, 3), 90, np.uint8)).save(folder / "blank.png")
    image = next((folder / "people/person-01/camera-1").iterdir())
    queries = read_queries([image, folder / "people/person-02", folder / "blank.png"], tiny)
    return queries, open_gallery(folder / "people", tiny), tiny


def page_of(searched, known):
    queries, gallery, embedder = searched
    answers = search(queries, gallery, embedder=embedder, calibration=known)
    return answers, search_page(answers, queries, gallery, known)


def test_it_shows_the_decisions_the_candidates_and_the_threshold(searched):
    answers, text = page_of(searched, calibration(own_site=False))
    page = Page(text)
    assert "Calibrated elsewhere" in page.text
    chips = [one["text"] for one in page.all("span", "chip")]
    words = {"match": "match", "nobody": "nobody", "ambiguous": "one of two"}
    assert chips == [words[answer.decision] for answer in answers]
    assert chips[2] == "nobody"
    assert "can be named: the image is blank" in page.text
    assert len(page.all("li", "above")) == sum(len(answer.matches) for answer in answers)
    assert len(page.all("li", "under")) == sum(len(answer.below) for answer in answers)
    assert len(page.all("li", "cut")) == 2
    assert all(f"{match.similarity:.3f}" in page.text for match in answers[0].matches)
    assert "<b>Ann & Bo" in page.text
    assert "<b>Ann" not in text
    assert not page.all("script")


def test_without_a_calibration_it_says_that_nothing_decides(searched):
    _, text = page_of(searched, None)
    page = Page(text)
    assert "No calibration: these are ranked candidates, and nothing says who it is." in page.text
    assert not page.all("li", "cut")


@pytest.mark.parametrize(("root", "told"), [(None, True), ("people", False), ("elsewhere", True)])
def test_without_the_gallerys_images_it_says_how_to_name_them(searched, tmp_path, root, told):
    queries, gallery, embedder = searched
    embed_folder(embedder, gallery.path, tmp_path / "g.npz")
    parent = Path(gallery.path).parent
    rows = open_gallery(tmp_path / "g.npz", None, root=None if root is None else parent / root)
    answers = search(queries, rows, embedder=embedder)
    assert ("--root names the folder" in search_page(answers, queries, rows, None)) is told
    stored = replace(rows, crop_of=lambda name: None)
    assert "--root" not in search_page(answers, queries, stored, None)


@pytest.mark.parametrize("known", [True, False])
def test_in_a_browser(searched, tmp_path, known):

    answers, text = page_of(searched, calibration() if known else None)
    shown = sum(len(answer.matches) + len(answer.below) for answer in answers) + len(answers)
    check_layout(text, tmp_path, images=shown)
