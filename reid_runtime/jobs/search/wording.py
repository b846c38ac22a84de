"""What an answer says in words, on a terminal and on a page."""

from reid_runtime.io.text import counted
from reid_runtime.jobs.search.answers import Answer, Match
from reid_runtime.matching.calibration import Calibration
from reid_runtime.matching.rates import percent

_FMR = 0.001
"""The false match rate by which the text says what a gallery's size means."""


def headline(answer: Answer) -> str:
    """The answer in a line: `match: anna`."""
    word = {"match": "match: ", "ambiguous": "one of these two: ", "nobody": "nobody "}.get(answer.decision or "", "")
    return word + whom(answer)


def gallery_size(answer: Answer) -> str:
    """How many may be found: `8 people`."""
    one = {"people": "person", "tracks": "track", "images": "image"}[answer.gallery_of]
    return counted(answer.gallery_size, one)


def whom(answer: Answer) -> str:
    """What follows the decision: who it is, or among how many nobody is."""
    if answer.reasons:
        return f"can be named: the image is {', '.join(answer.reasons)}"
    if answer.decision is None:
        return f"{counted(len(answer.matches), 'candidate')}, no decision: there is no calibration"
    if answer.decision == "nobody":
        return f"among {gallery_size(answer)}"
    named = answer.matches[: 1 + (answer.decision == "ambiguous")]
    return " or ".join(match.identity or match.id for match in named)


def rates(match: Match) -> str:
    """The verdict on one comparison and its FMR; empty without a calibration."""
    if match.fmr is None:
        return ""
    return f"{match.verdict}, FMR {'≤ ' * match.fmr_is_bound}{percent(match.fmr)}"


def foot(answer: Answer, calibration: Calibration | None) -> list[str]:
    """What the threshold is, and rests on."""
    if answer.threshold is None or calibration is None:
        return [
            f"ranked by cosine among {gallery_size(answer)}; without a calibration no similarity says "
            " who it is (reid-runtime calibrate)"
        ]
    where = f"calibrated elsewhere, on {calibration.source.dataset}" if answer.calibrated_elsewhere else "of this site"
    beyond = ", extrapolated" if answer.extrapolated else ""
    strangers = answer.gallery_size * _FMR
    lines = [
        f"threshold {answer.threshold:.3f}{beyond}: FPIR {percent(answer.fpir)} in a gallery of "
        f"{gallery_size(answer)}; {where}",
    ]
    if strangers >= 0.1:
        lines.append(
            f"the threshold of FMR {percent(_FMR)} for pairs would give {strangers:,.1f} false matches a query"
        )
    return lines
