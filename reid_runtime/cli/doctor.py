"""reid-runtime doctor: what is here, what is missing and why, on one screen."""

import json
import logging
from dataclasses import asdict

import click

from reid_runtime.cli.terminal import examples, highlight, table
from reid_runtime.doctor import Check, DoctorReport, run_checks
from reid_runtime.io.text import in_one_line


@click.command("doctor", epilog=examples("reid-runtime doctor"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Try every device, look up every extra, and print what is missing, why, and the line that installs it.

    Takes a few seconds, touches neither the network nor the home folder, and changes nothing. Exit code 0 when the
    default path works, the default model on the CPU, else 1.
    """
    logging.getLogger("reid_runtime").addHandler(logging.NullHandler())  # what it would log is in the checks
    report = run_checks()
    click.echo(json.dumps(asdict(report) | {"ok": report.ok}, indent=2) if as_json else _text(report))
    ctx.exit(0 if report.ok else 1)


def _text(report: DoctorReport) -> str:
    features = "features unknown" if report.cpu_features is None else ", ".join(report.cpu_features) or "no AVX2"
    lines = [
        f"reid-runtime {report.package}, {report.python}, {report.system}",
        f"CPU: {report.cores} cores, {features}",
        "",
        *_table([report.model, report.gpu, report.cuda]),
        "",
        "devices",
        *_table(report.devices),
        "",
        "extras",
        *_table(report.extras),
        "",
        "the default path works" if report.ok else "the default path, the default model on the CPU, does NOT work",
    ]
    return "\n".join(highlight(in_one_line(line)) for line in lines)


def _table(checks: "list[Check] | tuple[Check, ...]") -> list[str]:
    return table([("ok" if each.usable else "--", each.name, each.detail) for each in checks], indent="  ")
