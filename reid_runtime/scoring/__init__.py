"""Scores of embeddings: CMC, mAP, mINP, re-ranking, intervals, person search. numpy only: anybody may call it.

- `score`: queries against a gallery; `rerank` and `score_reranked` the same after k-reciprocal re-ranking.
- `bootstrap_intervals` and `compare_scores`: how sure a score or a change of one is.
- `score_camera_pairs`: mAP from each camera to each other one.
- `score_search`: person search, in whole frames.
- `pool` and `multi_query`: one vector for a tracklet, or for all crops of a query's identity.

Embeddings are (N, D) float32 of unit length, `Labels` the identity and the camera of each row. Scores are fractions.
"""

from reid_runtime.scoring.bootstrap import METRICS, Bootstrap, Comparison, Interval, bootstrap_intervals, compare_scores
from reid_runtime.scoring.camera_pairs import CameraPairs, score_camera_pairs
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import DISTRACTOR, JUNK, Labelled, Labels
from reid_runtime.scoring.person_search import Boxes, SearchSet, SearchTask, score_search
from reid_runtime.scoring.ranking import Scores, Similarities, Summary, ranked_list, score, score_similarities
from reid_runtime.scoring.reranking import Reranked, RerankSettings, rerank, score_reranked
from reid_runtime.scoring.tracklets import Tracklets, multi_query, pool

__all__ = [
    "DISTRACTOR",
    "JUNK",
    "METRICS",
    "Bootstrap",
    "Boxes",
    "CameraPairs",
    "Comparison",
    "Interval",
    "Labelled",
    "Labels",
    "RerankSettings",
    "Reranked",
    "Scores",
    "ScoringError",
    "SearchSet",
    "SearchTask",
    "Similarities",
    "Summary",
    "Tracklets",
    "bootstrap_intervals",
    "compare_scores",
    "multi_query",
    "pool",
    "ranked_list",
    "rerank",
    "score",
    "score_camera_pairs",
    "score_reranked",
    "score_search",
    "score_similarities",
]
