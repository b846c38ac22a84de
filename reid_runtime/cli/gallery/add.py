"""reid-runtime gallery add: images or embeddings of people into a gallery."""

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.cli.terminal import examples, note
from reid_runtime.errors import OptionsError
from reid_runtime.gallery.add import Added
from reid_runtime.gallery.enrol import Keeping, add_crops, add_embeddings, find_crops
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.io.text import counted
from reid_runtime.jobs import read_embeddings
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.manifest import MANIFEST
from reid_runtime.jobs.sources import find_sources
from reid_runtime.model_file.contract import Contract

_SHOWN = 10
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


@click.command("add", epilog=examples("reid-runtime gallery add site.gallery examples/crops"))
@click.argument("gallery", type=click.Path(path_type=Path), metavar="GALLERY")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--person", metavar="NAME", help="All of it is of this person.  [who it is, the folders or columns say]")
@click.option("--camera", default="", metavar="NAME", help="The camera, where folders do not say it.")
@click.option("--names", metavar="PATTERN", help="Who it is, from the names: '{identity}_{camera}'.")
@click.option(
    "--expires", metavar="WHEN", help="Forget it then: 12h, 30d or 8w from now, or a date as 2027-01-31.  [never]"
)
@click.option(
    "--no-crops", "keep", is_flag=True, flag_value=False, default=True,
    help="Keep vectors alone: another model can then never take the gallery over.",
)  # fmt: skip
@click.option("--root", type=click.Path(path_type=Path), help="Of embeddings: the folder that their ids are in.")
@click.option("--origin", default="", metavar="TEXT", help="Where it comes from, in your words.  [the SOURCEs]")
@click.option("--json", "as_json", is_flag=True, help="Print what became of each crop as JSON on standard output.")
@model_options
@click.pass_context
def command(
    ctx: click.Context,
    gallery: Path,
    sources: tuple[str, ...],
    person: str | None,
    camera: str,
    names: str | None,
    expires: str | None,
    keep: bool,
    root: Path | None,
    origin: str,
    as_json: bool,
    chosen: ModelChoice,
) -> None:
    """Add SOURCE... to GALLERY, which the first call makes: folders identity/camera/image or identity/image; with
    --person images, folders and lists, as `embed` takes them; or one file or folder of embeddings with the column
    identity.

    What is finished is on disk, 512 crops at a time. Crops with reason codes (too_small, blank, ...), of nobody
    (junk, distractor, unsure), or with the id of another crop are refused, and the exit code is 3. The same call again
    adds nothing. Small JPEGs of the crops are kept, without the metadata of their files.
    """
    keeping = Keeping(keep, origin or ", ".join(sources), None if expires is None else moment(expires))
    if _is_embeddings(sources):
        rows, notes = read_embeddings(sources[0]), list[str]()
        with _opened(gallery, Contract.from_json(rows.contract, sources[0]), rows.artefact_id) as file:
            added = add_embeddings(file, rows, keeping, root, person)
            total = len(file)
    else:
        crops = find_crops(sources, person, camera, names)
        notes = find_sources(sources).notes
        embedder = load_model(chosen)
        with _opened(gallery, embedder.contract, embedder.artefact_id) as file, progress_bar(len(crops)) as advance:
            added = add_crops(file, embedder, crops, keeping, advance)
            total = len(file)
    if as_json:
        click.echo(json.dumps(_report(added), indent=2))
    _print(added, gallery, total)
    note(*notes)
    if added.refused:
        ctx.exit(3 if added.added or added.known else 1)


def moment(text: str) -> float:
    """Seconds since 1970 of `30d` from now, or of a date; raises OptionsError."""
    if match := re.fullmatch(r"([0-9]{1,6})([hdw])", text):
        return time.time() + int(match[1]) * _UNITS[match[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise OptionsError(f"--expires {text!r}: expected 12h, 30d, 8w, or a date as 2027-01-31") from None


def _is_embeddings(sources: Sequence[str]) -> bool:
    files = [name for name in sources if Path(name).suffix.lower() in FORMATS or Path(name, MANIFEST).is_file()]
    if files and len(sources) > 1:
        raise OptionsError(f"{files[0]} is a file of embeddings and others are named with it: add one at a time")
    return bool(files)


def _opened(path: Path, contract: Contract, artefact_id: str) -> Gallery:
    return Gallery.open(path) if path.is_file() else Gallery.create(path, contract, artefact_id)


def _report(added: Added) -> dict[str, object]:
    return {
        "added": [*added.added],
        "known": [*added.known],
        "refused": [{"id": each.id, "codes": [*each.codes], "detail": each.detail} for each in added.refused],
        "same_content": [
            {"id": name, "other": other, "person": person} for name, other, person in added.same_content
        ],
    }  # fmt: skip


def _print(added: Added, gallery: Path, total: int) -> None:
    lines = [f"added {counted(len(added.added), 'crop')}; {gallery} has {total:,}"]
    if added.known:
        lines.append(f"there already: {len(added.known)}")
    if added.refused:
        codes = Counter(code for each in added.refused for code in each.codes)
        lines.append(
            f"refused: {len(added.refused)} ({', '.join(f'{code} {count}' for code, count in codes.most_common())})"
        )
        lines += (
            f"  {each.id}: {', '.join(each.codes)}{f' ({each.detail})' if each.detail else ''}"
            for each in added.refused[:_SHOWN]
        )
    if added.same_content:
        lines.append(f"added, though another crop has the same content: {len(added.same_content)}")
        lines += (f"  {name}: as {other} of {person}" for name, other, person in added.same_content[:_SHOWN])
    note(*lines)
