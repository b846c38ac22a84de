"""A model's scores on a labelled folder: the same steps for the command, for exports and for benchmarks."""

from reid_runtime.evaluation.eval_set import PROTOCOL, EvalSet, eval_set_of
from reid_runtime.evaluation.evaluate import EvalSettings, Evaluation, evaluate, score_rows

__all__ = ["PROTOCOL", "EvalSet", "EvalSettings", "Evaluation", "eval_set_of", "evaluate", "score_rows"]
