"""An ablation's runs: every variant with every seed, each in a folder of its own, and what each scored.

    FOLDER/ablation.json                        what it is an ablation of; another is refused
    FOLDER/seed-1/classified/baseline/          a run of identity classification
    FOLDER/seed-1/ranked/baseline/              a run of ranking, and scores.npz
    FOLDER/seed-1/ranked/mining-random/         ...

Whoever takes it up goes on with the first run that has no scores, and within it with the last checkpoint.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write
from reid_runtime.scoring.ranking import Scores
from training.ablation.evaluators import Evaluator
from training.ablation.factors import Factor, Variant
from training.config import differing
from training.data.training_set import TrainingCrops
from training.models.backbones import backbone
from training.models.frozen import freeze_parts
from training.models.weights import PUBLISHED, initialise
from training.recipe import Distillation, Ranking, Recipe, Validation, recipe_from
from training.run.checkpoint import read_checkpoint
from training.run.entry import Job, run_stage
from training.run.trainer import FINAL, LAST, LogConfig
from training.stages import classification, ranking

PLAN, SCORES, FORMAT = "ablation.json", "scores.npz", "reid-runtime-ablation-1"
Weights = Path | str
"""A file of ImageNet weights, or "imagenet" for the published ones."""


class AblationError(ReidRuntimeError):
    """An ablation that cannot start, or cannot go on in its folder."""


@dataclass(frozen=True)
class Ablation:
    """What is changed, on which budget, and how it is judged."""

    folder: Path
    crops: TrainingCrops
    """What every run is trained on."""
    recipe: Recipe
    """The baseline's, with the budget in it; its seed is the first."""
    factors: tuple[Factor, ...]
    seeds: int
    """How many, from the recipe's own on."""
    evaluator: Evaluator
    weights: dict[str, Weights]
    """ImageNet weights by backbone."""
    terms: str
    device: str = "cpu"
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def variants(self) -> dict[str, Variant]:
        """All variants by label, the baseline once and first."""
        labelled = {"baseline": Variant("baseline", self.recipe)}
        for factor in self.factors:
            for variant in factor.variants:
                if variant != factor.baseline:
                    labelled[factor.label(variant)] = variant
        return labelled

    @property
    def all_seeds(self) -> range:
        """The recipe's seed and those that follow it."""
        return range(self.recipe.seed, self.recipe.seed + self.seeds)

    @property
    def scored(self) -> int:
        """How many runs in the folder have been scored, of whatever variant."""
        return len(list(self.folder.glob(f"seed-*/ranked/*/{SCORES}")))

    def run(self, report: Callable[[Sequence[int]], None]) -> None:
        """Make every run that is not there; after each seed `report` gets those for which all variants are done.

        Before anything is trained it raises AblationError for a backbone without weights and for a folder with
        another ablation, and BackboneError for weights that do not fit; later, what the stages raise.
        """
        self._check_weights()
        self._take_folder()
        for seed in self.all_seeds:
            for label, variant in self.variants.items():
                self._measure(label, variant, seed)
            report(range(self.recipe.seed, seed + 1))

    def scores(self, label: str, seed: int) -> Scores:
        """What a run scored; raises AblationError for a damaged file."""
        path = self._ranked(label, seed) / SCORES
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = {name: file[name] for name in file.files}
            return Scores(**columns | {"gallery": int(columns["gallery"])})
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise AblationError(f"{path} cannot be read ({error}); remove it, and the run is scored again") from error

    def _ranked(self, label: str, seed: int) -> Path:
        return self.folder / f"seed-{seed}" / "ranked" / label

    def _measure(self, label: str, variant: Variant, seed: int) -> None:
        folder = self._ranked(label, seed)
        if (folder / SCORES).exists():
            return
        start = self._classified(label, variant, seed) if variant.classified else None
        recipe = replace(variant.recipe, seed=seed)
        weights = self.weights[recipe.network.backbone] if start is None else None
        if not (folder / FINAL).exists():
            click.echo(f"seed {seed}, {label}: ranking", err=True)
            run_stage(ranking.KIND, self.crops, recipe, self._job(folder, weights, start))
        network = read_checkpoint(folder / FINAL).network().to(torch.device(self.device))
        scores = self.evaluator.score(network, recipe.network.rule)
        with atomic_write(folder / SCORES) as temporary, open(temporary, "wb") as file:
            np.savez(file, **vars(scores))
        # Of no more use, and with the optimiser's memory two to three times the model.
        (folder / LAST).unlink(missing_ok=True)

    def _classified(self, label: str, variant: Variant, seed: int) -> Path:
        """The model of identity classification that this ranking starts from: the baseline's, where it is the same."""
        recipe = _of_classification(variant.recipe)
        if recipe == _of_classification(self.recipe):
            label = "baseline"
        folder = self.folder / f"seed-{seed}" / "classified" / label
        if not (folder / FINAL).exists():
            click.echo(f"seed {seed}, {label}: classification", err=True)
            weights = self.weights[recipe.network.backbone]
            run_stage(classification.KIND, self.crops, replace(recipe, seed=seed), self._job(folder, weights, None))
        (folder / LAST).unlink(missing_ok=True)
        return folder / FINAL

    def _job(self, folder: Path, weights: Weights | None, start: Path | None) -> Job:
        return Job(folder, self.terms, weights, start, device=self.device, log=self.log)

    def _check_weights(self) -> None:
        """Raises AblationError for a backbone without weights, BackboneError for weights that are not its own, and
        FixedPartError where the recipe's fixed parts are another backbone's."""
        for name in dict.fromkeys(variant.recipe.network.backbone for variant in self.variants.values()):
            if name not in self.weights:
                raise AblationError(
                    f"there are no weights for {name!r}: pass --weights {name}=FILE, or --weights imagenet for the "
                    "published ones, or choose the backbones with --backbone"
                )
            trunk = backbone(name).build()
            initialise(trunk, name, self.weights[name])
            freeze_parts(trunk, self.recipe.fixed)

    def _take_folder(self) -> None:
        """Write down what the folder holds; raises AblationError where it holds another ablation."""
        path = self.folder / PLAN
        earlier = _read_plan(path) if path.exists() else None
        plan = self._plan()
        if earlier is not None:
            changed = differing({key: plan[key] for key in ("recipe", "scored_on", "data")}, earlier)
            # More seeds, variants and backbones go on: each run depends on its own alone.
            digests = earlier["weights"]
            changed += [
                f"weights.{name}" for name, digest in plan["weights"].items() if digests.get(name, digest) != digest
            ]
            if earlier["seeds"] > self.seeds:
                changed.append(f"seeds, {earlier['seeds']}")
            if changed:
                raise AblationError(
                    f"{self.folder} holds an ablation with another recipe, budget or data ({', '.join(changed)}); put "
                    "these back, or choose another folder"
                )
            plan["weights"] = digests | plan["weights"]
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")

    def _plan(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "recipe": self.recipe.as_dict(),
            "seeds": self.seeds,
            "scored_on": {self.evaluator.name: self.evaluator.describe()},
            "data": self.crops.digest,
            "weights": {name: _digest(weights) for name, weights in self.weights.items()},
        }


def _of_classification(recipe: Recipe) -> Recipe:
    """The recipe with nothing that does not concern identity classification."""
    return replace(recipe, ranking=Ranking())


def budgeted(recipe: Recipe, updates: int | None, epochs: int | None) -> Recipe:
    """The recipe with so many updates of ranking and epochs of classification, its schedules shrunk alike.

    What an ablation does not use is as if it was not stated: whom the stages would hold out, and distillation.
    """
    ranking, classification = recipe.ranking, recipe.classification
    if updates is not None:
        halve_every = max(1, round(ranking.halve_every * updates / ranking.updates))
        ranking = replace(ranking, updates=updates, halve_every=halve_every)
    if epochs is not None:
        warmup = classification.warmup_epochs * epochs / classification.epochs
        classification = replace(classification, epochs=epochs, warmup_epochs=warmup)
    return replace(
        recipe,
        ranking=ranking,
        classification=classification,
        distillation=Distillation(),
        validation=Validation(share=0.0),
    )


def _digest(weights: Weights) -> str:
    if weights == PUBLISHED:
        return PUBLISHED
    with open(weights, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if plan["format"] != FORMAT:
            raise ValueError(f"its format is {plan['format']!r}, expected {FORMAT!r}")
        # A choice that is younger than the folder has its default.
        plan["recipe"] = recipe_from(plan["recipe"], str(path)).as_dict()
        if not isinstance(plan["seeds"], int) or not isinstance(plan["weights"], dict):
            raise ValueError("expected a number of seeds and an object of weights")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AblationError(f"{path} is not an ablation's plan ({error!r}); choose another folder") from error
    return plan
