"""What is trained on, in which layouts, and what is refused before anything is trained."""

import numpy as np
import pytest

from reid_runtime.errors import DatasetError, ImageError
from training.data.training_set import find_training, load_training

from ...sample_images import encode, sample_image
from ...scoring.layouts import miniatures


def write(root, *names, bad=()):
    """Pictures at these paths, those in `bad` unreadable; gives root."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no picture" if name in bad else encode(sample_image(24, 12, seed), "JPEG"))
    return root


PLAIN = [f"{person}/{camera}/{number}.jpg" for person in ("anna", "ben") for camera in "ab" for number in (1, 2)]
MARKET = [f"{person:04}_c{camera}s1_{person}.jpg" for person in (2, 7) for camera in (1, 2)]


def test_a_plain_folder_of_identities_is_trained_on_whole(tmp_path):
    crops = load_training(write(tmp_path / "ours", *PLAIN))
    assert (crops.identities, len(crops.images), crops.name) == (2, 8, "ours")
    assert crops.labels.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(np.unique(crops.cameras), [1, 2])
    assert crops.images[0].shape == (24, 12, 3)


def test_what_was_read_is_printed_and_person_zero_is_one(tmp_path, capsys):
    names = [f"{person}/{camera}/1.tif" for person in range(3) for camera in "ab"]
    write(tmp_path / "ours", *names, "junk/a/1.jpg", "0/a/1.gif")
    crops = load_training(tmp_path / "ours")
    assert (crops.identities, len(crops.images)) == (3, 6)
    assert capsys.readouterr().err.splitlines()[:4] == [
        "ours: 3 people, 2 cameras, 6 images",
        "  0/a/1.tif: identity 0, camera a",
        "  2/b/1.tif: identity 2, camera b",
        "passed over: 2 files (1 .gif, 1 junk or distractors)",
    ]
    (tmp_path / "ours/1/a/1.tif").write_bytes((tmp_path / "ours/2/b/1.tif").read_bytes())
    with pytest.raises(DatasetError, match="1 image is one file of two people"):
        load_training(tmp_path / "ours")


def test_names_by_a_pattern(tmp_path):
    write(tmp_path, *(f"{person}_{camera}.jpg" for person in "pq" for camera in "ab"))
    crops = load_training(tmp_path, names="{identity}_{camera}")
    assert (crops.identities, np.unique(crops.cameras).size) == (2, 2)


def test_of_a_plain_folder_with_splits_only_train_is_used(tmp_path):
    write(tmp_path / "ours", *(f"train/{name}" for name in PLAIN), *(f"query/c{name}" for name in PLAIN))
    crops, name = find_training(tmp_path / "ours")
    assert (len(crops), name) == (8, "ours/train")
    write(tmp_path / "two", *(f"{part}/{person}/{n}.jpg" for part in ("train", "val") for person in "pq" for n in "12"))
    assert len(find_training(tmp_path / "two")[0]) == 4
    write(tmp_path / "scored", *(f"query/{name}" for name in PLAIN), *(f"gallery/{name}" for name in PLAIN))
    with pytest.raises(DatasetError, match="no training split"):
        find_training(tmp_path / "scored")


def test_a_list_of_crops_is_a_layout_too(tmp_path):
    write(tmp_path, *PLAIN)
    rows = "".join(f"{name},{name.split('/')[0]},{name.split('/')[1]}\n" for name in PLAIN)
    (tmp_path / "crops.csv").write_text("id,identity,camera\n" + rows)
    assert len(load_training(tmp_path).images) == 8


def test_markets_layout_is_found_and_needs_only_its_training_folder(tmp_path):
    root = tmp_path / "market"
    write(root / "bounding_box_train", *MARKET, "-1_c1s1_1.jpg", "0000_c1s1_2.jpg")
    crops = load_training(root)
    assert (crops.people.tolist(), crops.cameras.tolist()) == ([2, 2, 7, 7], [1, 2, 1, 2])
    assert crops.name == "market/bounding_box_train"
    assert load_training(root, "market1501").digest == crops.digest
    with pytest.raises(DatasetError):
        load_training(root, "plain")


def test_people_of_a_video_are_cut_from_its_frames(tmp_path):
    for name, people in (("train/A", (1, 2)), ("train/B", (1, 5)), ("val/C", (1, 2))):
        miniatures.mot(tmp_path / "ours" / name, people)
    data = load_training(tmp_path / "ours")
    assert (len(data.images), data.identities, np.unique(data.cameras).size, data.name) == (16, 4, 2, "ours")
    assert np.array_equal(data.images[1], sample_image(40, 20, 2))


def test_the_digest_is_of_pixels_people_and_cameras(tmp_path):
    first = load_training(write(tmp_path / "a", *PLAIN))
    assert load_training(write(tmp_path / "b", *PLAIN)).digest == first.digest
    (tmp_path / "b" / PLAIN[0]).write_bytes(encode(sample_image(24, 12, 99), "JPEG"))
    assert load_training(tmp_path / "b").digest != first.digest


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([f"{person}/{camera}/1.jpg" for person, camera in ("ax", "by", "cx")], "each of its 3 people has one image"),
        ([f"{person}/one/{number}.jpg" for person in "ab" for number in (1, 2)], "all 4 images are of one camera"),
        ([f"anna/{camera}/1.jpg" for camera in "ab"], "expected two people or more to train on, found 1"),
        (["readme.txt"], "no images"),
    ],
    ids=["one image each", "one camera", "one person", "no images"],
)
def test_training_data_without_pairs_are_refused(names, said, tmp_path):
    with pytest.raises(DatasetError, match=said):
        load_training(write(tmp_path, *names))


def test_one_camera_is_taken_where_it_is_asked_for(tmp_path):
    write(tmp_path, *(f"{person}/one/{number}.jpg" for person in "ab" for number in (1, 2)))
    with pytest.raises(DatasetError, match="pass --one-camera"):
        load_training(tmp_path)
    assert len(load_training(tmp_path, one_camera=True).images) == 4


@pytest.mark.parametrize("name", ["bounding_box_train", "train", ""])
def test_empty_training_folder_is_an_error(name, tmp_path):
    (tmp_path / "data" / name).mkdir(parents=True)
    with pytest.raises(DatasetError, match="no images"):
        load_training(tmp_path / "data")


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        load_training(tmp_path / "nowhere")


def test_unreadable_pictures_are_all_counted_and_the_first_few_named(tmp_path):
    names = [f"{person}/{camera}/{number}.jpg" for person in "pq" for camera in "ab" for number in range(5)]
    write(tmp_path, *names, bad=names[:2])
    with pytest.raises(ImageError, match="2 of 20 training images cannot be read; mend them or take them out") as few:
        load_training(tmp_path)
    assert all(name in str(few.value) for name in names[:2])
    write(tmp_path, *names, bad=names[:9])
    with pytest.raises(ImageError, match="9 of 20") as many:
        load_training(tmp_path)
    assert [name in str(many.value) for name in names[:9]] == [True] * 5 + [False] * 4
    assert "and 4 more" in str(many.value)
