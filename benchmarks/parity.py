"""What vectors are compared with, and what of one run's parity another run may take over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurements import Key, Parity, Report, ResultError
from benchmarks.timing import Interval
from export.gate import EvalInputs, Reference
from reid_runtime.agreement import compare
from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import EvalSet, evaluate
from reid_runtime.scoring.bootstrap import compare_scores
from reid_runtime.scoring.ranking import Scores, score
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

EmbedFiles = Callable[[Sequence[Path]], Vectors]
_SAME = ("processor", "packages", "evidence", "data", "reference")
"""What two runs must share for the parity of one to be that of the other."""
_CHUNK = 1024
"""Files of one call: a peer may hold the images of all that it is given."""


class References:
    """What artefacts are compared with, each by its contract; their vectors are computed when they are needed."""

    def __init__(self, evidence: EvalInputs, roots: Mapping[str, Embedder]) -> None:
        """roots: by contract id."""
        self._evidence, self._roots = evidence, roots
        self._references: dict[str, Reference] = {}

    def about(self) -> dict[str, str]:
        """Artefact ids by name, for a report."""
        return {root.path.name: root.artefact_id for root in self._roots.values()}

    def of(self, contract_id: str) -> Reference | None:
        """The reference of a contract."""
        if contract_id not in self._references and contract_id in self._roots:
            self._references[contract_id] = Reference.on(self._roots[contract_id], self._evidence)
        return self._references.get(contract_id)

    def missing(self, embedder: Embedder) -> str | None:
        """Why an artefact is compared with nothing; None where it has a reference."""
        contract = embedder.contract
        if contract.contract_id in self._roots:
            return None
        roots = " and ".join(f"{root.path.name} of {contract_id}" for contract_id, root in self._roots.items())
        return (
            f"parity of {embedder.path.name}: it is of contract {contract.contract_id}, and there is "
            f"{f'only {roots}' if roots else 'nothing'} to compare it with: name the checkpoint that it was made of "
            f"with --reference, or its float32 file (artefact {contract.parent}) with --model"
        )

    def parity(self, embedder: Embedder) -> Parity:
        """An artefact's."""
        reference, eval_set = self.of(embedder.contract.contract_id), self._evidence.task
        if reference is not None and is_same(reference.embedder, embedder):
            own = None if reference.evaluation is None else reference.evaluation.scores
            return replace(parity_of(None, own, None), cosine=1.0, is_reference=True)
        scores = None if eval_set is None else evaluate(embedder, eval_set).scores
        vectors = None if reference is None else embedder.embed(self._evidence.crops, "rgb")
        return parity_of(vectors, scores, reference)


def is_same(first: Embedder, second: Embedder) -> bool:
    """Whether both are one artefact on one engine."""
    return (first.artefact_id, first.backend.name) == (second.artefact_id, second.backend.name)


def parity_of(vectors: Vectors | None, scores: Scores | None, reference: Reference | None) -> Parity:
    """Of the (N, D) vectors of the crops, of any length, and of the scores on the data set, where there are any."""
    values: dict[str, Any] = {}
    if reference is not None and vectors is not None:
        values["cosine"] = compare(reference.vectors, normalise(vectors, "measured")).worst_cosine
    if scores is not None:
        summary = scores.summary()
        before = None if reference is None or reference.evaluation is None else reference.evaluation.scores
        changes = {} if before is None else compare_scores(before, scores).changes
        for name in ("map_finite_sum", "map_trapezoid"):
            values[name] = getattr(summary, name)
            if name in changes:
                values[f"{name}_change"] = Interval(changes[name].value, changes[name].low, changes[name].high)
    return Parity(**values)


def score_files(embed: EmbedFiles, eval_set: EvalSet) -> Scores:
    """Scores from a function of files; raises DatasetError where the entries are not files, one each."""
    if eval_set.tracklets or eval_set.search is not None:
        what = "tracklets" if eval_set.tracklets else "boxes in frames"
        raise DatasetError(f"{eval_set.dataset} is made of {what}, and a peer takes files, one a vector")
    vectors = []
    for entries in (eval_set.query, eval_set.gallery):
        files = [images[0].path for images in entries.images]
        parts = [embed(files[start : start + _CHUNK]) for start in range(0, len(files), _CHUNK)]
        vectors.append(normalise(np.concatenate(parts), "peer"))
    return score(vectors[0], eval_set.query, vectors[1], eval_set.gallery)


def earlier_parity(report: Report, here: Mapping[str, Any]) -> dict[Key, Parity]:
    """The parity that a report measured, by `Row.owner`; `here` is this run's environment.

    Vectors do not depend on what else runs, so parity may be measured at any time, and the times in a quiet hour.
    Raises ResultError for a report of other artefacts, engines, crops, data or reference, or of another processor.
    """
    there = report.environment
    unlike = [key for key in _SAME if there.get(key) != here.get(key)]
    digests = there.get("artefacts", {})
    unlike += [name for name, digest in here["artefacts"].items() if digests.get(name, digest) != digest]
    if unlike:
        raise ResultError(
            "expected the parity of a run on this machine with the same artefacts, packages, --crops, --data and "
            f"--reference (or --checkpoint), found another {', '.join(unlike)}: measure it again"
        )
    return {row.owner: row.parity for row in report.rows if row.parity != Parity()}
