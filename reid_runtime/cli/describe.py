"""reid-runtime describe: a model's contract, for people or as JSON, or a draft for a model that carries none."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import click

from reid_runtime.cli.options import ModelPath
from reid_runtime.cli.terminal import examples, note, table
from reid_runtime.contract_template import PRESETS, draft
from reid_runtime.errors import ContractError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import Filter
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.text import counted, in_one_line
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import open_fields
from reid_runtime.model_file.file import carried_contract, known_contract, read_selftest
from reid_runtime.model_file.packaged import default_model


@click.command(
    "describe",
    epilog=examples(
        "reid-runtime describe",
        "reid-runtime describe model.onnx --preset imagenet-rgb --size 256x128 \\\n    -o contract.json",
    ),
)
@click.argument("model", required=False, type=ModelPath())
@click.option("--json", "as_json", is_flag=True, help="Print the contract's JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the contract's JSON to this file.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
@click.option(
    "--preset", type=click.Choice([*PRESETS]), metavar="NAME",
    help="How the input of a model that carries no contract is prepared: ImageNet's or CLIP's mean and deviation, 0.5 "
    f"and 0.5, values of 0 to 1, or of 0 to 255. One of {', '.join(PRESETS)}.",
)  # fmt: skip
@click.option("--size", metavar="HEIGHTxWIDTH", help="To which size such a model's images are stretched: 256x128.")
@click.option(
    "--filter", "by", type=click.Choice(get_args(Filter)), default="bilinear", show_default=True,
    help="By which filter, as it was trained.",
)  # fmt: skip
def command(
    model: Path | None,
    as_json: bool,
    output: Path | None,
    force: bool,
    preset: str | None,
    size: str | None,
    by: Filter,
) -> None:
    """Print what MODEL (a file, or base, small, tiny; base without one) promises, from the contract that it carries.

    For an ONNX or OpenVINO (.xml) file that carries none, draft one: the JSON goes to standard output or to -o FILE,
    and what the file could not tell to standard error. Filled in, it is what --contract takes; --preset and --size fill
    most of it.
    """
    if output is not None:
        ensure_writable(output, force)
    path = model or default_model()
    text = carried_contract(path)
    if text is None:
        contract = known_contract(path)
        values = draft(path, preset, _size(size), by) if contract is None else json.loads(contract.to_json())
        _report_draft(path, values, contract is not None)
    else:
        record = read_selftest(path)  # a damaged file is not described
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ContractError(f"{path}: the contract is not JSON: {error}") from error
    content = json.dumps(values, indent=2, ensure_ascii=False)
    if not content.replace("\n", "").isprintable():  # what a terminal would obey, or cannot be written
        content = json.dumps(values, indent=2)
    if output is not None:
        with atomic_write(output) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")
    elif as_json or text is None:
        click.echo(content)
    if text is not None and not as_json:
        click.echo(_table(ModelFile.open(path), 0 if record is None else len(record.images)))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch("([1-9][0-9]{0,3})[x×]([1-9][0-9]{0,3})", text)
    if match is None:
        raise click.UsageError(f"--size: expected HEIGHTxWIDTH, such as 256x128, found {text!r}")
    return int(match[1]), int(match[2])


def _report_draft(path: Path, values: dict[str, Any], is_known: bool) -> None:
    left_open = [*open_fields(values)]
    origin = "is known by its weights, this is its contract" if is_known else "carries no contract"
    lines = [f"{path} {origin}" + (". In this draft, fill in:" if left_open else "; nothing is left to fill in")]
    if not is_known and not left_open:
        lines.append("  trained_on says unknown: state data and terms if you know them")
    note(*lines + [f"  {field}" for field in left_open])


def _table(file: ModelFile, crops: int) -> str:
    contract = file.contract
    length = "of unit length" if contract.unit_output else "brought to unit length by the runtime"
    rows = [
        ("model", contract.name),
        ("file", f"{file.path}, {file.path.stat().st_size / 1e6:.1f} MB"),
        ("contract", contract.contract_id),
        ("artefact", file.artefact_id),
        ("precision", str(contract.precision)),
        ("parent", contract.parent or "none: a root"),
        *(("drift", f"{measure} {value:g}") for measure, value in (contract.drift or {}).items()),
        ("resize", f"{contract.resize}; {contract.resize.filter}"),
        ("input", _input(contract.input)),
        ("output", f"{contract.dimension} numbers, {length}, compared by {contract.metric}"),
        ("graph", contract.graph),
        ("weights", contract.weights),
    ]
    for seen in contract.trained_on:
        whose = f"{counted(seen.crops, 'crop')} of {counted(seen.identities, 'person')}"
        rows.append(("trained on", f"{seen.data}: {whose if seen.crops else 'how many crops is not stated'}"))
        rows.append(("terms", seen.terms))
    for score in contract.scores:
        measures = f"rank-1 {score.rank_1:.1%}, mAP {score.map_finite_sum:.1%} (finite-sum), {score.map_trapezoid:.1%}"
        rows.append(("scores", f"{score.dataset}: {measures} (trapezoid); {score.protocol}"))
    rows.append(("self-test", f"{counted(crops, 'crop')}, for `reid-runtime verify`" if crops else "none"))
    repeated = [False, *(title == before for (title, _), (before, _) in zip(rows[1:], rows, strict=False))]
    cells = [("" if again else title, words) for again, (title, words) in zip(repeated, rows, strict=True)]
    return "\n".join(map(in_one_line, table(cells)))


def _input(form: InputFormat) -> str:
    words = f"{form.dtype} {form.layout}, {form.colour}"
    if form.dtype == "uint8":
        return words
    return f"{words}, (pixel * {form.scale:g} - {list(form.mean)}) / {list(form.deviation)}"
