"""python -m benchmarks.readme REPORT.json...: the README's figures, between their two markers, from reports."""

from pathlib import Path

import click

from benchmarks.latency import SINGLE
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.results import Report, ResultError, read_report
from benchmarks.tables import AIMS, tables
from reid_runtime.cli import run
from reid_runtime.io.atomic import atomic_write

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
_SHOWN, _FOLDED = (PEERS,), (AIMS, SINGLE)
"""What people ask for first, and next, which opens by a click; the rest stays in the report."""


def figures(report: Report) -> str:
    """The tables that people ask for first, and what they were measured on."""
    about = report.environment
    models = ", ".join(dict.fromkeys(Path(name).stem for name in about["artefacts"]))
    data = about.get("data")
    ranked = "without a data set" if data is None else f"ranked on {data['name']}"
    said = (
        f"**{models}; {ranked}**\n\n{about['processor']}, {about['threads']} cores, {about['system']}, Python "
        f"{about['python']}; source {about['git']}, {about['time'][:10]}."
    )
    if (earlier := about.get("parity_from")) is not None:
        said += f" Cosines and mAP were measured before: source {earlier['git']}, {earlier['time'][:10]}."
    by_part = {each.part: each for each in tables(report)}
    told = [
        f"**{by_part[part].title}.** {by_part[part].says}\n\n{by_part[part].markdown()}"
        for part in _SHOWN
        if part in by_part
    ]
    told += [
        f"<details><summary>{by_part[part].title}: {by_part[part].says}</summary>\n\n{by_part[part].markdown()}\n\n"
        "</details>"
        for part in _FOLDED
        if part in by_part
    ]
    return "\n\n".join([said, *told])


def with_figures(text: str, *reports: Report) -> str:
    """The text with the figures between its markers; raises ResultError where these are not there once, in order."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ResultError(f"expected the lines {BEGIN!r} and {END!r} once each, in this order, to write between")
    before, rest = text.split(BEGIN)
    told = "\n\n".join(figures(report) for report in reports)
    return f"{before}{BEGIN}\n{told}\n{END}{rest.split(END)[1]}"


def require_publishable(path: Path, report: Report) -> None:
    """Raises ResultError for what is no whole, full run of a known state of the source; parts may be left out."""
    about = report.environment
    if report.benchmark != "report" or about.get("budget") != "full":
        raise ResultError(
            f"{path} is of {report.benchmark!r}, budget {about.get('budget')!r}; expected a full run of python -m "
            "benchmarks.report"
        )
    if "artefacts" not in about:
        raise ResultError(f"{path} does not say what it measured: it is of an earlier version, measure it again")
    if failed := about.get("failed"):
        raise ResultError(f"{path}: {', '.join(failed)} broke; expected a report whose parts all ran, measure it again")
    for git in (about.get("git"), about.get("parity_from", about).get("git")):
        if git is None or git.endswith("-dirty"):
            raise ResultError(
                f"{path} is of the source {git!r}; expected a committed state, commit and measure it again"
            )


@click.command()
@click.argument("reports", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--readme", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=Path("README.md"),
    show_default=True,
)  # fmt: skip
def main(reports: tuple[Path, ...], readme: Path) -> None:
    """Write the figures of REPORTS, full ones, into the README.

    A trial's are refused, and those of a run of which a part broke, or whose source was not committed.
    """
    found = [read_report(path) for path in reports]
    for path, report in zip(reports, found, strict=True):
        require_publishable(path, report)
    text = with_figures(readme.read_text(encoding="utf-8"), *found)
    with atomic_write(readme) as beside:
        beside.write_text(text, encoding="utf-8")
    click.echo(f"wrote the figures of {', '.join(map(str, reports))} into {readme}")


if __name__ == "__main__":
    run(main)
