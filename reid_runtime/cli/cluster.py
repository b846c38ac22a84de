"""reid-runtime cluster: who is who among unknown people, of one camera or of several."""

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.cli.terminal import examples, note, note_some
from reid_runtime.errors import ImageError, OptionsError
from reid_runtime.jobs import Embeddings, ensure_embeddings_writable, read_embeddings, write_embeddings
from reid_runtime.jobs.cluster import Clusters, cluster, read_constraints
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.people_folder import check_people_folder, names_before, write_people_folder
from reid_runtime.jobs.search.gallery import is_embeddings
from reid_runtime.jobs.search.run import own_calibration
from reid_runtime.jobs.sources import find_sources
from reid_runtime.jobs.video.crops import crop_paths
from reid_runtime.matching import read_calibration
from reid_runtime.matching.clustering import check_constraints
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
    paths: dict[str, str] = {}
    failed: list[tuple[str, str]] = []
    if all(map(is_embeddings, inputs)):
        tables = [read_embeddings(path) for path in inputs]
        paths = {name: str(Path(root or "", name)) for table in tables for name in table.id.tolist()}
        paths = {name: path for name, path in paths.items() if Path(path).is_file()}
        if root is not None:
            paths |= {name: path for table in tables for name, path in crop_paths(root, table).items()}
        measured = measured or (own_calibration(None, tables[0].contract_id) if threshold is None else None)
    elif any(map(is_embeddings, inputs)):
        raise OptionsError("folders of images and files of embeddings: name one kind at a time")
    else:
        sources = find_sources(inputs)
        check_constraints(sources.ids, listed_pairs)  # before the work
        embedder = load_model(chosen)
        measured = measured or embedder.calibration
        with progress_bar(len(sources)) as advance:
            results = []
            for result in embedder.stream(sources.images(range(len(sources))), low_latency=False):
                results.append(result)
                advance()
        if all(result.vector is None for result in results):
            raise ImageError(
                f"none of the {len(results)} images can be used; the first is {sources.ids[0]}: {results[0].error}"
            )
        failed = [
            (name, str(each.error)) for name, each in zip(sources.ids, results, strict=True) if each.error is not None
        ]
        tables = [Embeddings.from_results(embedder, sources.ids, results)]
        paths = {} if sources.filesystem is not None else dict(zip(sources.ids, sources.paths, strict=True))
    if not is_file and not paths:
        raise OptionsError(
            "a tree is made of images: pass --root, the folder that the ids are paths in, or that of `embed --crops`"
        )
    clusters = cluster(
        tables, measured,
        constraints=listed_pairs, threshold=threshold, windows=times, before=before,
    )  # fmt: skip
    if is_file:
        write_embeddings(output, clusters.rows, force)
    else:
        write_people_folder(output, clusters.rows, paths, link=link, force=force)
        write_people_page(output / SHEET, f"People of {', '.join(inputs)}", clusters.rows, paths, force=force)
    _print(clusters, output, as_json)
    _name_failed(failed)


def _name_failed(failed: Sequence[tuple[str, str]]) -> None:
    if failed:
        note(f"cannot be used, and unsure: {len(failed)}")
        note_some(failed)
        click.get_current_context().exit(3)


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


def _print(clusters: Clusters, output: Path, as_json: bool) -> None:
    grouping, rows = clusters.grouping, clusters.rows
    if as_json:
        sizes = np.unique(rows.identity[rows.identity != ""], return_counts=True) if rows.identity is not None else ()
        report = {
            "people": grouping.people,
            "people_interval": [grouping.least, grouping.most],
            "crops": len(rows),
            "units": clusters.units,
            "unsure": clusters.unsure,
            "threshold": dataclasses.asdict(grouping.threshold),
            "sizes": dict(zip(*(each.tolist() for each in sizes), strict=True)) if sizes else {},
            "contract_id": rows.contract_id,
        }
        click.echo(json.dumps(report, indent=2))
    note(*_lines(clusters, output))


def _lines(clusters: Clusters, output: Path) -> Sequence[str]:
    grouping, rows = clusters.grouping, clusters.rows
    units = f", {clusters.units} tracks and single crops" if clusters.units < len(rows) else ""
    return (
        f"{len(rows)} crops{units}: {grouping.people} people, {grouping.least} to {grouping.most} by thresholds that "
        f"are as good; unsure: {clusters.unsure} crops",
        f"threshold {grouping.threshold.value:.3f}: {grouping.threshold.source}",
        f"in {output}",
    )
