"""What an ablation found of each variant: scores, the difference from the baseline, and whether the paper agrees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reid_runtime.scoring.ranking import Summary
from training.ablation.factors import EQUAL, Direction, Factor, PaperScore, Variant
from training.ablation.stats import Difference, differences
from training.ablation.study import Ablation

MAP = "map_finite_sum"

Verdict = Literal["yes", "no", "not resolved"]


@dataclass(frozen=True)
class Row:
    """One variant of a factor."""

    variant: Variant
    runs: tuple[Summary, ...]
    """By seed."""
    differences: dict[str, Difference] | None
    """From the baseline by measure; None for the baseline itself."""
    paper: PaperScore | None
    paper_difference: PaperScore | None
    claim: Direction | None
    """What the paper says of it against what is the baseline here."""

    @property
    def verdict(self) -> Verdict | None:
        """Whether the paper's direction holds; None where the paper has none."""
        if self.claim is None or self.differences is None:
            return None
        difference = self.differences[MAP]
        certain: set[Direction] = set()
        if difference.is_real:
            certain.add("better" if difference.both.value > 0 else "worse")
        if difference.is_within(EQUAL / 100):
            certain.add("equal")
        return "yes" if self.claim in certain else "no" if certain else "not resolved"


def rows_of(ablation: Ablation, factor: Factor, seeds: Sequence[int]) -> list[Row]:
    """A row a variant, of these seeds; raises AblationError for damaged scores."""
    baseline = [ablation.scores("baseline", seed) for seed in seeds]
    rows = []
    for variant in factor.variants:
        own = variant == factor.baseline
        runs = baseline if own else [ablation.scores(factor.label(variant), seed) for seed in seeds]
        rows.append(
            Row(
                variant,
                tuple(run.summary() for run in runs),
                None if own else differences(baseline, runs),
                factor.paper_score(variant),
                None if own else factor.paper_difference(variant),
                None if own else factor.claim(variant),
            )
        )
    return rows
