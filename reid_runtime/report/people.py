"""The page of people: each with their crops, how good these are, and who looks most alike."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from reid_runtime.images.decode import ImageSource
from reid_runtime.io.text import counted
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.report.crops import file_loader, image_tag
from reid_runtime.report.document import check_report, document, facts, write_page
from reid_runtime.report.markup import camera_name, escaped
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

_PEOPLE = 1000
"""People that a page shows, at most; those with most crops."""
_CROPS = 8
"""Crops of each, at most: those of the best quality, of all cameras in turn."""
_ALIKE = 3

Images = Mapping[str, ImageSource] | Callable[[str], ImageSource | None]


def write_people_page(path: Path, title: str, rows: Embeddings, images: Images, *, force: bool = False) -> None:
    """Write the page of the people in a table, all of it or nothing.

    Args:
        path: The .html file.
        title: What they are the people of.
        rows: With the column `identity`; rows without one are counted as unsure.
        images: The image of each id, or what gives it; None for an id without one.
        force: Whether to overwrite the file.

    Raises:
        StorageError: Where it cannot be written.
    """
    check_report(path, force)
    write_page(path, people_page(title, rows, images))


def people_page(title: str, rows: Embeddings, images: Images) -> str:
    """The HTML; the same people give the same text."""
    identity = np.full(len(rows), "") if rows.identity is None else rows.identity
    names, numbers, counts = np.unique(identity, return_inverse=True, return_counts=True)
    known = [number for number in np.argsort(-counts, kind="stable").tolist() if names[number]]
    members = {number: np.flatnonzero(numbers.reshape(-1) == number) for number in known[:_PEOPLE]}
    alike = _look_alikes(rows.embedding, [*members.values()])
    load = images.get if isinstance(images, Mapping) else images
    people = "".join(
        _person(rows, number, str(names[number]), members, names, alike[index], load)
        for index, number in enumerate(members)
    )
    unsure = np.flatnonzero(identity == "")
    more = len(known) - len(members)
    values = {"People": f"{len(known):,}", "Crops": f"{len(rows) - len(unsure):,}", "Unsure": f"{len(unsure):,}"}
    body = f"""<header class="top">
<p class="kind">Person re-identification: people</p>
<h1>{escaped(title)}</h1>
{facts(values | {"Contract": rows.contract_id})}
</header>
<main>
<section aria-labelledby="people">
<h2 id="people">People</h2>
{f'<p class="notice">Not shown, for they have fewer crops: {counted(more, "person")}.</p>' if more else ""}
{people}
</section>
{_unsure(rows, unsure, load)}
</main>
<footer>
<p>Look-alikes are the people whose mean vectors are nearest, with the cosine. A bar shows it from 0 to 1.</p>
</footer>"""
    return document(title, body)


def _look_alikes(vectors: Vectors, members: Sequence[np.ndarray]) -> list[list[tuple[int, float]]]:
    """For each person the places of the most similar others, and the cosines of their mean vectors."""
    if len(members) < 2:
        return [[] for _ in members]
    means = normalise(np.stack([vectors[rows].mean(axis=0) for rows in members]), "mean")
    means = means.astype(np.float64)
    cosines = means @ means.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(_ALIKE, len(means) - 1)].tolist()
    return [[(other, float(cosines[own, other])) for other in others] for own, others in enumerate(nearest)]


def _person(
    rows: Embeddings,
    number: int,
    name: str,
    members: Mapping[int, np.ndarray],
    names: np.ndarray,
    alike: Sequence[tuple[int, float]],
    load: Callable[[str], ImageSource | None],
) -> str:
    own = members[number]
    cameras = [] if rows.camera is None else [each for each in np.unique(rows.camera[own]).tolist() if each]
    about = [counted(len(own), "crop")]
    if cameras:
        about.append(f"{len(cameras)} cameras" if len(cameras) > 6 else ", ".join(map(camera_name, cameras)))
    if rows.quality is not None and np.isfinite(rows.quality[own]).any():
        about.append(f"quality {np.nanmedian(rows.quality[own]):.2f}")
    crops = "".join(_crop(rows, row, load) for row in _chosen(rows, own))
    order = [*members]
    others = "".join(
        _alike(rows, members[order[index]], str(names[order[index]]), cosine, load) for index, cosine in alike
    )
    look_alikes = (
        f'<div class="alike"><h4>Look-alikes</h4><ol class="ranked found">{others}</ol></div>' if others else ""
    )
    return (
        f'<article class="query answer person" id="{escaped(name)}"><header><h3>{escaped(name)}</h3>'
        f"<p>{', '.join(about)}</p></header>"
        f'<div class="sides"><ol class="ranked found">{crops}</ol>{look_alikes}</div></article>'
    )


def _chosen(rows: Embeddings, own: np.ndarray) -> list[int]:
    """Rows that show a person: the best of each camera in turn."""
    quality = np.ones(len(own)) if rows.quality is None else np.nan_to_num(rows.quality[own], nan=0.0)
    turns: dict[str, int] = {}
    ranked = []
    for index in np.argsort(-quality, kind="stable").tolist():
        camera = "" if rows.camera is None else str(rows.camera[own[index]])
        turns[camera] = turns.get(camera, 0) + 1
        ranked.append((turns[camera], index))
    return [int(own[index]) for _, index in sorted(ranked)[:_CROPS]]


def _crop(rows: Embeddings, row: int, load: Callable[[str], ImageSource | None]) -> str:
    name = str(rows.id[row])
    camera = "" if rows.camera is None or not rows.camera[row] else f"<span>{camera_name(str(rows.camera[row]))}</span>"
    reasons = "" if rows.reasons is None or not rows.reasons[row] else f"<span>{escaped(rows.reasons[row])}</span>"
    return (
        f'<li title="{escaped(name)}"><figure class="crop">{image_tag(file_loader(load(name)), name)}'
        f"<figcaption>{camera}{reasons}</figcaption></figure></li>"
    )


def _alike(
    rows: Embeddings, own: np.ndarray, name: str, cosine: float, load: Callable[[str], ImageSource | None]
) -> str:
    row = _chosen(rows, own)[0]
    style = f"--at:{max(0.0, min(1.0, cosine)):.4f}"
    return (
        f'<li><a href="#{escaped(name)}"><figure class="crop">{image_tag(file_loader(load(str(rows.id[row]))), name)}'
        f'<figcaption><span class="mark">{cosine:.3f}</span><span class="meter" style="{style}" aria-hidden="true">'
        f'<b></b></span><span class="identity">{escaped(name)}</span></figcaption></figure></a></li>'
    )


def _unsure(rows: Embeddings, unsure: np.ndarray, load: Callable[[str], ImageSource | None]) -> str:
    if not len(unsure):
        return ""
    crops = "".join(_crop(rows, row, load) for row in unsure[:200].tolist())
    return (
        f'<section aria-labelledby="unsure"><h2 id="unsure">Unsure</h2><p>{counted(len(unsure), "crop")} of no worth, '
        f'or of which nobody can tell who is on it.</p><article class="query"><ol class="ranked found">{crops}</ol>'
        "</article></section>"
    )
