from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.images.resize import LongestSide
from training.recipe import Validation
from training.run.validation import hold_out, score_people

from ..tiny import make_crops


class Colours(torch.nn.Module):
    """Embeds an image by its mean colour, which in these crops says who it is; `blind` sees nothing."""

    def __init__(self, blind=False):
        super().__init__()
        self.projection = torch.nn.Linear(3, 3)
        self.blind = blind

    def forward(self, images):
        means = images.float().mean((1, 2)) - 128
        if self.blind:
            means = images[:, 0, 0].float() % 7 - 3.1
        return torch.nn.functional.normalize(means, dim=1)


def test_held_out_people_are_not_trained_on_and_nobody_is_lost():
    crops = make_crops(people=8)
    kept, out = hold_out(crops, Validation(share=0.25), seed=1)
    assert (kept.identities, out.identities) == (6, 2)
    assert not set(kept.people) & set(out.people)
    assert len(kept.images) + len(out.images) == len(crops.images)
    again = hold_out(crops, Validation(share=0.25), seed=1)[1]
    assert again.digest == out.digest
    assert len({tuple(np.unique(hold_out(crops, Validation(share=0.25), seed)[1].people)) for seed in range(9)}) > 3


def test_the_only_people_with_two_pictures_are_not_held_out():
    crops = make_crops(people=8)
    once = np.unique(crops.people, return_index=True)[1]
    some = np.isin(np.arange(len(crops.people)), once) | (crops.people <= 2)
    kept, out = hold_out(crops.where(some), Validation(share=0.25), seed=1)
    assert (kept.identities, out) == (8, None), "the others have one picture each"
    kept, out = hold_out(crops.where(some | (crops.people == 3)), Validation(share=0.25), seed=1)
    assert (kept.identities, out.identities) == (6, 2)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_share_that_makes_no_two_people_holds_nobody_out(share):
    crops = make_crops(people=6)
    kept, out = hold_out(crops, Validation(share=share), seed=1)
    assert out is None
    assert kept is crops


def test_only_people_under_two_cameras_are_held_out():
    crops = make_crops(people=8)
    crops = replace(crops, cameras=np.where(crops.people > 2, 1, crops.cameras))
    _, out = hold_out(crops, Validation(share=0.25), seed=1)
    assert set(out.people) == {1, 2}
    assert hold_out(crops, Validation(share=0.4), seed=1)[1] is None


def test_the_score_is_of_the_network_and_of_one_camera_too():
    crops = make_crops(people=8)
    rule = LongestSide(40)
    for cameras in (crops.cameras, np.ones_like(crops.cameras)):
        of_these = replace(crops, cameras=cameras)
        seeing, blind = (score_people(Colours(blind), of_these, rule) for blind in (False, True))
        assert seeing == {"held_out_map": 1.0, "held_out_rank_1": 1.0}
        assert blind["held_out_map"] < 0.6
