"""Person search: a query is looked for in whole frames, among all the boxes found in them.

The rules are those published with CUHK-SYSU, as PRW's loaders follow them too. In a frame that holds the query,
the best-ranked box that overlaps the person enough is the right answer, and all others are wrong ones; a frame
in which no box does is a miss, and AP is scaled by the share of frames that are not (the recall). The camera
does not matter, but the query's own frame is no part of its gallery.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring import average_precision
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Integers, LabelNames, Mask
from reid_runtime.scoring.ranking import Block, DotProducts, Scores, ranks_of, similarity_rows
from reid_runtime.scoring.vectors import unit_vectors
from reid_runtime.vectors import Vectors

Coordinates = npt.NDArray[np.float32]
"""(N, 4) float32: left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class Boxes:
    """N boxes in the frames of a set: row i of every column belongs to box i."""

    frames: Integers
    """(N,) rows of the set's frames."""
    xyxy: Coordinates
    """(N, 4) left, top, right, bottom, in pixels."""
    identities: Integers
    """(N,) person numbers; 0 is a person without one."""

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class SearchTask:
    """Where one query is looked for, and where it is."""

    gallery: Mask
    """(M,) which of the set's frames are searched."""
    answers: Integers
    """(P,) rows of those frames that hold the query's person."""
    answer_xyxy: Coordinates
    """(P, 4) the person's box in each."""
    answer_boxes: Integers | None = None
    """(P,) rows of the set's boxes, where only these are right, and not what overlaps them; None for the rule."""


@dataclass(frozen=True)
class SearchSet:
    """A person-search set's test split: M frames, the boxes that people drew in them, and Q queries."""

    root: Path
    """The folder that `frames` are relative to."""
    frames: tuple[str, ...]
    """M relative POSIX paths: the gallery's frames first, then those that only queries are from."""
    gallery_frames: int
    """How many of them are the gallery's."""
    cameras: Integers
    """(M,) camera numbers; 0 where the set has none."""
    boxes: Boxes
    """The boxes of all gallery frames: the detections of an evaluation with ground-truth boxes."""
    queries: Boxes
    """Q boxes."""
    tasks: tuple[SearchTask, ...]
    """Q tasks."""
    gaps: Integers | None = None
    """(Q,) in a re-association, how many seconds later each query is looked for; None in a person search."""
    names: LabelNames = field(default_factory=LabelNames)
    """What the people and cameras are called."""
    notes: tuple[str, ...] = ()
    """What of the reading was not plain, a sentence each."""

    @property
    def paths(self) -> list[Path]:
        """M paths, in the order of the frames."""
        return [self.root / name for name in self.frames]


def check_findable(search: SearchSet) -> None:
    """Raises ScoringError when no query has a right answer, which takes no vectors to know."""
    if not any(task.answers.size for task in search.tasks):
        raise ScoringError(f"none of {len(search.tasks)} queries is in a frame of its gallery; expected at least one")


def score_search(search: SearchSet, query_vectors: Vectors, detections: Boxes, vectors: Vectors) -> Scores:
    """Score queries against the boxes found in whole frames, by the rules published with CUHK-SYSU.

    A query that is found in no frame counts with AP 0 and no hit; INP is 0 unless it is found in all its frames.

    Args:
        search: The frames, the queries and where their people are.
        query_vectors: (Q, D) float32 of unit length.
        detections: N boxes of a detector, whose threshold is the caller's, or `search.boxes`; their identities are
            not read.
        vectors: (N, D) float32 of unit length, row i for detection i.

    Returns:
        The scores of each query, AP scaled by recall.

    Raises:
        ScoringError: For vectors that are not unit vectors, and where no query has a right answer.
    """
    queries = unit_vectors(query_vectors, len(search.queries), "query")
    items = unit_vectors(vectors, len(detections), "detection")
    if queries.shape[1] != items.shape[1]:
        raise ScoringError(f"query vectors have {queries.shape[1]} dimensions, detections {items.shape[1]}")
    check_findable(search)
    count = len(queries)
    finite_sum, trapezoid, inp = (np.full(count, np.nan) for _ in range(3))
    first_hit = np.zeros(count, dtype=np.int64)
    by_frame = _ByFrame.of(detections, len(search.frames))
    for row, similarity in similarity_rows(DotProducts(queries, items), count, len(items)):
        task = search.tasks[row]
        if not task.answers.size:
            continue
        ranked = np.where(task.gallery[detections.frames], similarity, -np.inf)
        right = task.answer_boxes
        if right is None:
            right = _right_detections(task, by_frame, detections, ranked)
        finite_sum[row] = trapezoid[row] = inp[row] = 0
        if right.size:
            ranks = ranks_of(ranked, right)
            recall = ranks.size / task.answers.size
            finite_sum[row] = recall * average_precision.finite_sum(ranks)
            trapezoid[row] = recall * average_precision.trapezoid(ranks)
            first_hit[row] = ranks[0]
            inp[row] = ranks.size / ranks[-1] if recall == 1 else 0
    valid = np.array([task.answers.size > 0 for task in search.tasks])
    cameras = search.cameras[search.queries.frames]
    searched = max(int(np.count_nonzero(task.gallery)) for task in search.tasks)
    return Scores(search.queries.identities, cameras, valid, finite_sum, trapezoid, first_hit, inp, searched)


@dataclass(frozen=True)
class _ByFrame:
    """The rows of the detections, frame after frame."""

    order: Integers
    starts: Integers
    """(M + 1,) where each frame's rows begin in `order`."""

    @classmethod
    def of(cls, detections: Boxes, frames: int) -> "_ByFrame":
        order = np.argsort(detections.frames, kind="stable")
        return cls(order, np.searchsorted(detections.frames[order], np.arange(frames + 1)))

    def rows(self, frame: int) -> Integers:
        """The rows of the detections in this frame."""
        return self.order[self.starts[frame] : self.starts[frame + 1]]


def _right_detections(task: SearchTask, by_frame: _ByFrame, detections: Boxes, similarity: Block) -> Integers:
    """In each frame the best-ranked of the detections that overlap the person."""
    right = []
    for frame, person in zip(task.answers, task.answer_xyxy, strict=True):
        rows = by_frame.rows(frame)
        rows = rows[np.argsort(-similarity[rows], kind="stable")]
        overlapping = rows[overlaps(detections.xyxy[rows], person) >= least_overlap(person)]
        right.extend(overlapping[:1].tolist())
    return np.array(right, dtype=np.int64)


def least_overlap(person: Coordinates) -> float:
    """The intersection over union from which a box counts as this person's (4,): 0.5, less for small ones.

    min(0.5, wh / ((w + 10)(h + 10))), as published with CUHK-SYSU: ten pixels of slack.
    """
    width, height = float(person[2] - person[0]), float(person[3] - person[1])
    return min(0.5, width * height / ((width + 10) * (height + 10)))


def overlaps(boxes: Coordinates, person: Coordinates) -> npt.NDArray[np.float64]:
    """(N,) the intersection over union of (N, 4) boxes with one (4,) box."""
    boxes, person = boxes.astype(np.float64), person.astype(np.float64)
    corners = np.minimum(boxes[:, 2:], person[2:]) - np.maximum(boxes[:, :2], person[:2])
    shared = corners.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (person[2:] - person[:2]).prod()
    shares: npt.NDArray[np.float64] = shared / (areas - shared)
    return shares
