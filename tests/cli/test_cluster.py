import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from reid_runtime import read_embeddings, write_embeddings
from reid_runtime.jobs.cluster import cluster, read_constraints
from reid_runtime.matching.clustering import ConstraintError

from ..gallery.tables import people

CROPS = "examples/crops"


@pytest.fixture
def pile(tmp_path):
    """The example crops without who they are: in one folder."""
    folder = tmp_path / "pile"
    folder.mkdir()
    for root, _, names in os.walk(CROPS):
        for name in names:
            if name.endswith(("jpg", "png")):
                shutil.copy(f"{root}/{name}", folder / f"{root[len(CROPS) + 1 :].replace('/', '_')}_{name}")
    return folder


def test_a_folder_becomes_a_tree_that_evaluate_and_the_gallery_read(command, pile, tmp_path, tiny_model):
    (pile / "unreadable.jpg").write_text("no image")
    (pile / "notes.txt").touch()
    tree = tmp_path / "people"
    run = command("cluster", pile, "-o", f"{tree}/", "--threshold", "0.999", "--model", tiny_model, "--json")
    assert run.code == 3, run.err  # as of embed and search: an image could not be used
    assert "\npassed over, not images by their names: 1 .txt\nskipped: 1\n  unreadable.jpg: not a JPEG" in run.err
    report = json.loads(run.out)
    assert report["threshold"]["source"] == "as stated"
    assert report["crops"] == 32
    assert [each["id"] for each in report["failed"]] == ["unreadable.jpg"]
    assert f"unsure: {report['unsure']} crop" in run.err
    files = [path for path in tree.rglob("*") if path.suffix in (".jpg", ".png")]
    assert len(files) == 32
    assert "unreadable.jpg" not in {path.name for path in files} | {*read_embeddings(tree / "embeddings.npz").id}
    page = (tree / "people.html").read_text()
    assert "person-0001" in page
    assert "unreadable.jpg" not in page
    added = command("gallery", "add", tmp_path / "g", tree, "--model", tiny_model)
    assert f"refused: {report['unsure']} (no_person" in added.err or not report["unsure"]
    assert command("evaluate", tree, "--no-cameras", "--model", tiny_model).code == 0
    assert "exists and is not overwritten" in command("cluster", pile, "-o", tree, "--threshold", "0.5").err
    elsewhere = command("cluster", pile, "-o", tmp_path, "--threshold", "0.5")
    assert "no tree of people" in elsewhere.err


def test_recorded_errors_are_no_crops_and_stay_in_the_file(command, tmp_path):
    rows = dataclasses.replace(people(["anna", "ben"], crops=2), error=np.array(["", "", "", "not a JPEG"]))
    write_embeddings(tmp_path / "in.npz", rows)
    pair = f"{rows.id[0]},{rows.id[3]},must\n"
    (tmp_path / "pairs.csv").write_text(pair)
    run = command(
        "cluster", tmp_path / "in.npz", "-o", tmp_path / "out.npz", "--threshold", "0.7",
        "--constraints", tmp_path / "pairs.csv",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.err.startswith("3 crops: 2 people; unsure: 0 crops\n")
    assert f"left out, for they have no vector: 1\n  {rows.id[3]}: not a JPEG\n" in run.err
    assert read_embeddings(tmp_path / "out.npz").identity.tolist() == ["person-0001", "person-0001", "person-0002", ""]


def test_what_is_mended_stays_and_the_others_keep_their_names(command, tmp_path):
    rows = people(["anna", "ben", "eva"], crops=4)
    write_embeddings(tmp_path / "in.npz", rows)
    arguments = ["cluster", tmp_path / "in.npz", "-o", tmp_path / "out.npz", "--threshold", "0.7"]
    assert command(*arguments).code == 0
    first = read_embeddings(tmp_path / "out.npz").identity
    assert first.tolist() == [f"person-000{number}" for number in (1, 2, 3) for _ in range(4)]
    (tmp_path / "mend.csv").write_text(
        f"a,b,link\n{rows.id[0]},{rows.id[1]},cannot\n{rows.id[0]},{rows.id[8]},must\n{rows.id[1]},{rows.id[2]},must\n"
    )
    assert command(*arguments, "--force", "--constraints", tmp_path / "mend.csv").code == 0
    second = read_embeddings(tmp_path / "out.npz").identity
    assert second[0] == second[8]
    assert second[0] != second[1] == second[2]
    assert np.array_equal(second[4:8], first[4:8])
    assert np.array_equal(second[9:], first[9:])


def test_files_of_two_cameras_are_one_pile(tmp_path):
    first = people(["anna", "ben"], crops=2, track=np.array(["1", "1", "2", "2"]), frame=np.array([1, 2, 1, 2]))
    second = people(["anna", "ben"], crops=2, track=np.array(["1", "1", "2", "2"]), frame=np.array([1, 2, 1, 2]))
    second.id[:] = [name.replace(".jpg", ".png") for name in second.id]
    clusters = cluster([first, second], None, threshold=0.6)
    assert clusters.units == 4
    assert (
        clusters.rows.identity.tolist()
        == ["person-0001"] * 2 + ["person-0002"] * 2 + ["person-0001"] * 2 + ["person-0002"] * 2
    )
    assert {*clusters.rows.camera.tolist()} == {"camera-1", "camera-2"}


def test_crops_of_no_worth_are_unsure(tmp_path):
    rows = people(["anna"], crops=4, reasons=np.array(["", "", "blank", "upper_8_bits"]))
    assert cluster(rows, None, threshold=0.5).rows.identity.tolist() == ["person-0001"] * 2 + ["", "person-0001"]


@pytest.mark.parametrize("line", ["a,b", "a,b,maybe", "a,b,must,more"])
def test_a_line_that_is_no_constraint_is_named(tmp_path, line):
    (tmp_path / "c.csv").write_text(f"a,b,link\nx,y,must\n{line}\n")
    with pytest.raises(ConstraintError, match="line 3"):
        read_constraints(tmp_path / "c.csv")


def test_constraints_are_looked_at_before_the_work(command, tmp_path):
    Image.new("RGB", (32, 64)).save(tmp_path / "a.png")
    listed = tmp_path / "c.csv"  # is no model
    listed.write_text("a.png,b.png,must\n")
    run = command("cluster", tmp_path, "-o", "x.npz", "--constraints", listed, "--model", listed)
    assert "constraints name 'b.png', and no crop has this id" in run.err
