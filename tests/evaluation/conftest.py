"""Drawn sets to evaluate: crops, tracklets and frames."""

import pytest

from reid_runtime.scoring.layouts.cuhk_sysu import read_cuhk_sysu
from reid_runtime.scoring.layouts.prw import read_prw

from ..sample_images import paint
from ..scoring.layouts import miniatures


@pytest.fixture
def market(tmp_path):
    miniatures.market(tmp_path / "market")
    return paint(tmp_path / "market")


@pytest.fixture
def mars(tmp_path):
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    miniatures.mars(tmp_path / "mars")
    return paint(tmp_path / "mars")


@pytest.fixture(params=["cuhk-sysu", "prw"])
def search(request, tmp_path):
    """A person search with frames to cut from, and the name of its layout."""
    pytest.importorskip("scipy.io", reason="the miniatures hold MATLAB files")
    build, read = {"cuhk-sysu": (miniatures.cuhk_sysu, read_cuhk_sysu), "prw": (miniatures.prw, read_prw)}[
        request.param
    ]
    build(tmp_path / "set")
    paint(tmp_path / "set", 140, 300)
    return read(tmp_path / "set")
