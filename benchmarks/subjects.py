"""What is measured: model files on devices, on how many cores, on which crops, and what their vectors are held to."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

import click

from benchmarks.results import Report, Row, environment
from benchmarks.timing import FULL, QUICK, Budget
from export.gate import EXAMPLES, Evidence, Reference, read_evidence
from reid_runtime.agreement import compare
from reid_runtime.backends import DEVICES, open_backend
from reid_runtime.embedder import Embedder, default_model
from reid_runtime.errors import BackendError, ReidRuntimeError
from reid_runtime.evaluation import Evaluation, evaluate
from reid_runtime.scoring.confidence import compare as compare_scores
from reid_runtime.scoring.layouts.crops import is_picture

CONTRACTS = Path(__file__).parent / "peers"
"""Contracts of models of others, by the stem of their files."""
_MAPS = ("map_finite_sum", "map_trapezoid")


class SubjectError(ReidRuntimeError):
    """What was asked to be measured cannot be."""


@dataclass(frozen=True)
class Subject:
    """A model file on a device, loaded."""

    embedder: Embedder
    device: str
    parity: Mapping[str, float] = field(default_factory=dict)
    """`cosine` to the reference, the change in mAP with its interval, and its own scores, where there are any."""

    @property
    def case(self) -> str:
        """How rows name it."""
        return f"{self.embedder.path.stem}, {self.embedder.backend.name}"

    @property
    def facts(self) -> dict[str, float]:
        """What rows say of it: its parity, and whether it computes in integers."""
        return dict(self.parity) | {"integers": float(self.embedder.contract.precision.startswith("int8"))}


@dataclass(frozen=True)
class Setup:
    """All that one run measures with."""

    models: tuple[Path, ...]
    devices: tuple[str, ...]
    threads: int
    budget: Budget
    evidence: Evidence
    files: tuple[Path, ...]
    """The evidence's crops, as files."""
    reference: Path | None = None
    known: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Parity that an earlier report measured, as `known_parity` gives it."""

    def subjects(self) -> tuple[list[Subject], list[str]]:
        """Every model on every device that takes it, with its parity; and why the others are left out.

        Raises SubjectError where none is left.
        """
        found, notes = [], []
        held = _References(self)
        for path in self.models:
            for device in self.devices:
                try:
                    embedder = load(path, device, self.threads)
                except ReidRuntimeError as error:
                    notes.append(f"{path.name} on {device}: {error}")
                    continue
                if device == "openvino-bf16" and embedder.contract.precision != "float32":
                    notes.append(f"{path.name} on {device}: bfloat16 is for float32 files")
                    continue
                known = self.known.get(identity(embedder))
                found.append(Subject(embedder, device, held.parity(embedder) if known is None else known))
        if not found:
            raise SubjectError("there is nothing to measure:\n  " + "\n  ".join(notes))
        return found, notes


def identity(embedder: Embedder) -> str:
    """Which artefact on which engine."""
    return f"{embedder.artefact_id} {embedder.backend.name}"


def known_parity(report: Report) -> dict[str, dict[str, float]]:
    """The parity that a report measured, by `identity`; raises SubjectError for one of other engines or processors.

    Vectors do not depend on what else runs, so parity may be measured at any time, and the times in a quiet hour.
    """
    here = environment()
    for key in ("processor", "packages"):
        if report.environment.get(key) != here[key]:
            raise SubjectError(
                f"parity is taken over on one machine with the same packages; {key}: there "
                f"{report.environment.get(key)}, here {here[key]}"
            )
    return {name: dict(facts) for name, facts in report.environment.get("parity", {}).items()}


def precision_of(row: Row) -> str:
    """int8, bfloat16 or float32: what a row that has a Subject's facts and case was computed in.

    A float16 file is float32 to the engines of a CPU, which cast its weights.
    """
    return "int8" if row.facts.get("integers") else "bfloat16" if "bfloat16" in row.case else "float32"


def load(path: Path, device: str, threads: int | None = None) -> Embedder:
    """A model file on a device; one of others that carries no contract has its own in benchmarks/peers.

    A checkpoint (.safetensors) is torch in float32, on the CPU: the reference of all that was made of it.
    """
    if path.suffix == ".safetensors":
        from benchmarks.torch_reference import load_checkpoint

        return load_checkpoint(path, threads)
    stated = CONTRACTS / f"{path.stem}.json"
    carries = open_backend(path, device, threads).contract_text is not None if stated.is_file() else True
    return Embedder.load(path, device=device, contract=None if carries else stated, threads=threads)


class _References:
    """The references' answers, each asked for once."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.stated = None if setup.reference is None else load(setup.reference, "cpu", setup.threads)
        self.roots: dict[str, Embedder] = {} if setup.reference is not None else _float32(setup)
        self.known: dict[str, Reference] = {}

    def parity(self, embedder: Embedder) -> dict[str, float]:
        """What separates an artefact from its reference, and its own scores where there is a data set."""
        evidence, root = self.setup.evidence, self._root_of(embedder)
        evaluation = None if evidence.task is None else evaluate(embedder, evidence.task)
        facts = _scores(evaluation, embedder)
        if root is None:
            return facts
        reference = self._answers(root)
        agreement = compare(reference.vectors, embedder.embed(evidence.crops, "rgb"))
        facts |= {"cosine": agreement.worst_cosine, "rank_agreement": agreement.rank_agreement}
        if evaluation is not None and reference.evaluation is not None:
            changes = compare_scores(reference.evaluation.scores, evaluation.scores).changes
            for name in _MAPS:
                change = changes[name]
                facts |= {
                    f"{name}_change": change.value,
                    f"{name}_change_low": change.low,
                    f"{name}_change_high": change.high,
                }
        return facts

    def _root_of(self, embedder: Embedder) -> Embedder | None:
        """The stated reference, the float32 file among the models, or the file itself where it is one."""
        contract = embedder.contract
        if self.stated is not None:
            return self.stated if self.stated.contract.contract_id == contract.contract_id else None
        return self.roots.get(contract.contract_id)

    def _answers(self, root: Embedder) -> Reference:
        name = root.artefact_id
        if name not in self.known:
            self.known[name] = Reference.on(root, self.setup.evidence)
        return self.known[name]


def _float32(setup: Setup) -> dict[str, Embedder]:
    """By contract id, the float32 roots among the models, on ONNX Runtime's CPU or, where it cannot, OpenVINO."""
    roots: dict[str, Embedder] = {}
    for path in setup.models:
        for device in ("cpu", "openvino"):
            try:
                embedder = load(path, device, setup.threads)
            except BackendError:
                continue
            if embedder.contract.precision == "float32" and embedder.contract.parent is None:
                roots.setdefault(embedder.contract.contract_id, embedder)
            break
    return roots


def _scores(evaluation: Evaluation | None, embedder: Embedder) -> dict[str, float]:
    """By both definitions: as measured now, or as the contract records it for its first data set."""
    if evaluation is not None:
        summary = evaluation.scores.summary()
        return {"map_finite_sum": summary.map_finite_sum, "map_trapezoid": summary.map_trapezoid}
    if embedder.contract.scores:
        score = embedder.contract.scores[0]
        return {"recorded_map_finite_sum": score.map_finite_sum, "recorded_map_trapezoid": score.map_trapezoid}
    return {}


def pin(threads: int | None) -> int:
    """Keep this process, and all that it starts, on so many cores: nobody's decoding has more than another's.

    Gives the number of cores. Before anything is loaded: engines count the cores when they start.
    """
    free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if threads is None:
        return len(free)
    if threads > len(free):
        raise SubjectError(f"{threads} threads were asked for, this process may use {len(free)} cores")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, free[:threads])
    return threads


def subject_options(command: Callable[..., object]) -> Callable[..., object]:
    """--model, --device, --reference, --crops, --data, --called, --threads and --quick; the command gets a `setup`."""

    values = frozenset(signature(setup_from).parameters)

    @wraps(command)
    def with_setup(**given: Any) -> object:
        setup = setup_from(**{name: value for name, value in given.items() if name in values})
        return command(setup=setup, **{name: value for name, value in given.items() if name not in values})

    wrapped: Callable[..., object] = with_setup
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    for option in (
        click.option("--quick", is_flag=True, help="A trial of about a minute in place of a measurement."),
        click.option("--threads", type=click.IntRange(1), help="Cores, for everyone alike; all without this."),
        click.option("--called", "dataset", help="The data set's name in the report."),
        click.option("--data", type=folder, help="A data set on which every artefact's change in mAP is measured."),
        click.option("--crops", type=folder, default=EXAMPLES, help="What is embedded.  [examples/crops]"),
        click.option("--reference", type=file, help="A checkpoint or float32 file; the models' own roots without it."),
        click.option(
            "--device", "devices", type=click.Choice(DEVICES), multiple=True, default=["cpu"], show_default=True,
            help="May be repeated.",
        ),
        click.option("--model", "models", type=file, multiple=True, help="An artefact; may be repeated. [the default]"),
    ):  # fmt: skip
        wrapped = option(wrapped)
    return wrapped


def setup_from(
    models: Sequence[Path],
    devices: Sequence[str],
    reference: Path | None,
    crops: Path,
    data: Path | None,
    dataset: str | None,
    threads: int | None,
    quick: bool,
) -> Setup:
    """The Setup of the options' values; it keeps this process on its cores."""
    cores = pin(threads)
    evidence = read_evidence(crops, data, dataset)
    files = tuple(sorted(path for path in crops.rglob("*") if is_picture(path)))
    budget = QUICK if quick else FULL
    return Setup(tuple(models) or (default_model(),), tuple(devices), cores, budget, evidence, files, reference)
