"""Videos in the MOT challenge's layout: whose boxes are read, who is looked for after which gap, and what it scores."""

import json

import numpy as np
import pytest

from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import evaluate
from reid_runtime.images.decode import load_image
from reid_runtime.scoring.layouts.mot import find_sequences, read_mot, read_mot_crops, read_sequence
from reid_runtime.scoring.layouts.registry import read_layout
from reid_runtime.scoring.person_search import score_search
from reid_runtime.scoring.reassociation import score_by_gap

from . import miniatures


def test_only_people_whom_the_annotators_count_and_one_can_see(tmp_path):
    ignored = ["1,8,0,0,20,40,0,1,1", "1,9,0,0,20,40,1,3,1", "1,7,0,0,20,40,1,1,0.2"]  # not considered, a car, hidden
    sequence = read_sequence(miniatures.mot(tmp_path / "S", (3, 2), extra=ignored))
    assert np.unique(sequence.identities).tolist() == [2, 3]
    assert (sequence.frames_a_second, sequence.hidden) == (3, 1)
    assert sequence.xyxy[:2].tolist() == [[41, 5, 61, 45], [1, 5, 21, 45]]
    assert np.unique(sequence.frames[sequence.each_second]).tolist() == [1, 4, 7, 10]


def test_ten_columns_have_no_class(tmp_path):
    folder = miniatures.mot(tmp_path / "S", (1, 2))
    text = (folder / "gt" / "gt.txt").read_text().replace(",1,1,1\n", ",1,-9.5,-4.8,0\n")  # a place in the world
    (folder / "gt" / "gt.txt").write_text(text)
    assert len(read_sequence(folder).frames) == 24


def test_one_copy_of_a_sequence_and_the_split_that_is_asked_for(tmp_path):
    for name in ("train/A-DPM", "train/A-FRCNN", "val/B"):
        miniatures.mot(tmp_path / name, (1, 2))
    (miniatures.mot(tmp_path / "val/C", (1, 2)) / "gt" / "gt.txt").unlink()  # a test sequence
    assert [each.folder.name for each in find_sequences(tmp_path, ("val", "train"))] == ["B"]
    assert [each.folder.name for each in find_sequences(tmp_path, ("train",))] == ["A-DPM"]
    assert read_layout(tmp_path)[0].name == "mot"


def test_crops_are_cut_from_the_frames(tmp_path):
    miniatures.mot(tmp_path / "A", (1, 2))
    miniatures.mot(tmp_path / "B", (1, 5))
    crops = read_mot_crops(tmp_path)
    assert crops.ids[:2] == ("A/img1/000001.png#1", "A/img1/000001.png#2")
    assert [crops.names.identity(number) for number in np.unique(crops.identities)] == ["A/1", "A/2", "B/1", "B/5"]
    assert load_image(crops.paths[0]).shape == (60, 120, 3)


def test_everyone_is_found_again_unless_two_change_places(tiny, tmp_path):
    folder = miniatures.mot(tmp_path / "S", (1, 2, 3))
    search = read_mot(folder)
    assert (len(search.boxes), len(search.queries), search.gaps.tolist()) == (12, 15, [1] * 9 + [2] * 6)
    scores = evaluate(tiny, search).scores
    after = score_by_gap(search, scores)
    assert [(each.seconds, each.rank_1.value, each.queries, each.people) for each in after] == [
        (1, 1, 9, 3),
        (2, 1, 6, 3),
    ]
    assert (after[0].in_view, after[0].chance) == (3, pytest.approx(1 / 3))
    lines = (folder / "gt" / "gt.txt").read_text().splitlines()
    swapped = [line if line[:3] != "10," else _swap(line) for line in lines]
    (folder / "gt" / "gt.txt").write_text("\n".join(swapped))
    wrong = evaluate(tiny, read_mot(folder)).scores
    assert wrong.summary().rank_1 == pytest.approx(1 - 4 / 15)  # 1 and 2, a second and two before they did


def _swap(line):
    frame, person, rest = line.split(",", 2)
    return f"{frame},{dict(zip('123', '213', strict=True))[person]},{rest}"


def test_a_box_that_overlaps_the_right_one_is_wrong(tmp_path):
    """In a person search it is right, for detectors draw their own; here everybody's box is known."""
    folder = miniatures.mot(tmp_path / "S", (1, 2), seconds=2)
    text = (folder / "gt" / "gt.txt").read_text().replace("4,2,44,", "4,2,6,")  # 2 stands before 1
    (folder / "gt" / "gt.txt").write_text(text)
    search = read_mot(folder)
    like_first, other = np.eye(2, dtype=np.float32)
    vectors = np.stack([other, like_first, like_first, other])
    scores = score_search(search, np.stack([like_first, like_first]), search.boxes, vectors)
    assert scores.first_hit.tolist() == [1, 2]


def test_evaluate_prints_a_line_a_gap(command, tiny_model, tmp_path):
    folder = miniatures.mot(tmp_path / "S", (1, 2, 3))
    run = command("evaluate", folder, "--model", tiny_model, "--device", "cpu")
    assert run.code == 0
    assert "re-association" in run.out
    assert "1 s    100.0   100.0 to 100.0      33.3        3.0          9 of 3" in run.out
    report = json.loads(command("evaluate", folder, "--model", tiny_model, "--device", "cpu", "--json").out)
    assert [each["seconds"] for each in report["reassociation"]] == [1, 2]
    assert report["labels"]["examples"][0][1] == "S/1"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("gt/gt.txt", "1,1,3\n", "line 1 does not read frame,identity,left,top,width,height"),
        ("gt/gt.txt", "", "is empty"),
        ("gt/gt.txt", "1,1,3,3,5,5,0,1,1\n", "no box of a person"),
        ("gt/gt.txt", "1,1,3,3,5,5,1,1,1\n99001,1,3,3,5,5,1,1,1\n", "1 of the frames .* missing, the first is 99001"),
        ("seqinfo.ini", "[Sequence]\nframeRate=0\nimDir=img1\n", "expected frameRate, the frames a second, found '0'"),
        ("seqinfo.ini", "frameRate=3\n", r"expected a section \[Sequence\]"),
        ("seqinfo.ini", "[Sequence]\nframeRate=3\nimDir=film.mp4\n", "expected a folder of frames"),
    ],
)
def test_damaged_sequences(tmp_path, file, text, said):
    folder = miniatures.mot(tmp_path / "S", (1, 2))
    (folder / file).write_text(text)
    with pytest.raises(DatasetError, match=said):
        read_mot(tmp_path)
