"""A model's scores on a labelled folder: the same steps for the command, for exports and for benchmarks."""

from reid_runtime.evaluation.evaluate import Evaluation, Settings, evaluate, score_rows
from reid_runtime.evaluation.tasks import PROTOCOL, Task, task_of

__all__ = ["PROTOCOL", "Evaluation", "Settings", "Task", "evaluate", "score_rows", "task_of"]
