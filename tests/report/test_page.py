"""The page of an evaluation as the standard library's parser reads it: structure, words and numbers."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from reid_runtime.errors import StorageError
from reid_runtime.evaluation import EvalSettings, eval_set_of, evaluate, score_rows
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.evaluation.saved import eval_set_of_rows
from reid_runtime.report import check_report, write_report
from reid_runtime.report.page import page
from reid_runtime.report.ranked import choose
from reid_runtime.scoring.bootstrap import METRICS
from reid_runtime.scoring.camera_pairs import score_camera_pairs
from reid_runtime.scoring.layouts import read_market
from reid_runtime.scoring.layouts.plain import read_plain
from reid_runtime.scoring.layouts.prw import read_prw
from reid_runtime.scoring.ranking import Scores
from reid_runtime.scoring.reranking import RerankSettings

from ..sample_images import encode, paint, sample_image
from ..scoring.layouts import miniatures

VOID = {"meta", "link", "img", "br", "input", "hr"}
SVG_LEAVES = {"line", "circle", "polygon", "polyline", "rect"}


class Page(HTMLParser):
    """The elements of a page in order, each with its attributes, its class and the text within it."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "within": [one["tag"] for one in self.open], "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_LEAVES, "only SVG knows such elements"
        self.elements.append({"tag": tag, "within": [one["tag"] for one in self.open], "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag, "elements do not overlap"

    def handle_data(self, data):
        self.text += data
        for element in self.open:
            element["text"] += data

    def all(self, tag, kind=None):
        return [one for one in self.elements if one["tag"] == tag and kind in (None, one.get("class"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five people under three cameras, each image different; a sixth whom only a query shows."""
    root = tmp_path_factory.mktemp("data") / "street <&> square"
    for person in range(1, 7):
        for camera in (1, 2, 3):
            if person < 6 or camera == 1:
                content = encode(sample_image(64, 32, (10 * person + camera)), "JPEG")
                for split in ("query", "bounding_box_test") if person < 6 else ("query",):
                    path = root / split / f"000{person}_c{camera}s1_000001_00.jpg"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
    (root / "bounding_box_test/0000_c2s1_000002_00.jpg").write_bytes(encode(sample_image(90, 300), "JPEG"))
    return root


@pytest.fixture(scope="module")
def evaluation(tiny, folder):
    return evaluate(tiny, read_market(folder))


@pytest.fixture(scope="module")
def parsed(evaluation):
    return Page(page(evaluation))


def test_no_external_resource_and_no_script(evaluation, parsed):
    for element in parsed.elements:
        assert element["tag"] not in ("script", "iframe", "object", "embed", "base")
        assert not [name for name in element if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action"):
            assert element.get(name, "data:").startswith("data:")
    style = parsed.all("style")[0]["text"]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in page(evaluation)


def test_title_headings_and_facts(parsed, evaluation):
    assert parsed.all("html")[0]["lang"] == "en"
    assert parsed.all("h1")[0]["text"] == "street <&> square"
    assert parsed.all("title")[0]["text"] == "street <&> square: tiny.onnx"
    assert [one["text"] for one in parsed.all("h2")] == [
        "Scores", "Ranks and precision", "Same person or not", "Ranked lists", "Pairs of cameras",
    ]  # fmt: skip
    assert evaluation.contract_id in parsed.text
    assert "15 of 16, of 5 people" in parsed.text
    assert "1 of 16 queries have no right answer" in parsed.all("p", "notice")[0]["text"]


def test_scores_and_intervals_are_those_of_the_evaluation(parsed, evaluation):
    tiles = [one["text"] for one in parsed.all("ul", "tiles")]
    intervals, report = evaluation.intervals(), evaluation.report()
    for name, interval in intervals.items():
        assert f"{100 * report[name]:.1f}%{100 * interval.low:.1f} to {100 * interval.high:.1f}" in tiles[0]
    titles = [one["text"].strip() for one in parsed.all("span", "title")]
    assert sorted(titles) == sorted(title.replace("(", "").replace(")", "") for title in METRICS.values())
    assert titles[0] == "mAP finite-sum", "the headline comes first"


def test_the_curve_is_the_cmc(parsed, evaluation):
    line = parsed.all("polyline", "curve")[0]
    heights = [float(point.split(",")[1]) for point in line["points"].split()]
    curve = evaluation.scores.cmc(len(heights))
    assert len(heights) == evaluation.scores.gallery
    # SVG's vertical axis points down, and the curve is drawn to scale.
    assert np.allclose(np.interp(heights, sorted({heights[0], heights[-1]}), [1, curve[0]]), curve, atol=0.01)
    label = parsed.all("svg")[0]["aria-label"]
    assert f"rank 5: {100 * curve[4]:.1f} %" in label
    cells = [one["text"] for one in parsed.all("td") if "details" in one["within"]]
    assert cells == [f"{100 * value:.1f}" for value in curve]


def test_ranked_lists_are_those_of_the_evaluation(parsed, evaluation, folder):
    articles = parsed.all("article", "query")
    assert [one["text"] for one in parsed.all("h3")] == ["Best queries", "Median queries", "Worst queries"]
    assert len(articles) == 12
    names = {name: row for row, name in enumerate(evaluation.eval_set.query.ids)}
    shown = [names[one["text"]] for one in parsed.all("p", "name")]
    assert len(set(shown)) == 12, "no query is shown twice"
    precision = evaluation.scores.ap_finite_sum
    assert precision[shown[0]] == np.nanmax(precision)
    assert precision[shown[8]] == np.nanmin(precision)
    items = [one for one in parsed.all("li") if one.get("class") in ("right", "wrong")]
    assert len(items) == 12 * 10
    for row, listed in zip(shown, np.split(np.array(items), 12), strict=True):
        rows, right = evaluation.ranked(row, 10)
        assert [one["title"] for one in listed] == [evaluation.eval_set.gallery.ids[item] for item in rows]
        assert [one["class"] == "right" for one in listed] == right.tolist()


def test_right_and_wrong_differ_in_word_sign_and_frame(parsed):
    for item in (one for one in parsed.all("li") if one.get("class") in ("right", "wrong")):
        sign = {"right": "✓", "wrong": "✗"}[item["class"]]
        assert re.match(rf"{sign} \d+ {item['class']}(identity \d+|distractor)camera \d", item["text"])
    style = parsed.all("style")[0]["text"]
    assert re.search(r"\.wrong img[^}]*dashed", style)
    assert not re.search(r"\.right img[^}]*dashed", style)


def test_crops_are_small_and_have_alt_texts(parsed):
    images = parsed.all("img")
    assert len(images) == 12 * 11
    sizes = set()
    for one in images:
        assert re.match(r"(query|rank \d+, (right|wrong)): (identity \d{4}|distractor), camera \d", one["alt"])
        content = base64.b64decode(one["src"].removeprefix("data:image/jpeg;base64,"), validate=True)
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "JPEG"
            assert image.size == (int(one["width"]), int(one["height"]))
            sizes.add(image.size)
    assert sizes <= {(32, 64), (104, 31)}, "made smaller, never larger"


def test_camera_pairs_are_those_of_the_scorer(parsed, evaluation):
    task = evaluation.eval_set
    pairs = score_camera_pairs(evaluation.query_vectors, task.query, evaluation.gallery_vectors, task.gallery)
    cells = [one for one in parsed.all("td") if "details" not in one["within"]]
    expected = [
        "–" if np.isnan(mean) else f"{100 * mean:.1f}{count}"
        for mean, count in zip(pairs.map_finite_sum.ravel(), pairs.valid_queries.ravel(), strict=True)
    ]
    assert [one["text"] for one in cells] == expected
    heads = [one["text"] for one in parsed.all("th") if one["text"].startswith("camera")]
    assert heads == ["camera 1", "camera 2", "camera 3"] * 2


def test_names_cannot_become_markup(tiny, tmp_path):
    bad = '"><script>alert(1)</script><i a="'.replace("/", "&")
    for camera in (1, 2):
        for person in ("ann", "bob"):
            path = tmp_path / "set" / person / str(camera) / f"{bad}.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(encode(sample_image(seed=camera), "PNG"))
    task = dataclasses.replace(eval_set_of(read_plain(tmp_path / "set")), dataset=bad, method=bad)
    parsed = Page(page(dataclasses.replace(evaluate(tiny, task), model=bad, contract_id=bad)))
    assert parsed.all("script") == []
    assert not [one for one in parsed.all("i") if "a" in one]
    assert parsed.all("h1")[0]["text"] == bad
    assert parsed.all("p", "name")[0]["text"].endswith(f"{bad}.png")


def test_vectors_without_images_have_a_page(tiny, folder):
    rows = embed_eval_set(tiny, eval_set_of(read_market(folder)))
    parsed = Page(page(score_rows(eval_set_of_rows(rows, "saved"), rows, "m")))
    assert parsed.all("img") == []
    assert {one["text"] for one in parsed.all("div", "absent")} == {"no image"}


def test_missing_images_leave_gaps_in_the_page(tiny, folder, tmp_path):
    for split in ("query", "bounding_box_test"):
        (tmp_path / split).mkdir()
        for path in (folder / split).iterdir():
            (tmp_path / split / path.name).write_bytes(path.read_bytes())
    evaluation = evaluate(tiny, read_market(tmp_path))
    for path in (tmp_path / "bounding_box_test").iterdir():
        path.write_bytes(b"")
    parsed = Page(page(evaluation))
    assert len(parsed.all("img")) == 12
    assert {one["text"] for one in parsed.all("div", "absent")} == {"not readable"}


def test_a_person_search_has_a_page(tiny, tmp_path):
    pytest.importorskip("scipy.io", reason="the miniature holds MATLAB files")
    miniatures.prw(tmp_path)
    parsed = Page(page(evaluate(tiny, read_prw(paint(tmp_path, 140, 300)))))
    assert "Person search ignores cameras." in parsed.text
    assert all(one["height"] == "80" for one in parsed.all("img")[:1]), "the box and not the frame"
    assert {one["class"] for one in parsed.all("li") if "class" in one} == {"right", "wrong"}


def test_reranked_pages_say_so(tiny, folder):
    evaluation = evaluate(tiny, read_market(folder), settings=EvalSettings(rerank=RerankSettings(3, 2)))
    text = Page(page(evaluation)).text
    assert "single query, re-ranked" in text
    assert "These numbers are before re-ranking" in text


def scores_of(precisions, identities, valid=None):
    precisions = np.array(precisions, dtype=float)
    ones = np.ones(len(precisions), dtype=np.int64)
    valid = np.ones(len(precisions), dtype=bool) if valid is None else np.array(valid)
    return Scores(np.array(identities), ones, valid, precisions, precisions, ones, precisions, 10)


def test_queries_are_chosen_by_precision_and_of_different_people():
    precisions = [1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, np.nan]
    identities = [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    valid = [True] * 12 + [False]
    answers = np.array([3, 5, *[1] * 11])
    chosen = choose(scores_of(precisions, identities, valid), answers)
    assert chosen.best == [1, 2, 3, 4], "of one person's two, that with more right answers"
    assert chosen.worst == [11, 10, 9, 8]
    assert chosen.median == [0, 5, 6, 7], "best first"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_few_queries_are_shown_once_each(count):
    chosen = choose(scores_of(np.linspace(1, 0, count), [1] * count), np.ones(count, dtype=np.int64))
    shown = [*chosen.best, *chosen.median, *chosen.worst]
    assert len(shown) == len(set(shown)) == min(count, 3 * max(1, count // 3))


def test_page_is_written_atomically(evaluation, tmp_path, monkeypatch):
    write_report(tmp_path / "a.html", evaluation)
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page(evaluation), "the same page every time"
    with pytest.raises(StorageError, match="exists and is not overwritten"):
        write_report(tmp_path / "a.html", evaluation)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StorageError, match="could not be written"):
        write_report(tmp_path / "b.html", evaluation)
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_check_report_refuses_an_unwritable_path(tmp_path, monkeypatch):
    check_report(tmp_path / "a.html", force=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.html").mkdir()
    for force in (False, True):
        with pytest.raises(StorageError, match=r"x\.html is a folder; expected a file name"):
            check_report(tmp_path / "x.html", force)

    def read_only(*_):
        raise PermissionError(13, "Permission denied")

    # What a folder without the right to write does, which whoever runs the tests may have everywhere.
    monkeypatch.setattr("reid_runtime.io.atomic.os.open", read_only)
    with pytest.raises(StorageError, match=r"a\.html cannot be written: Permission denied"):
        check_report(tmp_path / "a.html", force=False)
