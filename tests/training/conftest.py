import pytest


@pytest.fixture
def tiny_backbone(monkeypatch):
    """The backbone "tiny" is known while the test runs."""
    from training.models.backbones import BACKBONES

    from .tiny import TINY

    monkeypatch.setitem(BACKBONES, TINY.name, TINY)


@pytest.fixture
def quiet(monkeypatch):
    """No plots, which take longer than the training."""
    monkeypatch.setattr("training.run.trainer.write_plots", lambda folder: None)
