"""python -m benchmarks.readme REPORT.json: the README's figures, between their two markers, from a report."""

from pathlib import Path

import click

from benchmarks.latency import SERVER, SINGLE
from benchmarks.limits import PART as LIMITS
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.results import Report, ResultError, read_report
from benchmarks.tables import Table, tables
from benchmarks.throughput import COLD, EIGHT, MIXED, OFFLINE
from reid_runtime.cli import run
from reid_runtime.files import whole_file

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
_PARTS = (PEERS, EIGHT, OFFLINE, MIXED, SINGLE, SERVER, COLD, LIMITS)


def figures(report: Report) -> str:
    """The tables that people ask for first, and what they were measured on."""
    about = report.environment
    said = (
        f"{about['processor']}, {about['threads']} cores, {about['system']}, Python {about['python']}; source "
        f"{about['git']}, {about['time'][:10]}."
    )
    by_part = {each.part: each for each in tables(report)}
    return "\n\n".join([said, *(_markdown(by_part[part]) for part in _PARTS if part in by_part)])


def _markdown(each: Table) -> str:
    lines = [each.head, tuple("---" for _ in each.head), *each.lines]
    return f"**{each.title}.** {each.says}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_figures(text: str, report: Report) -> str:
    """The text with the figures between its markers; raises ResultError where these are not there once, in order."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ResultError(f"expected the lines {BEGIN!r} and {END!r} once each, in this order, to write between")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{figures(report)}\n{END}{rest.split(END)[1]}"


@click.command()
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--readme", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=Path("README.md"),
    show_default=True,
)  # fmt: skip
def main(report: Path, readme: Path) -> None:
    """Write the figures of REPORT, a full one, into the README; a trial's are refused."""
    found = read_report(report)
    if found.benchmark != "report" or found.environment.get("budget") != "full":
        raise ResultError(
            f"{report} is of {found.benchmark!r}, budget {found.environment.get('budget')!r}; expected a full run of "
            "python -m benchmarks.report"
        )
    text = with_figures(readme.read_text(encoding="utf-8"), found)
    with whole_file(readme) as beside:
        beside.write_text(text, encoding="utf-8")
    click.echo(f"wrote the figures of {report} into {readme}")


if __name__ == "__main__":
    run(main)
