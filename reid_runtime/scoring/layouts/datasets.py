"""The data sets that can be asked for by name: how they lie on disk, how they are read, how much is in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from reid_runtime.scoring.layouts.crops import CropSplits
from reid_runtime.scoring.layouts.cuhk03 import read_detected, read_labelled
from reid_runtime.scoring.layouts.cuhk_sysu import read_cuhk_sysu
from reid_runtime.scoring.layouts.market1501 import read_market
from reid_runtime.scoring.layouts.mars import TrackletSplits, read_mars, read_mars_torchreid
from reid_runtime.scoring.layouts.mot import read_mot
from reid_runtime.scoring.layouts.msmt17 import read_msmt17
from reid_runtime.scoring.layouts.plain import read_plain
from reid_runtime.scoring.layouts.prw import read_prw
from reid_runtime.scoring.person_search import SearchSet

Splits = CropSplits | TrackletSplits | SearchSet
"""What the readers return: tables of crops, of tracklets, or a person-search set."""


@dataclass(frozen=True)
class Dataset:
    """A published set, or the plain layout."""

    name: str
    """As `--dataset` takes it."""
    protocol: str
    """What is ranked, in a few words, as `evaluate --json` gives it."""
    read: Callable[[Path], Splits]
    layout: tuple[tuple[str, ...], ...]
    """Paths under the root that must be there to score it; of several in a row, any one."""
    counts: Mapping[str, int]
    """The published counts, by the names that `count_splits` gives; empty for the plain layout."""
    optional: tuple[str, ...] = ()
    """Paths that more can be done with: to train, or for multi-query."""
    reads: tuple[str, ...] = ()
    """What is read besides, a line each."""


def _dataset(
    name: str, protocol: str, read: Callable[[Path], Splits], layout: str, optional: str = "", **counts: int
) -> Dataset:
    """Paths are separated by blanks, alternatives by bars."""
    paths = tuple(tuple(path.split("|")) for path in layout.split())
    more = tuple(path.replace("|", " or ") for path in optional.split())
    return Dataset(name, protocol, read, paths, MappingProxyType(counts), more)


_MARKET = "query|image_query bounding_box_test|image_test"
_MARS = "bbox_test info/test_name.txt info/tracks_test_info.mat info/query_IDX.mat"
_MARS_TRAIN = "bbox_train info/train_name.txt info/tracks_train_info.mat"

DATASETS: tuple[Dataset, ...] = (
    _dataset(
        "market1501", "single query; multi-query with gt_bbox", read_market, _MARKET, "bounding_box_train gt_bbox",
        train=12_936, train_identities=751, query=3_368, gallery=15_913, junk=3_819,
    ),
    _dataset(
        "dukemtmc-reid", "single query", read_market, _MARKET, "bounding_box_train",
        train=16_522, train_identities=702, query=2_228, gallery=17_661,
    ),
    _dataset(
        "msmt17", "single query; V1 or V2 by its folders", read_msmt17,
        "list_query.txt list_gallery.txt mask_test_v2|test", "list_train.txt list_val.txt mask_train_v2|train",
        train=32_621, train_identities=1_041, query=11_659, gallery=82_161,
    ),
    _dataset(
        "cuhk03-np-detected", "767/700, detected boxes", read_detected,
        "detected/query|cuhk03_new_protocol_config_detected.mat detected/bounding_box_test|images_detected",
        "detected/bounding_box_train",
        train=7_365, train_identities=767, query=1_400, gallery=5_332,
    ),
    _dataset(
        "cuhk03-np-labelled", "767/700, labelled boxes", read_labelled,
        "labeled/query|cuhk03_new_protocol_config_labeled.mat labeled/bounding_box_test|images_labeled",
        "labeled/bounding_box_train",
        train=7_368, train_identities=767, query=1_400, gallery=5_328,
    ),
    # MARS has 12,180 test tracklets, of which 870 are junk.
    _dataset(
        "mars", "official: every test tracklet in the gallery", read_mars, _MARS, _MARS_TRAIN,
        train=8_298, train_identities=625, query=1_980, gallery=11_310, junk=870,
    ),
    _dataset(
        "mars-torchreid", "torchreid's: no query in the gallery", read_mars_torchreid, _MARS, _MARS_TRAIN,
        train=8_298, train_identities=625, query=1_980, gallery=9_330,
    ),
    _dataset(
        "cuhk-sysu", "person search, 100 gallery frames a query", read_cuhk_sysu,
        "Image/SSM annotation/Images.mat annotation/pool.mat annotation/test/train_test/TestG100.mat",
        query=2_900, gallery_frames=6_978,
    ),
    _dataset(
        "prw", "person search, every test frame but the query's own", read_prw,
        "frames annotations frame_test.mat query_info.txt", query=2_057, gallery_frames=6_112,
    ),
    Dataset(
        "mot",
        "re-association: the same person seconds later, among everyone then in view",
        read_mot, (("seqinfo.ini", "*/seqinfo.ini", "val/*/seqinfo.ini", "train/*/seqinfo.ini"),),
        MappingProxyType({}), ("train", "val"),
        (
            "sequences of MOT17, DanceTrack, SportsMOT: seqinfo.ini, gt/gt.txt, frames in img1",
            "of a folder with splits val (to train: train); one frame a second is read",
        ),
    ),
    Dataset(
        "plain",
        "folders identity/camera/image or a crops.csv: query and gallery, or each image against the others",
        read_plain, (), MappingProxyType({}), ("train", "query", "gallery"),
        (
            "identity/camera/image, or identity/image where no camera is known",
            "names of a pattern: --names '{identity}_{camera}', or '{camera}/{identity}/' for folders",
            "a CSV file, or crops.csv in the folder: columns id (its path from there), identity,",
            "[camera], [split] (train, query or gallery)",
            "the identity junk (or -1) is ignored; distractor is nobody, and stays in the gallery",
        ),
    ),
)  # fmt: skip
