"""reid-runtime search: who of a gallery these images show, with error rates, or nobody."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.cli.terminal import examples, highlight, note, note_some, table
from reid_runtime.embedder import Embedder
from reid_runtime.errors import OptionsError
from reid_runtime.explain import Explainer
from reid_runtime.gallery.database import is_gallery
from reid_runtime.gallery.gallery import Gallery
from reid_runtime.io.text import csv_cell, in_one_line
from reid_runtime.jobs.search.answers import Answer, Match, SearchSettings
from reid_runtime.jobs.search.gallery import SearchGallery, is_embeddings, open_gallery
from reid_runtime.jobs.search.queries import Queries, needs_model, read_queries
from reid_runtime.jobs.search.receipt import SearchInputs, read_receipts, receipts, replay
from reid_runtime.jobs.search.run import own_calibration, search
from reid_runtime.jobs.search.wording import foot, headline, rates
from reid_runtime.jobs.sources import find_sources
from reid_runtime.matching.calibration import Calibration
from reid_runtime.matching.file import read_calibration
from reid_runtime.model_file.packaged import packaged_of
from reid_runtime.report.document import check_report
from reid_runtime.report.search import write_search_report
from reid_runtime.report.total_maps import TotalMaps

_CSV = (
    "query", "decision", "rank", "id", "identity", "camera", "similarity", "fmr", "verdict", "is_match", "threshold"
)  # fmt: skip


@click.command(
    "search",
    epilog=examples(
        "reid-runtime search examples/crops/person-05/camera-1 --in examples/crops",
        "reid-runtime search examples/crops/person-05/camera-1 \\\n"
        "    --in examples/crops --fpir 0.005 --report answers.html",
    ),
)
@click.argument("queries", nargs=-1, metavar="QUERY...")
@click.option(
    "--in", "gallery", metavar="GALLERY",
    help="Where to look: a gallery, a file of embeddings, a folder of parts, or a folder of images.",
)  # fmt: skip
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Candidates for each query.")
@click.option(
    "--fpir", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.01, show_default=True,
    help="Of queries for people who are not in the gallery, the share that may get an answer all the same.",
)  # fmt: skip
@click.option(
    "--calibration", type=click.Path(path_type=Path), metavar="FILE",
    help="What similarities mean, as `reid-runtime calibrate` wrote it.  [the model's own]",
)  # fmt: skip
@click.option("--exclude-same-camera", is_flag=True, help="Leave out what the query's own camera took.")
@click.option("--camera", default="", metavar="NAME", help="The camera that took the images of the queries.")
@click.option("--names", metavar="PATTERN", help="How the gallery's images are named: '{identity}_{camera}'.")
@click.option("--root", metavar="DIR", help="Where the ids of a gallery of embeddings are paths, for --report.")
@click.option("--rerank", is_flag=True, help="Order candidates by k-reciprocal re-ranking; cosines still decide.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of answers, each a receipt, for --replay.")
@click.option(
    "--csv", "as_csv", is_flag=True,
    help="Print a line for each candidate, with a heading; '= begins a text that were a formula.",
)  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), metavar="PAGE", help="Write an HTML page with the images.")
@click.option("--explain", is_flag=True, help="In the page, show which places make the first candidates alike.")
@click.option("--force", is_flag=True, help="Overwrite the page.")
@click.option(
    "--replay", "receipt", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Search again what --json printed; exit code 1 where an answer no longer holds.",
)  # fmt: skip
@model_options
@click.pass_context
def command(
    ctx: click.Context,
    queries: tuple[str, ...],
    gallery: str | None,
    k: int,
    fpir: float,
    calibration: Path | None,
    exclude_same_camera: bool,
    camera: str,
    names: str | None,
    root: str | None,
    rerank: bool,
    as_json: bool,
    as_csv: bool,
    report: Path | None,
    explain: bool,
    force: bool,
    receipt: Path | None,
    chosen: ModelChoice,
) -> None:
    """Look for the people of QUERY... in a gallery: images, folders of images of one person each, or embeddings.

    The threshold follows from the calibration, --fpir and the number of people (or tracks) in the gallery. The answer
    is a match; nobody; or one of two people, where the odds for the best are less than 3 to 1 against the next.
    Without a calibration there are candidates and no decision. Every row is compared; the query itself, junk and
    images of no worth never answer. Exit code 0, whatever the answer.
    """
    if receipt is not None:
        if queries or gallery:
            raise click.UsageError("--replay FILE says itself what to look for, and where")
        ctx.exit(_replay(receipt, as_json, chosen.trust_engine))
    if not queries or gallery is None:
        raise click.UsageError("expected QUERY... --in GALLERY, or --replay FILE")
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: state one")
    if explain and report is None:
        raise click.UsageError("--explain is for the page of --report")
    if report is not None:
        check_report(report, force)
    calibration_name = None if calibration is None else str(calibration)
    inputs = SearchInputs(
        gallery, "", calibration_name, chosen.model, chosen.contract, chosen.device, names, root, camera
    )
    settings = SearchSettings(k, fpir, exclude_same_camera, rerank)
    done = _Search.run(inputs, list(queries), settings, chosen.trust_engine)
    if report is not None and is_gallery(gallery):
        _record(gallery, report, done.answers)
    if report is not None:
        maps = _maps(done) if explain else None
        write_search_report(report, done.answers, done.queries, done.gallery, done.calibration, force=force, maps=maps)
    _print_notes(done)
    if as_json:
        click.echo(json.dumps(done.receipts(), indent=2))
    else:
        click.echo(_csv(done.answers) if as_csv else _text(done), nl=not as_csv)
    if done.queries.failed or done.gallery.failed:
        ctx.exit(3)


class _Search:
    """A search that was done, and what it was done with."""

    def __init__(
        self, inputs: SearchInputs, settings: SearchSettings, queries: Queries, gallery: SearchGallery,
        calibration: Calibration | None, embedder: Embedder | None = None,
    ) -> None:  # fmt: skip
        self.embedder = embedder
        self.inputs, self.settings, self.queries, self.gallery = inputs, settings, queries, gallery
        self.calibration = calibration
        self.answers = search(queries, gallery, calibration=calibration, settings=settings)

    @classmethod
    def run(cls, inputs: SearchInputs, paths: list[str], settings: SearchSettings, trust_engine: bool) -> "_Search":
        """Load what the inputs name, and search."""
        calibration = None if inputs.calibration is None else read_calibration(Path(inputs.calibration))
        embedder = None
        stored = is_gallery(inputs.gallery)
        if needs_model(paths, paths[0] if stored else inputs.gallery):
            embedder = load_model(ModelChoice(inputs.model, inputs.contract, inputs.device, trust_engine))
        elif inputs.model is not None or inputs.contract is not None:
            raise click.UsageError("--model and --contract: no model runs where all are embeddings")
        images = sum(
            len(find_sources([path]))
            for path in (*paths, *([] if stored else [inputs.gallery]))
            if not is_embeddings(path)
        )
        with progress_bar(images) as advance:
            queries = read_queries(paths, embedder, camera=inputs.camera, advance=advance)
            if stored:
                gallery = Gallery.open(inputs.gallery, read_only=True).searchable()
            else:
                gallery = open_gallery(inputs.gallery, embedder, names=inputs.names, root=inputs.root, advance=advance)
        own = own_calibration(embedder, queries.contract_id)
        return cls(inputs, settings, queries, gallery, calibration or own, embedder)

    def receipts(self) -> list[dict[str, Any]]:
        """The answers, with all that it takes to come to them again."""
        sources = [query.source for query in self.queries.queries]
        return receipts(self.answers, sources, self.inputs, self.settings)


def _record(path: str, report: Path, answers: Sequence[Answer]) -> None:
    """Have the gallery list the page: forgetting somebody does not reach it."""
    people = {match.identity for answer in answers for match in (*answer.matches, *answer.below) if match.identity}
    crops = sum(len(answer.matches) + len(answer.below) for answer in answers)
    with Gallery.open(path) as gallery:
        gallery.record_export("search", report, people, crops)


def _maps(done: _Search) -> TotalMaps:
    """Explanations by the model whose vectors were compared; of embeddings, by the packaged one that made them."""
    if done.embedder is not None:
        return TotalMaps(Explainer(done.embedder))
    path = packaged_of(done.answers[0].contract_id)
    if path is None:
        raise OptionsError(
            f"--explain takes the model of the vectors, contract {done.answers[0].contract_id}, which no packaged "
            "model has: give images and --model in place of embeddings"
        )
    return TotalMaps(Explainer(path))


def _replay(path: Path, as_json: bool, trust_engine: bool) -> int:
    def again(inputs: SearchInputs, paths: list[str], settings: SearchSettings) -> list[dict[str, Any]]:
        return _Search.run(inputs, paths, settings, trust_engine).receipts()

    replayed = replay(read_receipts(path), again)
    if as_json:
        facts = [
            {"query": each.query, "holds": not each.differences, "differences": each.differences} for each in replayed
        ]
        click.echo(json.dumps(facts, indent=2))
    else:
        for each in replayed:
            click.echo(in_one_line(f"{each.query}: {'; '.join(each.differences) or 'still holds, to the same bytes'}"))
    return int(any(each.differences for each in replayed))


def _print_notes(done: _Search) -> None:
    gallery = done.gallery
    lines = [*gallery.notes]
    if gallery.left_out:
        left_out = ", ".join(f"{count:,} {why}" for why, count in gallery.left_out.items())
        lines.append(f"left out of {gallery.path}: {left_out}")
    note(*lines)
    if failed := (*done.queries.failed, *gallery.failed):
        note(f"skipped: {len(failed)}")
        note_some(failed)


def _text(done: _Search) -> str:
    lines = []
    for answer in done.answers:
        lines.append(f"{answer.query}: {headline(answer)}")
        lines += table([(note,) for note in answer.notes if note not in _shared(done.answers)], indent="  ")
        below = [(f"below the threshold of {answer.threshold:.3f}:",)] if answer.below else []
        rows = [*map(_cells, answer.matches), *below, *map(_cells, answer.below)]
        lines += [*table(rows, ">", indent="  "), ""]
    lines += table([(line,) for line in (*foot(done.answers[0], done.calibration), *_shared(done.answers))])
    return "\n".join(highlight(in_one_line(line)) for line in lines)


def _shared(answers: Sequence[Answer]) -> list[str]:
    """What is to be known of all answers, which is said once."""
    return [note for note in answers[0].notes if len(answers) > 1 and all(note in each.notes for each in answers)]


def _cells(match: Match) -> tuple[str, ...]:
    facts = (f"{match.rank:>3}", f"{match.similarity:.3f}", rates(match), match.identity, match.id)
    return tuple(filter(None, facts))


def _csv(answers: Sequence[Answer]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_CSV)
    for answer in answers:
        for match in (*answer.matches, *answer.below):
            is_match = "" if answer.decision is None else int(match in answer.matches)
            table.writerow([
                csv_cell(answer.query), answer.decision or "", match.rank, csv_cell(match.id),
                csv_cell(match.identity or ""), csv_cell(match.camera), match.similarity,
                "" if match.fmr is None else match.fmr, match.verdict or "", is_match,
                "" if answer.threshold is None else answer.threshold,
            ])  # fmt: skip
        if not (answer.matches or answer.below):
            table.writerow([csv_cell(answer.query), answer.decision or "", *[""] * (len(_CSV) - 2)])
    return text.getvalue()
