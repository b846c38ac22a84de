"""python -m export.pin: give a model that was written without one its pinned record, for `reid-runtime verify`."""

from pathlib import Path

import click

from export.graph import write_contract
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(model: Path) -> None:
    """Pin MODEL, an ONNX file of ours: its vectors for a few crops go into it, as this machine's CPU gives them.

    Its graph stays byte for byte and its contract word for word. Every export does this by itself; a file that has
    a record and no longer fits it is refused.
    """
    contract = Embedder.load(model, device="cpu").contract
    write_contract(model, contract)
    click.echo(f"pinned {model}: contract {contract.contract_id}, artefact {Embedder.load(model).artefact_id}")


if __name__ == "__main__":
    run(main)
