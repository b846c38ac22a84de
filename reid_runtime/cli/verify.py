"""reid-runtime verify: is a model file intact, and does it give its vectors on this machine?"""

import json
from pathlib import Path
from typing import Any

import click

from reid_runtime.cli.options import DeviceName, ModelOrServer, print_terms
from reid_runtime.cli.terminal import examples, highlight, table
from reid_runtime.io.text import in_one_line
from reid_runtime.model_file.address import Address
from reid_runtime.model_file.packaged import default_model
from reid_runtime.served_verification import verify_server
from reid_runtime.verification import BackendCheck, Verification, verify


@click.command("verify", epilog=examples("reid-runtime verify", "reid-runtime verify tiny --device cpu"))
@click.argument("model", required=False, type=ModelOrServer())
@click.option("--model", "named", type=ModelOrServer(), help="MODEL by the name that it has for other commands.")
@click.option("--device", type=DeviceName(), default="auto", show_default=True, help="auto: every one that is here.")
@click.option(
    "--contract",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="States the contract of a model that carries none (JSON).",
)
@click.option(
    "--reference", metavar="FILE|NAME",
    help="What a server should serve: its record says which vectors are right.  [the packaged model of its contract]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    model: Path | Address | None,
    named: Path | Address | None,
    device: str,
    contract: Path | None,
    reference: str | None,
    as_json: bool,
) -> None:
    """Repeat the self-test that was written into MODEL when it was exported.

    MODEL is a file, or base, small or tiny; base without one. First its bytes: one altered bit in graph, contract
    or record fails. Then a few crops go through the whole runtime on every backend that is here, and must give the
    recorded vectors. Exit code 0 when all of that holds, else 1.

    A model that carries no contract is run under --contract, and held to what any model must do.

    MODEL may be on a server, kserve://HOST:PORT/MODEL: the crops go through it, and where the vectors are not the
    model's, the answer names what drifts: channel order, scale, normalisation, precision, a resize or other weights.
    """
    if model is not None and named is not None:
        raise click.UsageError(f"both {model} and --model {named} name the model: give one")
    model = model or named
    if isinstance(model, Address):
        if device != "auto":
            raise click.UsageError("--device is for files: the server decides what the model runs on")
        result = verify_server(model, contract, reference)
    elif reference is not None:
        raise click.UsageError("--reference is for servers: a file is held to its own record")
    else:
        result = verify(model or default_model(), device, contract)
    if model is None and result.contract is not None:
        print_terms(result.path, result.contract)
    click.echo(json.dumps(_facts(result), indent=2) if as_json else _text(result))
    ctx.exit(0 if result.ok else 1)


def _facts(result: Verification) -> dict[str, Any]:
    return {
        "model": str(result.address or result.path),
        "ok": result.ok,
        "artefact_id": result.artefact_id,
        "contract_id": None if result.contract is None else result.contract.contract_id,
        "precision": None if result.contract is None else str(result.contract.precision),
        "selftest": result.selftest,
        **({} if result.address is None else {"record_of": result.record_of}),
        "damage": result.damage,
        "backends": [
            {
                "backend": check.backend,
                "ok": check.ok,
                "worst_cosine": check.worst_cosine,
                "bound": check.bound,
                "largest_difference": check.largest_difference,
                "problem": check.problem,
            }
            for check in result.checks
        ],
        "absent": dict(result.absent),
    }


def _text(result: Verification) -> str:
    """A line for the file, one for each backend, and what is not here."""
    lines = [str(result.address or result.path), f"artefact {result.artefact_id}"]
    if result.contract is not None:
        lines.append(f"contract {result.contract.contract_id}, {result.contract.precision}")
    if result.damage is not None:
        return "\n".join(highlight(in_one_line(line)) for line in [*lines, f"FAIL    {result.damage}"])
    if result.record_of:
        lines.append(f"the vectors that are right are those of the record {result.record_of}")
    elif result.selftest:
        lines.append("ok      graph, contract and record are as they were written")
    else:
        lines.append("no record says which vectors are right; compared: alone and in company, backend and backend")
    if result.checks:
        lines += table([_row(check) for check in result.checks])
    if result.absent:
        lines += table([("absent", f"{device}: {reason}") for device, reason in result.absent.items()])
    if not result.checks:
        lines.append("FAIL    no backend is here to run it on")
    return "\n".join(highlight(in_one_line(line)) for line in lines)


def _row(check: BackendCheck) -> tuple[str, str, str]:
    words = [] if check.problem is None else [check.problem]
    if check.worst_cosine is not None:
        words.append(f"worst cosine {check.worst_cosine:.7f}, at least {check.bound} expected")
        words.append(f"largest difference {check.largest_difference:.1e}")
    return f"{'ok' if check.ok else 'FAIL':<6}", check.backend, "; ".join(words)
