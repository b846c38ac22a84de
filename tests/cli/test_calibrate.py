"""reid-runtime calibrate: labels or tracks to a file of thresholds, and what cannot be calibrated in a line."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.jobs import write_embeddings
from reid_runtime.matching import CalibrationError, beside, read_calibration, write_calibration

from ..sample_images import paint
from .test_compare import PEOPLE, planted

LENGTH, GROUP = 8, 5


def tracks(minutes=False):
    """PEOPLE tracks of LENGTH boxes, GROUP of them in one frame; the identity column is empty."""
    rows = planted(0.9).take(np.arange(6 * PEOPLE).repeat(2)[: PEOPLE * LENGTH])
    track = np.repeat(np.arange(PEOPLE), LENGTH)
    vectors = np.random.default_rng(1).normal(size=(PEOPLE, rows.embedding.shape[1]))[track]
    vectors = vectors + 0.5 * np.random.default_rng(2).normal(size=vectors.shape)
    moments = np.tile(np.arange(LENGTH) * 30, PEOPLE) + 1000 * (track // GROUP)
    return dataclasses.replace(
        rows,
        id=np.array([f"{row}#box" for row in range(len(track))]),
        embedding=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        identity=np.full(len(track), ""),
        camera=np.where(track < PEOPLE // 2, "left", "right"),
        track=(track % (PEOPLE // 2)).astype(np.str_),
        reasons=np.where(np.arange(len(track)) % 10 == 0, "blank", ""),
        **({"time": moments / 25.0} if minutes else {"frame": moments.astype(np.int64)}),
    )


def one_track():
    return dataclasses.replace(tracks(), track=np.full(PEOPLE * LENGTH, "1"))


def one_camera_once():
    return planted(0.9).take(np.arange(0, 2 * PEOPLE, 2))


@pytest.fixture
def saved(tmp_path):
    def save(rows, name="rows.npz"):
        write_embeddings(tmp_path / name, rows, force=True)
        return tmp_path / name

    return save


def test_saved_labels(command, saved, tmp_path):
    run = command("calibrate", saved(planted(0.9)), "-o", tmp_path / "c.json")
    assert (run.code, run.err) == (0, "")
    calibration = read_calibration(tmp_path / "c.json")
    assert calibration.source.people == PEOPLE
    assert calibration.source.mated == PEOPLE * 8
    assert calibration.source.own_site
    assert f"{calibration.operating_points[0].threshold:.4f}" in run.out
    assert "0.01 %  not supported: it takes about" in run.out
    again = command("calibrate", saved(planted(0.9)), "-o", tmp_path / "c.json")
    assert again.code == 1
    assert "exists" in again.err
    run = command("calibrate", saved(planted(0.9)), "-o", tmp_path / "c.json", "--force", "--json", "--elsewhere")
    assert json.loads(run.out) == json.loads((tmp_path / "c.json").read_text())
    assert json.loads(run.out)["source"]["own_site"] is False
    assert {"format", "contract_id", "artefact_id", "precision", "source", "operating_points", "strata", "search",
            "histograms"} <= json.loads(run.out).keys()  # fmt: skip


@pytest.mark.parametrize("minutes", [False, True])
def test_tracks(command, saved, tmp_path, minutes):
    run = command("calibrate", saved(tracks(minutes)), "--tracks", "-o", tmp_path / "c.json")
    assert (run.code, run.err) == (0, "")
    source = read_calibration(tmp_path / "c.json").source
    assert (source.kind, source.people, source.cameras, source.across_cameras) == ("tracks", PEOPLE, 2, False)
    assert source.left_out == {"flagged blank": PEOPLE * LENGTH // 10}
    assert 0.7 < source.non_mated / (PEOPLE * (GROUP - 1) / 2 * LENGTH**2) < 0.9, "of tracks in one frame, less a tenth"
    assert f"  {'1 s' if minutes else '25 frames'} later a box is nearest to its own track in" in run.out
    assert "cameras left and right: median cosine of two people" in run.out
    assert "boxes that are hardly worth a vector: 10 %" in run.out
    assert "note: both crops are of one camera" in run.out
    wide = command("calibrate", saved(tracks()), "--tracks", "--gap", "100", "-o", tmp_path / "wide.json")
    assert wide.code == 0
    assert read_calibration(tmp_path / "wide.json").source.mated < source.mated


def test_a_folder_is_embedded_first(command, tmp_path, tiny_model):
    for person in range(3):
        for camera in range(2):
            folder = tmp_path / "people" / f"person {person}" / f"cam{camera}"
            folder.mkdir(parents=True)
            for number in range(2):
                (folder / f"{number}.jpg").touch()
    paint(tmp_path / "people")
    run = command("calibrate", tmp_path / "people", "--model", tiny_model, "-o", tmp_path / "c.json")
    assert run.code == 0, run.err
    assert "people: 3 people, 2 cameras, 12 images" in run.err
    calibration = read_calibration(tmp_path / "c.json")
    assert calibration.source.left_out == {"near_duplicate": 6}, (
        "the small model takes two images of one camera for one"
    )
    assert (calibration.source.mated, calibration.source.non_mated) == (3, 6)
    assert calibration.operating_points == ()
    assert [rate.fmr for rate in calibration.refused] == [0.1, 0.01, 0.001, 0.0001]


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (lambda: planted(0.9), ["--tracks"], "the rows have no track"),
        (lambda: dataclasses.replace(tracks(), frame=None), ["--tracks"], "no frame and no time"),
        (one_track, ["--tracks"], "a track is one person"),
        (tracks, [], "no identity"),
        (one_camera_once, [], "0 mated"),
        (lambda: planted(0.9), ["--names", "{identity}_"], "--names says how to read"),
    ],
)  # fmt: skip
def test_samples_that_cannot_be_calibrated(command, saved, tmp_path, rows, more, message):
    run = command("calibrate", saved(rows()), *more, "-o", tmp_path / "c.json")
    assert run.code in (1, 2)
    assert message in run.err
    assert not (tmp_path / "c.json").exists()


def test_a_calibration_beside_its_model_is_the_embedders(command, saved, tmp_path, tiny_model):
    model = tmp_path / "m.onnx"
    shutil.copy(tiny_model, model)
    embedder = Embedder.load(model)
    assert embedder.calibration is None
    command("calibrate", saved(planted(0.9, weights="sha256:01")), "-o", tmp_path / "c.json")
    made = read_calibration(tmp_path / "c.json")
    write_calibration(beside(model), made)
    with pytest.raises(CalibrationError, match=embedder.contract.contract_id):
        _ = embedder.calibration
    own = dataclasses.replace(made, contract_id=embedder.contract.contract_id)
    write_calibration(beside(model), own, force=True)
    assert embedder.calibration == own
