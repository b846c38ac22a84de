"""What is measured: model files on devices, on how many cores, on which crops; and the options that say so."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.flops import operations
from benchmarks.measurements import Key, Parity, Part, Row
from benchmarks.parity import References, is_same
from benchmarks.timing import FULL, QUICK, Budget
from export.gate import EXAMPLES, EvalInputs, read_eval_inputs
from reid_runtime.agreement import computed_in
from reid_runtime.backends import DEVICES
from reid_runtime.backends.base import Run, SideBySide
from reid_runtime.batching import same_shape_batches
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.errors import MissingBackendError, ReidRuntimeError
from reid_runtime.images.model_input import ModelInput, to_model_input
from reid_runtime.images.resize import Pixels, resized
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.install import install_line
from reid_runtime.io.concurrency import share_out
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.file import artefact_digest, carried_contract
from reid_runtime.model_file.packaged import default_model

CONTRACTS = Path(__file__).parent / "peers"
"""Contracts of third-party models, by the stem of their files."""
_ENGINES = {"openvino": "openvino", "openvino-bf16": "openvino"}
"""Of devices whose backend's name says in what it computes, which a row has a field for."""


class CaseError(ReidRuntimeError):
    """What was asked to be measured cannot be."""


@dataclass(frozen=True)
class Case:
    """A model file on a device, loaded."""

    embedder: Embedder
    parity: Parity = field(default_factory=Parity)
    threads: int = 1
    """Batches at once, where the engine runs them side by side."""
    is_fast: bool = False

    def row(self, part: Part, name: str = "", **fields: Any) -> Row:
        """The template of a row of it."""
        contract = self.embedder.contract
        engine = _ENGINES.get(self.embedder.backend.device, self.embedder.backend.name)
        name = name or ("--fast" if self.is_fast else "")
        return replace(
            Row(part, name, model=self.embedder.path.stem, network=network_of(contract), engine=engine),
            precision=cpu_precision(contract, self.embedder.backend.device), parity=self.parity, **fields,
        )  # fmt: skip

    def resized(self, image: Pixels) -> Pixels:
        """A decoded image as the contract's rule resizes it."""
        return resized(image, self.embedder.contract.resize)

    def batches(self, images: Sequence[Pixels]) -> list[ModelInput]:
        """Resized images as the engine gets them."""
        shapes = [(image.shape[0], image.shape[1]) for image in images]
        most = self.embedder.backend.max_batch_pixels if self._one_core is None else self._one_core[1]
        return [
            to_model_input(np.stack([images[row] for row in rows]), self.embedder.contract.input)
            for rows in same_shape_batches(shapes, most)
        ]

    def run(self, batches: Sequence[ModelInput]) -> None:
        """The engine alone: a batch after the other on all cores, or each on one, as the runtime has it."""
        if self._one_core is not None:
            share_out(self._one_core[0], batches, self.threads)
            return
        for batch in batches:
            self.embedder.backend.run(batch)

    @cached_property
    def _one_core(self) -> tuple[Run, int] | None:
        """What runs a batch on one core, and its pixels."""
        backend = self.embedder.backend
        how = backend.side_by_side if self.threads > 1 and isinstance(backend, SideBySide) else None
        return None if how is None else (how.open(self.threads), how.pixels)

    def operations(self, shapes: Iterable[tuple[int, int]]) -> float | None:
        """For crops of these heights and widths, as they are after the contract's resize; None if not countable."""
        rule = self.embedder.contract.resize
        return operations(self.embedder.path, [rule.shape(*shape) for shape in shapes])


def network_of(contract: Contract) -> str:
    """The architecture, with which a contract's recipe of the graph begins."""
    return contract.graph.partition(":")[0]


def cpu_precision(contract: Contract, device: str) -> str:
    """In what a CPU computes, which casts float16 weights to float32; empty for a GPU."""
    if device in ("cuda", "tensorrt"):
        return ""
    kind = computed_in(contract.precision, device)
    return "float32" if kind == "float16" else kind


@dataclass(frozen=True)
class Setup:
    """All that one run measures with."""

    models: tuple[Path, ...]
    devices: tuple[str, ...]
    threads: int
    budget: Budget
    evidence: EvalInputs
    files: tuple[Path, ...]
    """The evidence's crops, as files."""
    reference: Path | None = None
    earlier: Mapping[Key, Parity] = field(default_factory=dict)
    """Parity that an earlier report measured, by `Row.owner`."""

    @cached_property
    def references(self) -> References:
        """What the models' vectors are compared with; raises ReidRuntimeError for a named one that cannot be."""
        if self.reference is not None:
            stated = load(self.reference, "cpu", self.threads)
            return References(self.evidence, {stated.contract.contract_id: stated})
        roots: dict[str, Embedder] = {}
        for path in self.models:
            for device in ("cpu", "openvino"):
                try:
                    embedder = load(path, device, self.threads)
                except ReidRuntimeError:  # which the cases' notes say
                    continue
                if embedder.contract.precision.kind == "float32" and embedder.contract.parent is None:
                    roots.setdefault(embedder.contract.contract_id, embedder)
                break
        return References(self.evidence, roots)

    def cases(self) -> tuple[list[Case], list[str]]:
        """Every model on every device that takes it, with its parity; and why the others are left out.

        Raises CaseError where none is left, and for two artefacts whose rows would have one name.
        """
        loaded: dict[Key, Case] = {}
        notes = []
        for path, device in ((path, device) for path in self.models for device in self.devices):
            try:
                case = Case(load(path, device, self.threads), threads=self.threads)
            except ReidRuntimeError as error:
                notes.append(f"{path.name} on {device}: {error}")
                continue
            row = case.row(Part.PEERS)
            first = loaded.setdefault(row.owner, case)
            if not is_same(first.embedder, case.embedder):
                raise CaseError(
                    f"{first.embedder.path} and {path} are two artefacts that rows would both call {row.label!r}: "
                    "rename one of the files"
                )
            if first is not case:
                notes.append(f"{path.name} on {device}: it is measured already")
            elif case.embedder.backend.device == "openvino-bf16" and case.embedder.contract.precision.kind != "float32":
                notes.append(f"{path.name} on {device}: bfloat16 is for float32 files")
                del loaded[row.owner]
        if not loaded:
            raise CaseError("there is nothing to measure:\n  " + "\n  ".join(notes))
        missing = (self.references.missing(case.embedder) for case in loaded.values())
        notes += dict.fromkeys(note for note in missing if note is not None)
        cases = []
        for owner, case in loaded.items():
            parity = self.earlier.get(owner) or self.references.parity(case.embedder)
            cases.append(replace(case, parity=parity))
        return cases, notes

    def about(self) -> dict[str, Any]:
        """What a report says of its run, besides the machine's `environment`."""
        crops = self.evidence.crops
        return about_evidence(self.evidence) | {
            "threads": self.threads,
            "budget": "trial: too short for its numbers to mean anything" if self.budget == QUICK else "full",
            "crops": f"{len(crops)} of {len({crop.shape for crop in crops})} sizes",
            "reference": self.references.about(),
            "artefacts": {path.name: artefact_digest(path) for path in self.models},
        }


def about_evidence(evidence: EvalInputs) -> dict[str, Any]:
    """`evidence`, a digest of the crops' pixels in their order, and `data`, the data set where there is one."""
    digest = hashlib.sha256()
    for crop in evidence.crops:
        digest.update(f"{crop.shape}".encode())
        digest.update(crop.tobytes())
    about: dict[str, Any] = {"evidence": f"sha256:{digest.hexdigest()}"}
    if (eval_set := evidence.task) is not None:
        queries, gallery = len(eval_set.query), len(eval_set.gallery)
        about["data"] = {"name": evidence.dataset, "queries": queries, "gallery": gallery}
    return about


def load(path: Path, device: str, threads: int | None = None, fast: bool = False) -> Embedder:
    """A model file on a device; a third-party one that carries no contract has its own in benchmarks/peers.

    A checkpoint (.safetensors) is torch in float32, on the CPU: the reference of all that was made of it.
    """
    if path.suffix == ".safetensors":
        return _load_checkpoint(path, threads)
    stated = CONTRACTS / f"{path.stem}.json"
    foreign = stated.is_file() and carried_contract(path) is None
    return Embedder.load(path, device=device, contract=stated if foreign else None, threads=threads, fast=fast)


def _load_checkpoint(path: Path, threads: int | None) -> Embedder:
    try:
        from export.torch_reference import load_checkpoint
    except ImportError as error:
        raise MissingBackendError(
            f"a checkpoint is run by torch, which is missing: {install_line('train,export')}"
        ) from error
    return load_checkpoint(path, threads)


def pin(threads: int | None) -> int:
    """Keep this process, and all that it starts, on so many cores, and give their number.

    Before anything is loaded: engines count the cores when they start.
    """
    free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if threads is None:
        return len(free)
    if threads > len(free):
        raise CaseError(f"{threads} threads were asked for, this process may use {len(free)} cores")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, free[:threads])
    return threads


def setup_from(
    models: Sequence[Path] = (),
    devices: Sequence[str] = ("cpu",),
    reference: Path | None = None,
    crops: Path = EXAMPLES,
    data: Path | None = None,
    dataset: str | None = None,
    threads: int | None = None,
    quick: bool = False,
) -> Setup:
    """The Setup of the options' values; it keeps this process on its cores."""
    cores = pin(threads)
    evidence = read_eval_inputs(crops, data, dataset)
    files = tuple(sorted(path for path in crops.rglob("*") if is_image_name(path)))
    budget = QUICK if quick else FULL
    return Setup(tuple(models) or (default_model(),), tuple(devices), cores, budget, evidence, files, reference)


def case_options(command: Callable[..., object]) -> Callable[..., object]:
    """--model, --device, --reference, --crops, --data, --called, --threads and --quick; the command gets a `setup`."""
    names = ("models", "devices", "reference", "crops", "data", "dataset", "threads", "quick")

    @wraps(command)
    def with_setup(**values: Any) -> object:
        return command(setup=setup_from(*(values.pop(name) for name in names)), **values)

    wrapped: Callable[..., object] = with_setup
    folder, device = click.Path(exists=True, file_okay=False, path_type=Path), click.Choice(DEVICES)
    for option in (
        click.option("--quick", is_flag=True, help="A trial of about a minute in place of a measurement."),
        click.option("--threads", type=click.IntRange(1), help="Cores, for everyone alike; all without this."),
        click.option("--called", "dataset", help="The data set's name in the report."),
        click.option("--data", type=folder, help="A data set on which every artefact's change in mAP is measured."),
        click.option("--crops", type=folder, default=EXAMPLES, help="What is embedded.  [examples/crops]"),
        click.option("--reference", type=ModelPath(), help="What models must equal: a checkpoint, or a float32 file."),
        click.option("--device", "devices", type=device, multiple=True, default=["cpu"], help="Repeatable.  [cpu]"),
        click.option("--model", "models", type=ModelPath(), multiple=True, help="Repeatable.  [base]"),
    ):
        wrapped = option(wrapped)
    return wrapped
