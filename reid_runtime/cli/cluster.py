"""reid-runtime cluster: who is who among unknown people, of one camera or of several."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.cli.terminal import examples, note, note_some
from reid_runtime.embedder import Embedder
from reid_runtime.errors import OptionsError
from reid_runtime.io.text import counted
from reid_runtime.jobs import Embeddings, ensure_embeddings_writable, read_embeddings, write_embeddings
from reid_runtime.jobs.cluster import Clusters, cluster, read_constraints
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.job import Failures, none_usable
from reid_runtime.jobs.people_folder import check_people_folder, names_before, write_people_folder
from reid_runtime.jobs.search.gallery import is_embeddings
from reid_runtime.jobs.search.run import own_calibration
from reid_runtime.jobs.sources import find_sources
from reid_runtime.jobs.video.crops import crop_paths
from reid_runtime.matching import read_calibration
from reid_runtime.matching.clustering import Constraint, check_constraints
from reid_runtime.matching.units import Window
from reid_runtime.report.people import write_people_page

SHEET = "people.html"


@click.command("cluster", epilog=examples("reid-runtime cluster examples/crops -o people/"))
@click.argument("inputs", nargs=-1, required=True, metavar="FOLDER|EMBEDDINGS...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT",
    help=f"{', '.join(f'FILE{suffix}' for suffix in FORMATS)} with the column identity; or FOLDER/, a tree of images.",
)  # fmt: skip
@click.option("--constraints", type=click.Path(path_type=Path), metavar="FILE", help="CSV: id,id,must or id,id,cannot.")
@click.option("--calibration", type=click.Path(path_type=Path), metavar="FILE", help="[the model's own]")
@click.option(
    "--threshold", type=click.FloatRange(-1, 1), metavar="COSINE",
    help="In place of the one that the calibration gives.",
)  # fmt: skip
@click.option(
    "--windows", type=click.Path(path_type=Path), metavar="FILE",
    help="CSV: camera left,camera entered,least,most seconds between them.",
)  # fmt: skip
@click.option("--link", is_flag=True, help="Links in the tree in place of copies.")
@click.option(
    "--root", metavar="DIR",
    help="Of embeddings, for a tree: the folder that their ids are paths in, or that of `embed --crops`.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the output of an earlier run, and keep its names.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@model_options
def command(
    inputs: tuple[str, ...],
    output: Path,
    constraints: Path | None,
    calibration: Path | None,
    threshold: float | None,
    windows: Path | None,
    link: bool,
    root: str | None,
    force: bool,
    as_json: bool,
    chosen: ModelChoice,
) -> None:
    """Tell who is who: images of unknown people become person-0001, person-0002, ...

    Of embeddings, the columns camera, track, time and frame are used: a track is grouped as a whole, and two boxes of
    one frame, or two tracks of one camera at one time, are never one person. Several files are several cameras. What
    cannot be told is unsure: no identity, or the folder `unsure`. Mend the rest with --constraints and --force: who
    was right keeps the name.
    """
    is_file = output.suffix.lower() in FORMATS
    if is_file:
        ensure_embeddings_writable(output, force)
    else:
        check_people_folder(output, force)
    before = names_before(output) if force else None
    listed_pairs = [] if constraints is None else read_constraints(constraints)
    times = {} if windows is None else _windows(windows)
    measured = None if calibration is None else read_calibration(calibration)
    if all(map(is_embeddings, inputs)):
        pile = _read(inputs, root)
    elif any(map(is_embeddings, inputs)):
        raise OptionsError("folders of images and files of embeddings: name one kind at a time")
    else:
        pile = _embedded(inputs, listed_pairs, chosen, output)
    if not is_file and not pile.paths:
        raise OptionsError(
            f"{output} would be a folder of images, and none is found: pass --root, the folder that the ids are paths "
            f"in or that of `embed --crops`; or an OUT that ends in {', '.join(FORMATS)}"
        )
    if measured is None and (pile.embedder is not None or threshold is None):
        measured = own_calibration(pile.embedder, pile.tables[0].contract_id)
    without = {name for name, _ in pile.failed}
    clusters = cluster(
        pile.tables, measured,
        constraints=[pair for pair in listed_pairs if not {pair.a, pair.b} & without],
        threshold=threshold, windows=times, before=before,
    )  # fmt: skip
    if is_file:
        write_embeddings(output, clusters.rows, force)
    else:
        crops = _usable(clusters.rows)
        write_people_folder(output, crops, pile.paths, link=link, force=force)
        write_people_page(output / SHEET, f"People of {', '.join(inputs)}", crops, pile.paths, force=force)
    _print(clusters, output, pile.failed, as_json)
    note(*pile.notes)
    if pile.failed:
        note(f"{'skipped' if pile.embedder else 'left out, for they have no vector'}: {len(pile.failed):,}")
        note_some(pile.failed)
        if pile.embedder:
            click.get_current_context().exit(3)


@dataclass(frozen=True)
class _Pile:
    """The crops of unknown people."""

    tables: Sequence[Embeddings]
    paths: Mapping[str, str]
    """Of each id that has one, its image."""
    failed: Failures
    """(id, reason) of what has no vector."""
    notes: Sequence[str] = ()
    embedder: Embedder | None = None
    """What embedded them here."""


def _read(inputs: Sequence[str], root: str | None) -> _Pile:
    tables = [read_embeddings(path) for path in inputs]
    named = {name: str(Path(root or "", name)) for table in tables for name in table.id.tolist()}
    paths = {name: path for name, path in named.items() if Path(path).is_file()}
    if root is not None:
        paths |= {name: path for table in tables for name, path in crop_paths(root, table).items()}
    return _Pile(tables, paths, tuple(pair for table in tables for pair in _failed(table)))


def _embedded(inputs: Sequence[str], pairs: Sequence[Constraint], chosen: ModelChoice, output: Path) -> _Pile:
    sources = find_sources(inputs)
    check_constraints(sources.ids, pairs)  # before the work
    embedder = load_model(chosen)
    with progress_bar(len(sources)) as advance:
        results = []
        for result in embedder.stream(sources.images(range(len(sources))), low_latency=False):
            results.append(result)
            advance()
    table = Embeddings.from_results(embedder, sources.ids, results)
    failed = _failed(table)
    if len(failed) == len(table):
        raise none_usable(failed, str(output))
    paths = {} if sources.filesystem is not None else dict(zip(sources.ids, sources.paths, strict=True))
    return _Pile([_usable(table)], paths, failed, sources.notes, embedder)


def _usable(rows: Embeddings) -> Embeddings:
    return rows.take(np.flatnonzero(rows.error == ""))


def _failed(rows: Embeddings) -> Failures:
    return tuple((name, error) for name, error in zip(rows.id.tolist(), rows.error.tolist(), strict=True) if error)


def _windows(path: Path) -> dict[tuple[str, str], Window]:
    windows = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(csv.reader(file), 1):
                if len(line) != 4:
                    raise OptionsError(f"{path}, line {number}: expected camera,camera,least,most, found {line}")
                windows[line[0], line[1]] = Window(float(line[2]), float(line[3]))
    except (OSError, ValueError) as error:
        raise OptionsError(f"{path}: the windows cannot be read: {error}") from error
    return windows


def _print(clusters: Clusters, output: Path, failed: Failures, as_json: bool) -> None:
    grouping, rows = clusters.grouping, clusters.rows
    crops = len(rows) - int((rows.error != "").sum())
    if as_json:
        sizes = np.unique(rows.identity[rows.identity != ""], return_counts=True) if rows.identity is not None else ()
        report = {
            "people": grouping.people,
            "people_interval": [grouping.least, grouping.most],
            "crops": crops,
            "units": clusters.units,
            "unsure": clusters.unsure,
            "failed": [{"id": name, "error": reason} for name, reason in failed],
            "threshold": asdict(grouping.threshold),
            "sizes": dict(zip(*(each.tolist() for each in sizes), strict=True)) if sizes else {},
            "contract_id": rows.contract_id,
        }
        click.echo(json.dumps(report, indent=2))
    units = ""
    if rows.track is not None and clusters.units < crops:
        single = " and single crops" if (rows.track == "").any() else ""
        units = f" in {counted(clusters.units, 'track')}{single}"
    interval = f" ({grouping.least:,} to {grouping.most:,} at other thresholds that fit as well)"
    note(
        f"{counted(crops, 'crop')}{units}: {counted(grouping.people, 'person')}"
        f"{interval if grouping.least < grouping.most else ''}; unsure: {counted(clusters.unsure, 'crop')}",
        f"threshold {grouping.threshold.value:.3f}: {grouping.threshold.source}",
        f"in {output}",
    )
