"""reid-runtime calibrate: what similarities mean on one's own images, as thresholds with error rates."""

from collections.abc import Iterator
from pathlib import Path

import click

from reid_runtime.cli.layouts import LayoutChoice, layout_options
from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.cli.terminal import examples, note, table
from reid_runtime.errors import OptionsError
from reid_runtime.evaluation.calibrate import LOW, Expectations, calibrate_rows, expectations
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.io.atomic import ensure_writable
from reid_runtime.io.text import counted, in_one_line
from reid_runtime.jobs import Embeddings, read_embeddings
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.manifest import MANIFEST
from reid_runtime.matching import Calibration, SearchPoint, write_calibration
from reid_runtime.matching.rates import Span, percent

_SHOWN_FPIR = 0.01


@click.command("calibrate", epilog=examples("reid-runtime calibrate examples/crops -o site.json"))
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("calibration.json"), show_default=True,
    metavar="FILE", help="The calibration.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option(
    "--tracks", is_flag=True,
    help="Use the columns camera, track, and time or frame, and no labels: two boxes of one frame are never one "
    "person, two boxes of one track are.",
)  # fmt: skip
@click.option(
    "--gap", type=click.FloatRange(min=0, min_open=True), metavar="T",
    help="Two boxes of one track are compared from T seconds apart on; frames without times.  [1 s, 25 frames]",
)  # fmt: skip
@click.option(
    "--elsewhere", is_flag=True,
    help="These images are not of the place where the calibration will be used; published sets never are.",
)  # fmt: skip
@layout_options
@click.option("--json", "as_json", is_flag=True, help="Print the calibration as JSON too.")
@model_options
def command(
    source: Path,
    output: Path,
    force: bool,
    tracks: bool,
    gap: float | None,
    elsewhere: bool,
    read_as: LayoutChoice,
    as_json: bool,
    chosen: ModelChoice,
) -> None:
    """Measure on SOURCE which similarity means "the same person", and how often that is wrong.

    SOURCE is a labelled folder or data set, as `reid-runtime evaluate` reads it, of people whom the model was not
    trained on; or a file or folder of embeddings, as `embed` and `evaluate --save` write them, with the column
    identity, or, with --tracks, with camera, track, and time or frame. Crops that are hardly worth a vector are left
    out and counted.

    For false match rates (FMR) of 10, 1, 0.1 and 0.01 % the file holds the threshold, the share of right pairs that it
    misses (FNMR), and 95 % intervals by resampling people; the same by camera, height and crops a side; and for
    searches the false answers (FPIR) and misses (FNIR) by the size of the gallery. A rate that SOURCE does not support
    is refused with what it would need.
    """
    ensure_writable(output, force)
    is_embeddings = source.suffix in FORMATS or (source / MANIFEST).is_file()
    own_site = not elsewhere
    if is_embeddings:
        read_as.check(None, "a folder of images")
        rows = read_embeddings(source)
    else:
        if tracks:
            raise OptionsError(f"--tracks takes a file of embeddings with the columns of tracks, found {source}")
        read_as.check(source, "SOURCE")
        rows, published = _embed(source, read_as, chosen)
        own_site = own_site and not published
    calibration = calibrate_rows(
        rows, source.stem if source.is_file() else source.resolve().name, own_site=own_site, tracks=tracks, gap=gap
    )
    expected = expectations(rows, gap) if tracks else None
    write_calibration(output, calibration, force)
    if as_json:
        click.echo(calibration.to_json(), nl=False)
    lines = [
        *_lines(calibration),
        *([] if expected is None else _expected(expected, "frames" if rows.time is None else "s")),
    ]
    for line in [*lines, f"in {output}"]:
        click.echo(in_one_line(line), err=as_json)


def _embed(folder: Path, read_as: LayoutChoice, chosen: ModelChoice) -> tuple[Embeddings, bool]:
    """The rows of a labelled folder, and whether it is a published set."""
    eval_set = read_as.eval_set(folder)
    if eval_set.search is not None or eval_set.tracklets:
        raise OptionsError(f"{folder} is a set of tracklets or frames; expected one of single crops")
    note(*eval_set.account().lines(eval_set.dataset))
    embedder = load_model(chosen)
    with progress_bar(len(eval_set.images())) as advance:
        return embed_eval_set(embedder, eval_set, advance), eval_set.published


def _lines(calibration: Calibration) -> Iterator[str]:
    source = calibration.source
    people = counted(source.people, "person" if source.kind == "labels" else "track")
    cameras = counted(source.cameras, "camera") if source.cameras else "no cameras stated"
    yield f"{source.dataset}: {people}, {cameras}, {counted(source.crops, 'crop')}; contract {calibration.contract_id}"
    if source.left_out:
        yield "left out: " + ", ".join(f"{name} {count:,}" for name, count in source.left_out.items())
    where = "across cameras" if source.across_cameras else "within cameras" if source.cameras else "cameras unknown"
    yield f"one crop with one crop, {where}: {source.mated:,} mated and {source.non_mated:,} non-mated comparisons"
    if calibration.operating_points:
        yield ""
        yield f"{'FMR':>8}  {'95 % interval':<18}  threshold  {'FNMR':>7}  95 % interval"
        for point in calibration.operating_points:
            yield (
                f"{percent(point.fmr):>8}  {_span(point.fmr_interval):<18}  {point.threshold:>9.4f}  "
                f"{percent(point.fnmr):>7}  {_span(point.fnmr_interval)}"
            )
    for refused in calibration.refused:
        needed = f"about {refused.people:,} people like these, and {refused.comparisons:,} non-mated comparisons"
        yield from table([(f"{percent(refused.fmr):>8}", f"not supported: it takes {needed}")])
    yield from _strata(calibration)
    yield from _searches(calibration.search)
    if not source.own_site:
        yield "calibrated elsewhere: on another site thresholds differ; calibrate on its own images"
    yield from table([(f"note: {bias}",) for bias in source.biases])


def _strata(calibration: Calibration) -> Iterator[str]:
    rate = max((point.fmr for point in calibration.operating_points if point.fmr <= 0.01), default=None)
    rows = [
        (stratum, point) for stratum in calibration.strata for point in stratum.operating_points if point.fmr == rate
    ]
    if rows and rate is not None:
        yield ""
        yield f"at FMR {percent(rate)}: cameras, pixels of the lower crop, crops a side"
        for stratum, point in rows:
            kind = f"{stratum.camera}, {stratum.height}, {stratum.crops}"
            yield f"  {kind:<24} threshold {point.threshold:.4f}  FNMR {percent(point.fnmr)}"


def _searches(points: tuple[SearchPoint, ...]) -> Iterator[str]:
    rate = min((point.fpir for point in points if point.fpir >= _SHOWN_FPIR), default=None)
    if rate is not None:
        yield ""
        yield f"searches at FPIR {percent(rate)}: people in the gallery"
        for point in points:
            if point.fpir == rate:
                yield f"  {point.gallery_people:>9,}  threshold {point.threshold:.4f}  FNIR {percent(point.fnir)}"


def _expected(expected: Expectations, unit: str) -> Iterator[str]:
    yield ""
    yield "what to expect there, by its tracks:"
    for rank in expected.ranks:
        yield (
            f"  {rank.gap:g} {unit} later a box is nearest to its own track in {percent(rank.rank_1)} of "
            f"{counted(rank.searches, 'frame')} (chance {percent(rank.chance)})"
        )
    for shift in expected.shifts:
        yield (
            f"  cameras {shift.cameras[0]} and {shift.cameras[1]}: median cosine of two people {shift.across:.3f} "
            f"across, {shift.within:.3f} within; a threshold of one camera is off by about the difference"
        )
    yield f"  boxes that are hardly worth a vector: {percent(expected.flagged)}; lower than {LOW} pixels: " + percent(
        expected.low
    )


def _span(span: Span) -> str:
    return f"{100 * span[0]:.3g} to {100 * span[1]:.3g} %"
