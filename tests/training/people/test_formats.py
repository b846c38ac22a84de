"""Small files in the formats of the assets, with what is to be read out of them."""

import numpy as np
import pytest

from training.people import formats
from training.people.errors import PeopleError


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "file"
        path.write_text(text)
        return path

    return write


def test_a_mesh_has_its_quads_split_and_its_groups_named(file):
    mesh = formats.read_mesh(
        file("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\ng body\nf 1/1 2/2 3/2 4/1\ng eye\nf 1 2 3\n")
    )
    assert mesh["faces"].tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh["uv_faces"].tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert mesh["groups"].tolist() == [0, 0, 1]
    assert mesh["names"].tolist() == ["body", "eye"]


def test_a_fit_has_weights_offsets_scales_and_what_is_hidden(file):
    fit = formats.read_fit(
        file("obj_file a.obj\nx_scale 5 6 2.0\nverts 0\n7\n1 2 3 0.5 0.25 0.25 0 0.1 0\ndelete_verts\n3 - 5 9\n")
    )
    assert fit["rows"].tolist() == [[7, 7, 7], [1, 2, 3]]
    np.testing.assert_allclose(fit["weights"], [[1, 0, 0], [0.5, 0.25, 0.25]])
    np.testing.assert_allclose(fit["offsets"][1], [0, 0.1, 0])
    assert fit["scales"].tolist() == [[0, 5, 6, 2]]
    assert fit["hidden"].tolist() == [3, 4, 5, 9]


def test_a_fit_without_a_mesh_is_an_error_that_says_so(file):
    with pytest.raises(PeopleError, match="names no mesh"):
        formats.fitted_mesh(file("verts 0\n"))


def test_a_target_leaves_comments_out(file):
    target = formats.read_target(file("# CC0\n3 0.1 0.2 -0.3\n\n8 1 0 0\n"))
    assert target["rows"].tolist() == [3, 8]
    np.testing.assert_allclose(target["shifts"], [[0.1, 0.2, -0.3], [1, 0, 0]], atol=1e-7)


def test_a_pose_is_turned_from_z_up_to_y_up(file):
    pose = formats.read_pose(
        file(
            "HIERARCHY\nROOT root\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Xrotation Yrotation "
            "Zrotation\nJOINT leg\n{\nOFFSET 0 0 0\nCHANNELS 3 Xrotation Yrotation Zrotation\n}\n}\nMOTION\nFrames: 1\n"
            "Frame Time: 0.04\n1 2 3 0 0 0 0 0 90\n"
        )
    )
    assert pose["bones"].tolist() == ["leg"]
    np.testing.assert_allclose(pose["rotations"][0], formats.rotation("y", np.pi / 2), atol=1e-9)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_rotation_keeps_lengths_and_its_axis(axis):
    turn = formats.rotation(axis, 0.7)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    unit = np.eye(3)["xyz".index(axis)]
    np.testing.assert_allclose(turn @ unit, unit)
