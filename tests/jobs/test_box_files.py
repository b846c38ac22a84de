"""Files of boxes: every format gives the same boxes, and what is wrong in one is told by its line."""

import json

import numpy as np
import pytest

from reid_runtime.jobs.video.box_files import read_boxes
from reid_runtime.jobs.video.boxes import Boxes, BoxesError

FRAME, TRACK, SCORE = [1, 1, 3], ["7", "", "7"], [0.9, 0.5, 0.8]
CORNERS = [[10, 20, 30.5, 60], [0, 0, 5, 9], [12, 20, 32, 60]]
SIDES = [[left, top, right - left, bottom - top] for left, top, right, bottom in CORNERS]


def lines(rows, separator=",", head=""):
    return head + "".join(separator.join(map(str, row)) + "\n" for row in rows)


MOT = [
    (frame, track or -1, *box, score, -1, -1, -1)
    for frame, track, box, score in zip(FRAME, TRACK, SIDES, SCORE, strict=True)
]
BY_CORNERS = [
    (frame, *box, track, score) for frame, track, box, score in zip(FRAME, TRACK, CORNERS, SCORE, strict=True)
]
BY_SIDES = [(track, *box, score, frame) for frame, track, box, score in zip(FRAME, TRACK, SIDES, SCORE, strict=True)]
ANNOTATIONS = [
    {"image_id": 10 * frame, "bbox": box, "category_id": 1, "score": score}
    | ({"track_id": int(track)} if track else {})
    for frame, track, box, score in zip(FRAME, TRACK, SIDES, SCORE, strict=True)
]
IMAGES = [{"id": 10, "file_name": "img/000001.jpg"}, {"id": 30, "file_name": "img/000003.jpg"}]
COCO = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": [{"id": 1, "name": "person"}]}
RESULTS = [item | {"image_id": frame} for item, frame in zip(ANNOTATIONS, FRAME, strict=True)]
FILES = {
    "mot.txt": lines(MOT),
    "spaces.txt": lines(MOT, " "),
    "corners.csv": lines(BY_CORNERS, head="frame,x1,y1,x2,y2,track,score\n"),
    "sides.csv": "\ufeff" + lines(BY_SIDES, ";", "id;x;y;w;h;conf;frame_id\n"),
    "coco.json": json.dumps(COCO),
    "frame_id.json": json.dumps(
        COCO | {"images": [{"id": 10, "file_name": "b9.jpg", "frame_id": 1}, {"id": 30, "frame_id": 3}]}
    ),
    "results.json": json.dumps(RESULTS),
}


@pytest.mark.parametrize("name", FILES)
def test_formats(tmp_path, name):
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    boxes = read_boxes(tmp_path / name)
    assert boxes.frame.tolist() == FRAME
    assert np.allclose(boxes.corners, CORNERS)
    assert boxes.track.tolist() == TRACK
    assert np.allclose(boxes.score, SCORE)
    assert boxes.number.tolist() == [1, 2, 1]


def test_supervisions_sinks(tmp_path):
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    people = supervision.Detections(
        np.array(CORNERS[:2], np.float64), confidence=np.array(SCORE[:2]), tracker_id=np.array([7, 8]),
        data={"class_name": np.array(["person", "car"])},
    )  # fmt: skip
    csv, json_file = tmp_path / "boxes.csv", tmp_path / "boxes.json"
    with supervision.CSVSink(str(csv)) as table, supervision.JSONSink(str(json_file)) as listed:
        for sink in (table, listed):
            sink.append(people, custom_data={"frame": 0})
    for path in (csv, json_file):
        boxes = read_boxes(path)
        assert (boxes.frame.tolist(), boxes.track.tolist()) == ([0], ["7"])
        assert np.allclose(boxes.corners, CORNERS[:1])
        assert boxes.left_out == {"of other classes than people": 1}


def test_boxes_that_do_not_count(tmp_path):
    truth = tmp_path / "gt.txt"
    truth.write_text("1,3,0,0,10,20,1,1,1\n1,4,0,0,10,20,0,8,1\n", encoding="utf-8")
    crowd = tmp_path / "crowd.json"
    items = [ANNOTATIONS[0], ANNOTATIONS[0] | {"iscrowd": 1}, ANNOTATIONS[1] | {"category_id": 3}]
    crowd.write_text(json.dumps(COCO | {"annotations": items}), encoding="utf-8")
    assert read_boxes(truth).left_out == {"with the flag 0": 1}
    assert read_boxes(crowd).left_out == {"of crowds": 1, "of other classes than people": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is empty"),
        ("1,2,3\n", "line 1: expected frame,id,left,top"),
        ("1,2,0,0,5,9\n1,3,0,zero,5,9\n", "line 2: expected a number for box, found 'zero'"),
        ("# a comment\n1.5,2,0,0,5,9\n", "line 2: expected a whole number for the frame"),
        ("1,2,0,0,5,9\n1,2,3,0,5,9\n", "track 2 has two boxes in frame 1"),
        ("1,2,0.1,0.1,0.2,0.3\n", "all edges are from 0 to 1"),
        ("x1,y1,x2,y2\n1,2,3,4\n", "no column says the number of its frame"),
        ("frame,left,top\n1,2,3\n", "expected columns x1, y1, x2, y2 or x, y, w, h, found frame, left, top"),
        ("frame,x1,y1,x2,y2\n1,2,3,4\n", "line 2: expected 5 values"),
        ("{}", "expected COCO JSON"),
        ("[1", "expected COCO JSON"),
        ('[{"bbox": [1, 2], "image_id": 3}]', "annotation 1: expected bbox of 4 numbers"),
        (json.dumps(COCO | {"images": IMAGES[:1]}), "its image 30 is not among the images"),
        (json.dumps(COCO | {"images": [image | {"video_id": image["id"]} for image in IMAGES]}), "boxes of 2 videos"),
    ],
)
def test_wrong_input_is_named(tmp_path, content, told):
    path = tmp_path / "boxes"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BoxesError, match=told) as raised:
        read_boxes(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("frames", "first", "expected"),
    [([1, 2], None, [1, 2]), ([0, 2], None, [1, 3]), ([0, 2], 0, [1, 3]), ([5, 9], 5, [1, 5])],
)
def test_the_first_frame(frames, first, expected):
    boxes = Boxes.of("boxes", frames, [[0, 0, 9, 9]] * 2)
    assert boxes.of_frames(first).frame.tolist() == expected


def test_a_box_before_the_first_frame():
    with pytest.raises(BoxesError, match="boxes of frame 0, which is before the first, 1: pass --first-frame 0"):
        Boxes.of("boxes", [0], [[0, 0, 9, 9]]).of_frames(1)


def test_chosen_boxes_keep_their_names():
    boxes = Boxes.of("boxes", [4, 1, 1, 1], [[0, 0, 9, 9]] * 4, score=[0.9, 0.1, 0.9, np.nan])
    chosen = boxes.of_frames(every=3, min_score=0.5)
    assert chosen.names("a.mp4") == ("a.mp4#1/2", "a.mp4#1/3", "a.mp4#4/1")
    assert chosen.left_out == {"score below 0.5": 1}
    assert Boxes.of("boxes", [1, 1], [[0, 0, 9, 9]] * 2, ["2", ""]).names("a") == ("a#1/2", "a#1/box-2")
    with pytest.raises(BoxesError, match="no box to embed: left out are 4 score below 1"):
        Boxes.of("boxes", [1] * 4, [[0, 0, 9, 9]] * 4, score=[0.5] * 4).of_frames(min_score=1)
