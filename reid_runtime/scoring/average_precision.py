"""The two definitions of average precision in use. They differ by 0.5 to 1 point, so scores name theirs."""

import numpy as np

from reid_runtime.scoring.labels import Integers


def finite_sum(ranks: Integers) -> float:
    """AP of right answers at these (P,) ranks, ascending from 1: the mean of the precision at each.

    As scikit-learn's `average_precision_score` defines it.
    """
    hits = np.arange(1, ranks.size + 1)
    return float(np.mean(hits / ranks))


def trapezoid(ranks: Integers) -> float:
    """AP of right answers at these (P,) ranks, ascending from 1: the trapezoids under precision over recall.

    As the MATLAB code published with Market-1501 (`compute_AP.m`) has it: the precision at each right answer is
    averaged with that one rank before it, which is 1 before the first rank. Never larger than the finite sum.
    """
    hits = np.arange(1, ranks.size + 1)
    before = np.divide(hits - 1, ranks - 1, out=np.ones(ranks.size), where=ranks > 1)
    return float(np.mean((before + hits / ranks) / 2))
