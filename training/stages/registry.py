"""The stages, in the order in which they follow each other: a new one is a module and an entry here."""

from training.stages import adaptation, classification, distillation, ranking

STAGES = {kind.command: kind for kind in (classification.KIND, ranking.KIND, distillation.KIND, adaptation.KIND)}
"""By command of `python -m training`."""
