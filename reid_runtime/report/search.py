"""The page of a search: each query, the decision, and its candidates with their similarities, cut at the threshold."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from reid_runtime.images.resize import Pixels
from reid_runtime.io.text import counted
from reid_runtime.jobs.search.answers import Answer, Match
from reid_runtime.jobs.search.gallery import SearchGallery
from reid_runtime.jobs.search.queries import Queries, Query
from reid_runtime.jobs.search.wording import foot, gallery_size, rates, whom
from reid_runtime.matching.calibration import Calibration
from reid_runtime.matching.rates import percent
from reid_runtime.report.crops import file_loader, image_tag
from reid_runtime.report.document import check_report, document, facts, write_page
from reid_runtime.report.markup import camera_name, escaped
from reid_runtime.report.total_maps import TotalMaps

_QUERIES = 200
"""How many queries a page shows, at most: with ten candidates each they are some ten megabytes."""

_EXPLAINED = 3
"""How many candidates of a query are explained, at most."""

_WORDS = {"match": "match", "nobody": "nobody", "ambiguous": "one of two", None: "no decision"}


def write_search_report(
    path: Path,
    answers: Sequence[Answer],
    queries: Queries,
    gallery: SearchGallery,
    calibration: Calibration | None = None,
    *,
    force: bool = False,
    maps: TotalMaps | None = None,
) -> None:
    """Write the page of a search, all of it or nothing.

    Args:
        path: The .html file.
        answers: What `search` gave.
        queries: What was looked for.
        gallery: Where.
        calibration: By which it was decided; None for none.
        force: Whether to overwrite the file.
        maps: Add why the candidates are like the query; None for not.

    Raises:
        StorageError: Where it cannot be written.
    """
    check_report(path, force)
    write_page(path, search_page(answers, queries, gallery, calibration, maps))


def search_page(
    answers: Sequence[Answer],
    queries: Queries,
    gallery: SearchGallery,
    calibration: Calibration | None,
    maps: TotalMaps | None = None,
) -> str:
    """The HTML; the same search gives the same text."""
    shown = list(zip(queries.queries, answers, strict=True))[:_QUERIES]
    articles = "".join(_query(query, answer, gallery, maps) for query, answer in shown)
    more = len(answers) - len(shown)
    notes = [
        *gallery.notes,
        *_left_out(gallery),
        *_without_images(answers, gallery),
        *([f"{counted(more, 'more query is', 'more queries are')} not shown"] if more else []),
    ]
    if answers[0].decision is None and calibration is None:
        notes.insert(0, "no calibration: these are ranked candidates, and nothing says who it is")
    elif answers[0].calibrated_elsewhere:
        notes.insert(0, "calibrated elsewhere: error rates at this site may differ from those that are stated")
    body = f"""<header class="top">
<p class="kind">Person re-identification: search</p>
<h1>{escaped(os.path.basename(os.path.normpath(gallery.path)))}</h1>
{facts(_facts(answers, gallery, calibration))}
</header>
<main>
<section aria-labelledby="answers">
<h2 id="answers">Answers</h2>
<ul class="counts">{_counts(answers)}</ul>
{"".join(f'<p class="notice">{escaped(note[:1].upper() + note[1:])}.</p>' for note in notes)}
{articles}
</section>
</main>
<footer>
{"".join(f"<p>{escaped(line[:1].upper() + line[1:])}.</p>" for line in foot(answers[0], calibration))}
<p>FPIR: the share of queries for people who are not in the gallery that get an answer all the same. FMR: the share of
pairs of two people that are as similar. A bar shows the cosine from 0 to 1, its line the threshold.</p>
</footer>"""
    return document(f"Search in {os.path.basename(os.path.normpath(gallery.path))}", body)


def _facts(answers: Sequence[Answer], gallery: SearchGallery, calibration: Calibration | None) -> dict[str, str]:
    first = answers[0]
    values = {"Gallery": f"{gallery_size(first)}, {counted(int(gallery.usable.sum()), 'image')}"}
    thresholds = sorted({answer.threshold for answer in answers if answer.threshold is not None})
    if thresholds:
        values["Threshold"] = " to ".join(f"{value:.3f}" for value in dict.fromkeys((thresholds[0], thresholds[-1])))
        values["FPIR"] = percent(first.fpir) + (", extrapolated" if any(each.extrapolated for each in answers) else "")
    values["Calibration"] = "none" if calibration is None else calibration.source.dataset
    return values | {"Contract": first.contract_id}


def _left_out(gallery: SearchGallery) -> list[str]:
    counts = ", ".join(f"{count:,} {why}" for why, count in gallery.left_out.items())
    return [f"left out of the gallery: {counts}"] if counts else []


def _without_images(answers: Sequence[Answer], gallery: SearchGallery) -> list[str]:
    rows = [match.row for answer in answers[:_QUERIES] for match in (*answer.matches, *answer.below)]
    if gallery.crop_of is not None or not rows or any(gallery.image_of(row) is not None for row in rows):
        return []  # a gallery file has the crops itself, or none
    return ["no image of the gallery was found: --root names the folder in which its ids are paths"]


def _counts(answers: Sequence[Answer]) -> str:
    kinds = [(kind, sum(answer.decision == kind for answer in answers)) for kind in _WORDS]
    return "".join(
        f'<li class="is-{kind or "open"}"><b>{count:,}</b> {_WORDS[kind]}</li>' for kind, count in kinds if count
    )


def _query(query: Query, answer: Answer, gallery: SearchGallery, maps: TotalMaps | None) -> str:
    candidates = "".join(_candidate(match, True, answer, gallery) for match in answer.matches)
    if answer.threshold is not None and not answer.reasons:
        candidates += f'<li class="cut" role="separator"><span>threshold</span> <b>{answer.threshold:.3f}</b></li>'
    candidates += "".join(_candidate(match, False, answer, gallery) for match in answer.below)
    notes = "".join(f'<p class="note">{escaped(note)}</p>' for note in answer.notes)
    image = image_tag(_query_image(query, gallery), f"query {answer.query}")
    why = ""
    if maps is not None:
        best = [*answer.matches, *answer.below][:_EXPLAINED]
        pictures = [
            (f"rank {each.rank}: {each.identity or each.id}", file_loader(gallery.image_of(each.row))) for each in best
        ]
        why = maps.details(_query_image(query, gallery), pictures)
    several = f", {answer.crops:,} images" if answer.crops > 1 else ""
    return (
        f'<article class="query answer is-{answer.decision or "open"}"><header>'
        f'<h3><span class="chip">{_WORDS[answer.decision]}</span> {escaped(whom(answer))}</h3>'
        f'<p class="name">{escaped(answer.query)}</p></header>{notes}'
        f'<div class="row"><figure class="crop query-crop">{image}'
        f'<figcaption><span class="mark">query{several}</span></figcaption></figure>'
        f'<ol class="ranked found">{candidates}</ol></div>{why}</article>'
    )


def _candidate(match: Match, is_above: bool, answer: Answer, gallery: SearchGallery) -> str:
    path = gallery.image_of(match.row)
    name = match.identity or Path(match.id).name
    sign = "" if answer.threshold is None else '<b aria-hidden="true">✓</b> ' if is_above else ""
    alt = f"rank {match.rank}: {name}, cosine {match.similarity:.3f}"
    verdict = f"<span>{rates(match)}</span>" if rates(match) else ""
    style = f"--at:{max(0.0, min(1.0, match.similarity)):.4f};--cut:{max(0.0, answer.threshold or 0.0):.4f}"
    line = "" if answer.threshold is None else "<i></i>"
    camera = f"<span>{camera_name(match.camera)}</span>" if match.camera else ""
    return (
        f'<li class="{"above" if is_above else "under"}" title="{escaped(match.id)}"><figure class="crop">'
        f"{image_tag(file_loader(path), alt)}<figcaption>"
        f'<span class="mark">{sign}{match.rank} · {match.similarity:.3f}</span>'
        f'<span class="meter" style="{style}" aria-hidden="true"><b></b>{line}</span>'
        f'<span class="identity">{escaped(name)}</span>{camera}{verdict}</figcaption></figure></li>'
    )


def _query_image(query: Query, gallery: SearchGallery) -> Callable[[], Pixels] | None:
    for name in query.images:
        for path in (Path(name), Path(gallery.root or "", name)):
            if path.is_file():
                return file_loader(path)
    return None
