"""How well cosines tell people apart: the histograms of mated and non-mated comparisons, the DET curve, thresholds."""

import math

import numpy as np

from reid_runtime.evaluation.eval_set import Entries
from reid_runtime.evaluation.evaluate import Evaluation
from reid_runtime.io.text import counted
from reid_runtime.matching.calibrate import own_cameras, own_comparisons
from reid_runtime.matching.errors import CalibrationError
from reid_runtime.matching.points import Measured, measure
from reid_runtime.matching.rates import Histograms, OperatingPoint, percent
from reid_runtime.matching.samples import Samples
from reid_runtime.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, figure, label, line
from reid_runtime.report.markup import table

_BIN = 0.02
"""Of the histograms that are drawn."""
_LEAST = 1e-4
"""The smallest rate on the DET curve's axes."""
_KINDS = {"across": "of two cameras", "within": "of one camera", "any": "of any cameras"}


def separation(evaluation: Evaluation) -> str:
    """The section's content, or a sentence on why there is none."""
    try:
        samples = samples_of(evaluation)
        measured = measure(own_comparisons(samples.bounded()))
    except CalibrationError as error:
        return f"<p>There are no comparisons to measure: {error}.</p>"
    if not (measured.mated and measured.non_mated):
        return (
            f"<p>There are {measured.mated} mated and {measured.non_mated} non-mated comparisons, too few to show.</p>"
        )
    kind = _KINDS[own_cameras(samples)]
    return (
        f"<p>Comparisons of two images {kind}: {measured.mated:,} mated (of one person), {measured.non_mated:,} "
        f"non-mated (of two), of {counted(measured.people, 'person')}. Distractors take no part.</p>"
        f'<div class="charts"><div>{histograms(measured.histograms, measured.points)}</div>'
        f"<div>{det_curve(measured.histograms, measured.points)}</div></div>{_thresholds(measured)}"
    )


def samples_of(evaluation: Evaluation) -> Samples:
    """The people of an evaluation's queries and gallery, each entry once; CalibrationError for fewer than two."""
    eval_set = evaluation.eval_set
    parts = [(eval_set.gallery, evaluation.gallery_vectors)]
    # A query that is a mean of several images is no single image.
    if eval_set.query.ids != eval_set.gallery.ids and not evaluation.settings.multi_query:
        parts.insert(0, (eval_set.query, evaluation.query_vectors))
    vectors = np.concatenate([vectors for _, vectors in parts])
    identities = np.concatenate([entries.identities for entries, _ in parts])
    kept = np.flatnonzero(identities > 0)
    people = np.unique(identities[kept], return_inverse=True)[1].astype(np.int64)
    has_cameras = eval_set.camera_rule and eval_set.search is None
    cameras = _cameras([entries for entries, _ in parts])[kept] if has_cameras else np.zeros(len(kept), np.int64)
    return Samples(vectors[kept], people, cameras, has_cameras, np.zeros(len(kept), np.int64), np.zeros(len(kept)))


def _cameras(parts: list[Entries]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    cameras = np.concatenate([entries.cameras for entries in parts])
    return np.unique(cameras, return_inverse=True)[1].astype(np.int64)


def histograms(counted: Histograms, points: tuple[OperatingPoint, ...]) -> str:
    """The shares of mated and of non-mated comparisons by cosine, and the thresholds that were measured."""
    edges = np.array(counted.edges)
    bins = np.round(np.arange(-1, 1 + _BIN / 2, _BIN), 6)
    shares = []
    for counts in (counted.non_mated, counted.mated):
        below = np.concatenate([[0.0], np.cumsum(counts)]) / max(1, sum(counts))
        shares.append(np.diff(np.interp(bins, edges, below)))
    shown = np.flatnonzero(np.maximum(*shares) > 0)
    first, last = int(shown[0]), int(shown[-1]) + 1
    most = float(max(share.max() for share in shares))
    least, range_ = bins[first], bins[last] - bins[first]
    base = HEIGHT - BOTTOM

    def x(cosine: float) -> float:
        return LEFT + float((cosine - least) / range_) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return base - share / most * (base - TOP - 34)

    parts = [line(LEFT, base, WIDTH - RIGHT, base, "grid")]
    for share, kind in zip(shares, ("non-mated", "mated"), strict=True):
        steps = [f"{x(bins[bin_ + end]):.1f},{y(share[bin_]):.1f}" for bin_ in range(first, last) for end in (0, 1)]
        outline = " ".join([f"{x(bins[first]):.1f},{base}", *steps, f"{x(bins[last]):.1f},{base}"])
        parts.append(f'<polygon class="{kind}" points="{outline}"/>')
        peak = int(np.argmax(share))
        parts.append(label(x(bins[peak] + _BIN / 2), y(share[peak]) - 7, kind, "middle", "value"))
    for point in points:
        at = x(point.threshold)
        parts.append(line(at, TOP - 4, at, base, "threshold"))
    ticks = [tick / 10 for tick in range(math.ceil(least * 10), math.floor(bins[last] * 10) + 1)]
    parts += [label(x(tick), base + 20, f"{tick:.1f}", "middle") for tick in ticks[:: 2 if len(ticks) > 8 else 1]]
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "cosine", "middle"))
    at_points = "; ".join(f"FMR {percent(point.fmr)} from {point.threshold:.3f}" for point in points)
    middle = [_median(counted.edges, counts) for counts in (counted.mated, counted.non_mated)]
    medians = f"The median is {middle[0]:.2f} for mated and {middle[1]:.2f} for non-mated comparisons"
    return figure(
        parts,
        f"Histograms of cosines. {medians}. {at_points}",
        "Comparisons by cosine, each kind to its own total; lines: the thresholds below.",
    )


def det_curve(counted: Histograms, points: tuple[OperatingPoint, ...]) -> str:
    """FNMR by FMR as the threshold moves, both axes logarithmic."""
    rates = error_rates(counted)
    floor = _decade(1 / max(1, sum(counted.non_mated)))

    def x(fmr: float) -> float:
        return LEFT + math.log10(max(fmr, floor) / floor) / -math.log10(floor) * (WIDTH - LEFT - RIGHT)

    least = _decade(min((fnmr for _, fnmr in rates if fnmr), default=_LEAST))

    def y(fnmr: float) -> float:
        return TOP + math.log10(1 / max(fnmr, least)) / -math.log10(least) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for power in range(round(math.log10(floor)), 1):
        rate = 10.0**power
        parts.append(line(x(rate), TOP, x(rate), HEIGHT - BOTTOM, "grid"))
        parts.append(label(x(rate), HEIGHT - BOTTOM + 20, percent(rate), _anchor(rate, floor)))
    for power in range(round(math.log10(least)), 1):
        rate = 10.0**power
        parts.append(line(LEFT, y(rate), WIDTH - RIGHT, y(rate), "grid"))
        parts.append(label(LEFT - 6, y(rate) + 5, percent(rate).removesuffix(" %"), "end"))
    drawn = dict.fromkeys((round(x(fmr), 1), round(y(fnmr), 1)) for fmr, fnmr in rates if fmr >= floor and fnmr > 0)
    parts.append(f'<polyline class="curve" points="{" ".join(f"{left},{top}" for left, top in drawn)}"/>')
    for point in points:
        parts.append(f'<circle class="dot" cx="{x(point.fmr):.1f}" cy="{y(point.fnmr):.1f}" r="4"/>')
        parts.append(label(x(point.fmr) + 8, y(point.fnmr) - 8, f"{point.threshold:.2f}", "start", "value"))
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "false match rate (FMR)", "middle"))
    summary = "; ".join(f"FMR {percent(point.fmr)}: FNMR {percent(point.fnmr)}" for point in points)
    return figure(
        parts, f"DET curve. {summary}", "DET: false non-match rate (FNMR) in % by FMR, with thresholds at the marks."
    )


def _decade(rate: float) -> float:
    """The power of ten at or below a rate, where an axis begins: at least one decade below 1, at most four."""
    return float(min(0.1, max(_LEAST, 10.0 ** math.floor(math.log10(rate)))))


def _anchor(rate: float, floor: float) -> str:
    """Of a tick's text: those at the ends of the axis stay above it."""
    return "end" if rate == 1 else "start" if rate <= floor * 1.01 else "middle"


def error_rates(counted: Histograms) -> list[tuple[float, float]]:
    """(FMR, FNMR) at each edge of two histograms, by rising threshold."""
    mated, non_mated = (np.array(counts, np.float64) for counts in (counted.mated, counted.non_mated))
    fnmr = np.concatenate([[0.0], np.cumsum(mated)]) / max(1.0, mated.sum())
    fmr = 1 - np.concatenate([[0.0], np.cumsum(non_mated)]) / max(1.0, non_mated.sum())
    return list(zip(np.maximum(fmr, 0).tolist(), fnmr.tolist(), strict=True))


def _thresholds(measured: Measured) -> str:
    rows = [
        [percent(each.fmr), f"{each.threshold:.3f}", percent(each.fnmr), " to ".join(map(percent, each.fnmr_interval))]
        for each in measured.points
    ]
    refused = "".join(
        f'<p class="aside">FMR {percent(rate.fmr)} is not supported by these data: it takes about {rate.people:,} '
        f"people and {rate.comparisons:,} non-mated comparisons.</p>"
        for rate in measured.refused
    )
    if not rows:
        return refused
    head = ["FMR", "threshold", "FNMR", "95 % interval of FNMR"]
    return f"<h3>Thresholds</h3>{table(head, rows)}{refused}"


def _median(edges: tuple[float, ...], counts: tuple[int, ...]) -> float:
    below = np.concatenate([[0.0], np.cumsum(counts)])
    return float(np.interp(below[-1] / 2, below, edges))
