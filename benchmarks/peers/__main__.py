"""python -m benchmarks.peers: this runtime beside what people use instead."""

from pathlib import Path

import click

from benchmarks.cases import Setup, subject_options
from benchmarks.measurements import Command, Found, Row, hand_over, output_option, shown, text_table
from benchmarks.peers.measuring import PeerChoice, measure_peers
from reid_runtime.cli import run


def peer_options(command: Command) -> Command:
    """--checkpoint, --peer-models and --external."""
    for option in (
        click.option(
            "--external", multiple=True, metavar="NAME=COMMAND",
            help="A peer in an environment of its own. It gets a folder as its last argument and prints `ready`; for "
            "each line `embed` or `vectors FILE.npy` it embeds the folder, writes the file where one is named, and "
            "prints `done`. benchmarks/peers/external.py has a whole one.",
        ),
        click.option(
            "--peer-models", type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="A folder of models of others: OpenVINO's .xml, .onnx.",
        ),
        click.option(
            "--checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="The weights that torch runs: the checkpoint of the artefacts.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def as_table(rows: list[Row]) -> str:
    """The rows for people, the fastest first."""
    lines = []
    for row in sorted(shown(rows), key=lambda row: row.middle):
        times = "1" if row.case == row.setting["against"] else f"{row.facts['times']:.2f}"
        between = f"{row.facts['times_low']:.2f} to {row.facts['times_high']:.2f}" if "times" in row.facts else ""
        cosine = f"{row.facts['cosine']:.6f}" if "cosine" in row.facts else ""
        lines.append([row.case, f"{row.rate:.1f}", times, between, cosine, "" if row.steady else "not steady"])
    return text_table(["case", "images/s", "times", "95 %", "cosine", ""], lines)


@click.command()
@subject_options
@peer_options
@output_option
def main(
    setup: Setup,
    checkpoint: Path | None,
    peer_models: Path | None,
    external: tuple[str, ...],
    output: Path | None,
) -> None:
    """Time files to vectors, everyone on the same files and cores, in turn."""
    subjects, notes = setup.subjects()
    found = Found(notes=notes)
    found.add(measure_peers(setup, subjects, PeerChoice(checkpoint, peer_models, external)))
    hand_over("peers", found, as_table(found.rows), output)


if __name__ == "__main__":
    run(main)
