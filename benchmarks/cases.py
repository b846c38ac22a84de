"""What is measured: model files on devices, on how many cores, on which crops, and what their vectors are held to."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from inspect import signature
from pathlib import Path
from typing import Any

import click

from benchmarks.flops import operations
from benchmarks.measurements import ABOUT, Report, Row, environment, shown
from benchmarks.timing import FULL, QUICK, Budget
from export.gate import EXAMPLES, Evidence, Reference, read_evidence
from reid_runtime.agreement import compare
from reid_runtime.backends import DEVICES
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.evaluation import Evaluation, evaluate
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.model_file.file import artefact_digest, carried_contract
from reid_runtime.model_file.packaged import default_model
from reid_runtime.scoring.bootstrap import compare_scores

CONTRACTS = Path(__file__).parent / "peers"
"""Contracts of models of others, by the stem of their files."""
_MAPS = ("map_finite_sum", "map_trapezoid")
_PARITY = frozenset(
    ["cosine", "own_reference", *_MAPS, *(f"{name}_change{end}" for name in _MAPS for end in ("", "_low", "_high"))]
)
"""The facts of rows that say how near vectors come to the reference's, and how well they rank."""
_ON_GPU = re.compile(r", (onnxruntime cuda|tensorrt)", re.IGNORECASE)
"""In a case: the engine behind the model's name."""
_REFERENCE = (
    "What the models must equal: their checkpoint, which torch runs, or a float32 file. Without it a report takes its "
    "--checkpoint, and else each model is held to the float32 file of its contract among them."
)
_SAME = ("processor", "packages", "evidence", "data", "reference")
"""What two runs must share for the parity of one to be that of the other."""


class SubjectError(ReidRuntimeError):
    """What was asked to be measured cannot be."""


@dataclass(frozen=True)
class Subject:
    """A model file on a device, loaded."""

    embedder: Embedder
    device: str
    parity: Mapping[str, float] = field(default_factory=dict)
    """`cosine` to the reference, the change in mAP with its interval, and its own scores, where there are any.

    `own_reference` is 1 where this is the reference itself, on the reference's engine: then nothing was compared.
    """

    @property
    def case(self) -> str:
        """How rows name it."""
        return f"{self.embedder.path.stem}, {self.embedder.backend.name}"

    @property
    def facts(self) -> dict[str, float]:
        """What rows say of it: its parity, and whether it computes in integers."""
        return dict(self.parity) | {"integers": float(self.embedder.contract.precision.kind == "int8")}

    def operations(self, shapes: Iterable[tuple[int, int]]) -> dict[str, float]:
        """The fact `operations` of crops of these heights and widths, as they are after the contract's resize."""
        rule = self.embedder.contract.resize
        return operations(self.embedder.path, [rule.shape(*shape) for shape in shapes])


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

    @cached_property
    def references(self) -> "References":
        """What the models' vectors are held to."""
        return References(self)

    def subjects(self) -> tuple[list[Subject], list[str]]:
        """Every model on every device that takes it, with its parity; and why the others are left out.

        Raises SubjectError where none is left, and for two artefacts whose rows would have one name.
        """
        loaded, notes = self._loaded()
        if not loaded:
            raise SubjectError("there is nothing to measure:\n  " + "\n  ".join(notes))
        notes += dict.fromkeys(note for each in loaded if (note := self.references.missing(each.embedder)) is not None)
        found = []
        for subject in loaded:
            known = self.known.get(identity(subject.embedder))
            parity = self.references.parity(subject.embedder) if known is None else known
            found.append(replace(subject, parity=parity))
        return found, notes

    def _loaded(self) -> tuple[list[Subject], list[str]]:
        found: dict[str, Subject] = {}
        notes = []
        for path in self.models:
            for device in self.devices:
                try:
                    embedder = load(path, device, self.threads)
                except ReidRuntimeError as error:
                    notes.append(f"{path.name} on {device}: {error}")
                    continue
                if device == "openvino-bf16" and embedder.contract.precision.kind != "float32":
                    notes.append(f"{path.name} on {device}: bfloat16 is for float32 files")
                    continue
                subject = Subject(embedder, device)
                first = found.setdefault(subject.case, subject)
                if identity(first.embedder) != identity(embedder):
                    raise SubjectError(
                        f"{first.embedder.path} and {path} are two artefacts that rows would both call "
                        f"{subject.case!r}: rename one of the files"
                    )
                if first is not subject:
                    notes.append(f"{path.name} on {device}: the same as on {first.device}, {embedder.backend.name}")
        return list(found.values()), notes

    def about(self) -> dict[str, Any]:
        """What a report says of its run, beside the machine's `environment`."""
        crops = self.evidence.crops
        return about_evidence(self.evidence) | {
            "threads": self.threads,
            "budget": "trial: too short for its numbers to mean anything" if self.budget == QUICK else "full",
            "crops": f"{len(crops)} of {len({crop.shape for crop in crops})} sizes",
            "reference": self.references.named,
            "artefacts": {path.name: artefact_digest(path) for path in self.models},
        }


def about_evidence(evidence: Evidence) -> dict[str, Any]:
    """`evidence`, a digest of the crops' pixels in their order, and `data`, the data set where there is one."""
    digest = hashlib.sha256()
    for crop in evidence.crops:
        digest.update(f"{crop.shape}".encode())
        digest.update(crop.tobytes())
    about: dict[str, Any] = {"evidence": f"sha256:{digest.hexdigest()}"}
    if (task := evidence.task) is not None:
        about["data"] = {"name": evidence.dataset, "queries": len(task.query), "gallery": len(task.gallery)}
    return about


def identity(embedder: Embedder) -> str:
    """Which artefact on which engine."""
    return f"{embedder.artefact_id} {embedder.backend.name}"


def known_parity(report: Report, setup: Setup) -> dict[str, dict[str, float]]:
    """The parity that a report measured: of artefacts by `identity`, of the part `peers` by "peers: " and the case.

    Vectors do not depend on what else runs, so parity may be measured at any time, and the times in a quiet hour.
    Raises SubjectError for a report of other engines, another processor, crops, data set or reference.
    """
    here = environment() | setup.about()
    for key in _SAME:
        if report.environment.get(key) != here.get(key):
            raise SubjectError(
                f"parity is taken over from a run on one machine, with the same packages, --crops, --data and "
                f"--reference (or --checkpoint); {key}: there {report.environment.get(key)}, here {here.get(key)}"
            )
    known = {name: dict(facts) for name, facts in report.environment.get("parity", {}).items()}
    for row in shown(report.rows):
        if row.part == "peers":
            known[f"peers: {row.case}"] = {name: value for name, value in row.facts.items() if name in _PARITY}
    return known


def whose(row: Row) -> str:
    """The Subject's name of a row that is about one: its case, or else in the setting."""
    return f"{row.setting['model']}, {row.setting['device']}" if "device" in row.setting else row.case


def precision_of(row: Row) -> str | None:
    """int8, bfloat16 or float32: what a row that has a Subject's facts and name was computed in on the CPU.

    A float16 file is float32 to the engines of a CPU, which cast its weights. None for a GPU's rows: what a GPU
    computes in follows from more than the file, and the limits that reports measure are the CPU's.
    """
    name = whose(row)
    if _ON_GPU.search(name):
        return None
    return "int8" if row.facts.get("integers") else "bfloat16" if "bfloat16" in name else "float32"


def load(path: Path, device: str, threads: int | None = None) -> Embedder:
    """A model file on a device; one of others that carries no contract has its own in benchmarks/peers.

    A checkpoint (.safetensors) is torch in float32, on the CPU: the reference of all that was made of it.
    """
    if path.suffix == ".safetensors":
        from benchmarks.torch_reference import load_checkpoint

        return load_checkpoint(path, threads)
    stated = CONTRACTS / f"{path.stem}.json"
    foreign = stated.is_file() and carried_contract(path) is None
    return Embedder.load(path, device=device, contract=stated if foreign else None, threads=threads)


class References:
    """What artefacts are held to, each by its contract: the reference that was named, or the float32 files' own."""

    def __init__(self, setup: Setup) -> None:
        """Loads them; raises ReidRuntimeError for a named one that cannot be."""
        self._evidence, self._stated = setup.evidence, setup.reference
        if setup.reference is None:
            self._roots = _float32(setup)
        else:
            stated = load(setup.reference, "cpu", setup.threads)
            self._roots = {stated.contract.contract_id: stated}
        self._answers: dict[str, Reference] = {}

    @property
    def named(self) -> dict[str, str] | None:
        """`name` and `artefact_id` of the reference, or of the roots, for a report; None where there is none."""
        roots = self._roots.values()
        return (
            None
            if not roots
            else {
                "name": ", ".join(root.path.name for root in roots),
                "artefact_id": ", ".join(root.artefact_id for root in roots),
            }
        )

    def of(self, contract_id: str) -> Reference | None:
        """The reference of a contract, whose answers are computed when they are first asked for."""
        if contract_id not in self._answers and contract_id in self._roots:
            self._answers[contract_id] = Reference.on(self._roots[contract_id], self._evidence)
        return self._answers.get(contract_id)

    def missing(self, embedder: Embedder) -> str | None:
        """Why an artefact is held to nothing, None where it has a reference."""
        contract = embedder.contract
        if contract.contract_id in self._roots:
            return None
        if self._stated is not None:
            (stated,) = self._roots
            return (
                f"parity of {embedder.path.name}: it is of contract {contract.contract_id}, and the reference "
                f"{self._stated.name} of {stated}: name the checkpoint or the float32 file that it was made of"
            )
        return (
            f"parity of {embedder.path.name}: nothing here to hold it to: name the checkpoint that it was made of "
            f"with --reference, or its float32 file (artefact {contract.parent}) with --model"
        )

    def parity(self, embedder: Embedder) -> dict[str, float]:
        """What separates an artefact from its reference, and its own scores where there is a data set."""
        evidence, reference = self._evidence, self.of(embedder.contract.contract_id)
        own = reference is not None and identity(reference.embedder) == identity(embedder)
        if own and reference is not None:
            evaluation = reference.evaluation
        else:
            evaluation = None if evidence.task is None else evaluate(embedder, evidence.task)
        facts = _scores(evaluation, embedder)
        if reference is None:
            return facts
        agreement = compare(reference.vectors, embedder.embed(evidence.crops, "rgb"))
        facts |= {"cosine": agreement.worst_cosine, "rank_agreement": agreement.rank_agreement}
        if own:
            return facts | {"own_reference": 1.0}
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


def _float32(setup: Setup) -> dict[str, Embedder]:
    """By contract id, the float32 roots among the models, on ONNX Runtime's CPU or, where it cannot, OpenVINO."""
    roots: dict[str, Embedder] = {}
    for path in setup.models:
        for device in ("cpu", "openvino"):
            try:
                embedder = load(path, device, setup.threads)
            except ReidRuntimeError:  # which the subjects' notes tell
                continue
            if embedder.contract.precision.kind == "float32" and embedder.contract.parent is None:
                roots.setdefault(embedder.contract.contract_id, embedder)
            break
    return roots


def _scores(evaluation: Evaluation | None, embedder: Embedder) -> dict[str, float]:
    """By both definitions: as measured now, or as the contract records it for its first data set."""
    if evaluation is not None:
        summary = evaluation.scores.summary()
        return {"map_finite_sum": summary.map_finite_sum, "map_trapezoid": summary.map_trapezoid}
    # What is recorded is of float32, or of the integers that the file has.
    if embedder.contract.scores and embedder.backend.device != "openvino-bf16":
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
        click.get_current_context().meta[ABOUT] = setup.about
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
        click.option("--reference", type=file, help=_REFERENCE),
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
    files = tuple(sorted(path for path in crops.rglob("*") if is_image_name(path)))
    budget = QUICK if quick else FULL
    return Setup(tuple(models) or (default_model(),), tuple(devices), cores, budget, evidence, files, reference)
