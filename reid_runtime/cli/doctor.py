"""reid-runtime doctor: what is here, what is missing and why, on one screen."""

import json
import logging
from dataclasses import asdict

import click

from reid_runtime.doctor import Examination, Finding, examine


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Try every device, look up every extra, and print what is missing, why, and the line that installs it.

    Takes a few seconds, touches neither the network nor the home folder, and changes nothing. Exit code 0 when the
    default path works, the embedded model on the CPU, else 1.
    """
    logging.getLogger("reid_runtime").addHandler(logging.NullHandler())  # what it would log is in the findings
    found = examine()
    click.echo(json.dumps(asdict(found) | {"ok": found.ok}, indent=2) if as_json else _text(found))
    ctx.exit(0 if found.ok else 1)


def _text(found: Examination) -> str:
    features = "features unknown" if found.cpu_features is None else ", ".join(found.cpu_features) or "no AVX2"
    lines = [
        f"reid-runtime {found.package}, {found.python}, {found.system}",
        f"CPU: {found.cores} cores, {features}",
        "",
        *_table([found.model, found.gpu, found.cuda]),
        "",
        "devices",
        *_table(found.devices),
        "",
        "extras",
        *_table(found.extras),
        "",
        "the default path works" if found.ok else "the default path, the embedded model on the CPU, does NOT work",
    ]
    return "\n".join(lines)


def _table(findings: "list[Finding] | tuple[Finding, ...]") -> list[str]:
    width = max((len(each.name) for each in findings), default=0)
    return [f"  {'ok' if each.usable else '--'}  {each.name:<{width}}  {each.detail}" for each in findings]
