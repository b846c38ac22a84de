"""The page of people: whom it shows, whom beside whom, and how a browser lays it out."""

import dataclasses
import re

import numpy as np
from PIL import Image

from reid_runtime.report.people import people_page

from ..gallery.tables import people
from .browser import check_layout


def rows_of(*names, crops=4):
    rows = people([*names], crops=crops, camera=np.array(["1", "2"] * (len(names) * crops // 2)))
    return dataclasses.replace(rows, identity=np.where(np.arange(len(rows)) == len(rows) - 1, "", rows.identity))


def picture(name):
    return Image.new("RGB", (64, 128), (sum(name.encode()) % 255, 90, 120))


def test_each_person_is_beside_the_most_similar_others():
    rows = rows_of("anna", "ben", "<eva>", "ida")
    page = people_page("all", rows, {name: picture(name) for name in rows.id.tolist()})
    articles = re.findall(r'<article class="query answer person" id="([^"]*)">(.*?)</article>', page, re.DOTALL)
    assert [name for name, _ in articles] == ["&lt;eva&gt;", "anna", "ben", "ida"]
    for name, content in articles:
        beside = re.findall(r'href="#([^"]*)".*?class="mark">(-?[0-9.]+)<', content, re.DOTALL)
        assert len(beside) == 3
        assert name not in {other for other, _ in beside}
        assert [float(cosine) for _, cosine in beside] == sorted((float(each) for _, each in beside), reverse=True)
    assert "<eva>" not in page
    assert ">1 crop of no worth" in page


def test_in_a_browser(tmp_path):
    rows = rows_of("anna", "ben", "a-person-with-a-very-long-name-that-does-not-break", crops=10)
    page = people_page("all", rows, lambda name: picture(name) if "7.jpg" not in name else None)
    # Eight crops of each at most, nine of the last; three look-alikes less one each; one is unsure.
    check_layout(page, tmp_path, page.count("<img "))
    assert page.count("<img ") > 20
