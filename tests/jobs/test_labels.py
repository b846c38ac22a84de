"""Identities and cameras between text, as they are kept, and integers, as scores take them."""

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.jobs.labels import ROLES, integer_labels, text_labels
from reid_runtime.scoring.labels import DISTRACTOR, JUNK

IDS = np.array(["a", "b", "c", "d"])


def test_roles_are_those_of_the_scores():
    assert {"junk": JUNK, "distractor": DISTRACTOR} == ROLES


def test_integers_round_trip():
    identities, cameras = np.array([2**40, -1, 0, 7]), np.array([3, 0, -2, 3])
    texts = text_labels(identities, cameras)
    assert texts["identity"].tolist() == [str(2**40), "", "", "7"]
    assert texts["role"].tolist() == ["", "junk", "distractor", ""]
    assert texts["camera"].tolist() == ["3", "0", "-2", "3"]
    for actual, expected in zip(integer_labels(IDS, **texts), (identities, cameras), strict=True):
        assert actual.tolist() == expected.tolist()
        assert actual.dtype == np.int64


@pytest.mark.parametrize("names", [["zoe", "", "ann", "zoe"], ["10", "", "9x", "10"], ["0", "", "-1", "0"]])
def test_text_labels_are_numbered(names):
    roles = np.array(["", "junk", "", ""])
    identities, cameras = integer_labels(IDS, np.array(names), np.array(["door", "1", "1", "door"]), roles)
    assert (identities[0], identities[1]) == (identities[3], -1)
    assert len({*identities.tolist()}) == 3
    assert min(identities[[0, 2]]) > 0
    assert (cameras[0], cameras[1]) == (cameras[3], cameras[2])
    assert cameras[0] != cameras[1]


def test_unknown_labels():
    labels = np.array(["1", "2", "3", "4"])
    for identity, camera, reason in (
        (np.array(["1", "", "", "4"]), labels, "2 of 4 rows have no identity, the first is b; .* junk or distractor"),
        (labels, np.array(["1", "2", "", "4"]), "1 of 4 rows have no camera, the first is c"),
    ):
        with pytest.raises(StorageError, match=reason):
            integer_labels(IDS, identity, camera, None)
