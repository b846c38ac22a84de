"""Miniatures of published data sets: the same names, fields and types on disk, a handful of empty images.

Field names and types are those that public loaders rely on: torchreid (KaiyangZhou/deep-person-reid, `mars.py`,
`msmt17.py`, `cuhk03.py`) and SeqNet (serend1p1ty/SeqNet, `cuhk_sysu.py`, `prw.py`).
"""

import numpy as np

from ...sample_images import encode, sample_image


def touch(root, *names):
    """Empty files: layouts read names, never pixels."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def market(root):
    """Two people to find, one distractor, one piece of junk."""
    touch(root, *(f"bounding_box_train/{name}" for name in ("0002_c1s1_000451_03.jpg", "0007_c3s3_077419_03.jpg")))
    touch(root, *(f"query/{name}" for name in ("0001_c1s1_001051_00.jpg", "0003_c6s3_079642_00.jpg")))
    test = (
        "-1_c1s1_000401_03.jpg",
        "0000_c2s1_000151_01.jpg",
        "0001_c1s1_001051_03.jpg",
        "0001_c2s1_000776_01.jpg",
        "0003_c5s3_065187_01.jpg",
    )
    touch(root, *(f"bounding_box_test/{name}" for name in test))
    touch(root, "bounding_box_test/Thumbs.db", "bounding_box_test/._0001_c1s1_001051_03.jpg")


MSMT17_LISTS = {
    "train": ["0000/0000_000_01_0303morning_0015_0_ex.jpg 0", "0001/0001_000_05_0303noon_0022_1.jpg 1"],
    "val": ["0000/0000_001_14_0303afternoon_0019_0.jpg 0"],
    "query": ["0000/0000_003_01_0303morning_0020_2.jpg 0", "0001/0001_001_15_0302noon_0713_1_ex.jpg 1"],
    "gallery": [
        "0001/0001_004_02_0302noon_0718_1.jpg 1",
        "0000/0000_004_11_0303morning_0021_0.jpg 0",
        "0000/0000_005_01_0303morning_0025_0.jpg 0",
    ],
}


def msmt17(root, train="train", test="test"):
    root.mkdir(parents=True, exist_ok=True)
    for name, lines in MSMT17_LISTS.items():
        (root / f"list_{name}.txt").write_text("".join(f"{line}\n" for line in lines))
        folder = train if name in ("train", "val") else test
        touch(root, *(f"{folder}/{line.split()[0]}" for line in lines))


CUHK03_FILES = ["1_001_1_01.png", "1_001_2_06.png", "1_002_1_01.png", "1_002_2_07.png", "3_011_1_02.png"]


def cuhk03(root, boxes="detected"):
    """The copy that loaders extract: filelist is a cell array of names, indices count from 1 and are columns."""
    from scipy.io import savemat

    filelist = np.empty((len(CUHK03_FILES), 1), dtype=object)
    filelist[:, 0] = CUHK03_FILES
    protocol = {
        "filelist": filelist,
        "labels": np.array([[1], [1], [2], [2], [3]], dtype=np.uint16),
        "camId": np.array([[1], [2], [1], [2], [1]], dtype=np.uint8),
        "train_idx": np.array([[5]], dtype=np.uint16),
        "query_idx": np.array([[1], [4]], dtype=np.uint16),
        "gallery_idx": np.array([[2], [3]], dtype=np.uint16),
    }
    savemat(root / f"cuhk03_new_protocol_config_{boxes}.mat", protocol)
    touch(root, *(f"images_{boxes}/{name}" for name in CUHK03_FILES))


MARS_TEST = [
    # frames, identity, camera
    (["00-1C1T0001F001.jpg", "00-1C1T0001F002.jpg"], -1, 1),
    (["0000C2T0001F001.jpg"], 0, 2),
    (["0002C1T0001F001.jpg", "0002C1T0001F002.jpg", "0002C1T0001F003.jpg"], 2, 1),
    (["0002C3T0001F001.jpg", "0002C3T0001F002.jpg"], 2, 3),
    (["0004C1T0001F001.jpg"], 4, 1),
    (["0004C6T0001F001.jpg", "0004C6T0001F002.jpg"], 4, 6),
    (["0002C1T0002F001.jpg"], 2, 1),
]
MARS_TRAIN = [(["0001C1T0001F001.jpg", "0001C1T0001F002.jpg"], 1, 1), (["0003C2T0001F001.jpg"], 3, 2)]
MARS_QUERIES = [6, 3, 4]
"""Tracklets counted from 1, as query_IDX has them; not in order."""


def mars(root):
    from scipy.io import savemat

    (root / "info").mkdir(parents=True)
    for split, tracklets in (("train", MARS_TRAIN), ("test", MARS_TEST)):
        rows, names = [], []
        for frames, identity, camera in tracklets:
            rows.append((len(names) + 1, len(names) + len(frames), identity, camera))
            names += frames
        (root / "info" / f"{split}_name.txt").write_text("".join(f"{name}\n" for name in names))
        # MATLAB stores a matrix of small whole numbers in the smallest type that holds them.
        savemat(root / "info" / f"tracks_{split}_info.mat", {f"track_{split}_info": np.array(rows, dtype=np.int16)})
        touch(root, *(f"bbox_{split}/{name[:4]}/{name}" for name in names))
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([MARS_QUERIES], dtype=np.uint16)})


def structs(*records):
    """A 1 x N MATLAB struct array."""
    array = np.empty((1, len(records)), dtype=[(name, object) for name in records[0]])
    for index, record in enumerate(records):
        for name, value in record.items():
            array[0, index][name] = value
    return array


def cell_column(values):
    """An N x 1 MATLAB cell array."""
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = values
    return column


def xywh(*box):
    return np.array([box], dtype=np.uint16)


NOWHERE = np.zeros((1, 0))
"""The idlocate of a gallery frame without the query."""

CUHK_BOXES = {
    "s1.jpg": [(10, 10, 40, 80), (100, 10, 40, 80)],
    "s2.jpg": [(20, 20, 40, 80)],
    "s3.jpg": [(30, 30, 40, 80), (200, 30, 40, 80), (5, 5, 0, 0)],
    "s4.jpg": [(40, 40, 10, 20), (150, 40, 40, 80)],
    "s5.jpg": [(50, 50, 40, 80), (250, 50, 40, 80)],
    "s6.jpg": [(60, 60, 40, 80)],
    "s9.jpg": [(1, 1, 40, 80), (80, 1, 40, 80)],
}
"""Left, top, width, height. s9 is a training frame; one box of s3 has no area, as some of the release."""
CUHK_POOL = ["s1.jpg", "s2.jpg", "s3.jpg", "s4.jpg", "s5.jpg", "s6.jpg"]
CUHK_TASKS = [
    ("s1.jpg", (10, 10, 40, 80), [("s3.jpg", (30, 30, 40, 80)), ("s4.jpg", (40, 40, 10, 20)), ("s5.jpg", None)]),
    ("s2.jpg", (20, 20, 40, 80), [("s5.jpg", (250, 50, 40, 80)), ("s6.jpg", None), ("s1.jpg", None)]),
]
"""Query frame and box, then its gallery with the query's box where it is there: those first, as in the release."""


def cuhk_sysu(root):
    from scipy.io import savemat

    folder = root / "annotation" / "test" / "train_test"
    folder.mkdir(parents=True)
    touch(root, *(f"Image/SSM/{name}" for name in CUHK_BOXES))
    images = [
        {
            "imname": name,
            "nAppear": len(boxes),
            "box": structs(*({"idlocate": xywh(*box), "ishard": 0} for box in boxes)),
        }
        for name, boxes in CUHK_BOXES.items()
    ]
    savemat(root / "annotation" / "Images.mat", {"Img": structs(*images)})
    savemat(root / "annotation" / "pool.mat", {"pool": cell_column(CUHK_POOL)})
    scene = structs(*({"imname": "s9.jpg", "idlocate": xywh(*box), "ishard": 0} for box in CUHK_BOXES["s9.jpg"]))
    person = structs({"idname": "p9", "nAppear": 2, "scene": scene})
    savemat(folder / "Train.mat", {"Train": cell_column([person, person])})
    tasks = [
        {
            "Query": structs({"imname": frame, "idlocate": xywh(*box), "ishard": 0, "idname": f"p{number}"}),
            "Gallery": structs(
                *(
                    {"imname": name, "idlocate": NOWHERE if found is None else xywh(*found), "ishard": 0}
                    for name, found in gallery
                )
            ),
        }
        for number, (frame, box, gallery) in enumerate(CUHK_TASKS)
    ]
    for size in (50, 100):
        savemat(folder / f"TestG{size}.mat", {f"TestG{size}": structs(*tasks)})


PRW_BOXES = {
    # identity, left, top, width, height
    "c1s1_000151": [(479, 10, 10, 40, 80), (-2, 100, 10, 40, 80)],
    "c1s1_000176": [(480, 20, 20, 40, 80)],
    "c2s1_000301": [(479, 30, 30, 40, 80), (480, -3.5, 30.5, 40.2, 80)],
    "c6s2_000026": [(-2, 40, 40, 10, 20), (479, -4, 40.5, 44.25, 80.75)],
}
PRW_QUERIES = [(479, 10, 10, 40, 80, "c1s1_000151"), (480, -3.5, 30.5, 40.2, 80, "c2s1_000301")]


def prw(root):
    from scipy.io import savemat

    (root / "annotations").mkdir(parents=True)
    keys = ("box_new", "anno_file", "anno_previous", "box_new")
    for (name, boxes), key in zip(PRW_BOXES.items(), keys, strict=True):
        savemat(root / "annotations" / f"{name}.jpg.mat", {key: np.array(boxes, dtype=np.float64)})
        touch(root, f"frames/{name}.jpg")
    savemat(root / "frame_test.mat", {"img_index_test": cell_column(list(PRW_BOXES))})
    lines = (" ".join(map(str, query)) for query in PRW_QUERIES)
    (root / "query_info.txt").write_bytes("".join(f"{line}\r\n" for line in lines).encode())


def mot(folder, people, seconds=4, rate=3, extra=()):
    """A sequence in the MOT challenge's layout: each of `people` walks to the right in clothes of their own.

    Frames are 60 rows high; `extra` are further lines of gt.txt.
    """
    (folder / "gt").mkdir(parents=True)
    (folder / "img1").mkdir()
    (folder / "seqinfo.ini").write_text(f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate={rate}\n")
    lines = []
    for frame in range(1, seconds * rate + 1):
        image = np.full((60, 40 * len(people) + 40, 3), 128, np.uint8)
        for index, person in enumerate(people):
            left, top = 40 * index + frame, 5
            image[top : top + 40, left : left + 20] = sample_image(40, 20, person)
            lines.append(f"{frame},{person},{left},{top},20,40,1,1,1")
        (folder / "img1" / f"{frame:06}.png").write_bytes(encode(image, "PNG"))
    (folder / "gt" / "gt.txt").write_text("\n".join([*lines, *extra]) + "\n")
    return folder
