"""The code blocks of a page of documentation: which run, what output is shown below them, and whether it still comes.

A block of `bash` or `python` runs, and a block of `text` right below it is its output. A line `*Not run: REASON.*`
above a block says why it does not; `<!-- ci: NAME -->` says that `.ci/run` runs it. In `bash`, a comment on a line of
its own right below a command is a part of its output. In expected output, `...` stands for anything, or for any lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

RUN = ("bash", "python")
DATA = ("text", "json", "toml", "csv", "yaml")
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_REASON = re.compile(r"^\*Not run: (.+)\*$")
_CI = re.compile(r"^<!-- ci: (\w+) -->$")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")
_TOLERANCE = 0.03


@dataclass(frozen=True)
class Block:
    """A block of code, and the output that the page shows of it; `ci` is the step of `.ci/run` that runs it."""

    line: int
    language: str
    code: str
    expected: str | None
    span: tuple[int, int]
    """Where in the page the expected output is."""
    reason: str | None
    ci: str | None


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page that are code, in their order."""
    fences = list(_FENCE.finditer(page))
    for fence, following in zip_longest(fences, fences[1:]):
        if fence[1] in DATA:
            continue
        above = page[: fence.start()].rstrip().rpartition("\n")[2]
        is_shown = (
            following is not None and following[1] == "text" and not page[fence.end() : following.start()].strip()
        )
        reason, ci = _REASON.match(above), _CI.match(above)
        yield Block(
            line=page.count("\n", 0, fence.start()) + 1,
            language=fence[1],
            code=fence[2],
            expected=following[2] if is_shown else None,
            span=following.span(2) if is_shown else (0, 0),
            reason=reason and reason[1],
            ci=ci and ci[1],
        )


def commands(code: str) -> Iterator[tuple[str, str | None]]:
    """The commands of a block of shell, and the output that comments right below them show."""
    lines, shown = [], []
    for line in [*code.replace("\\\n", " ").splitlines(), ""]:
        if line.startswith("# ") and lines:
            shown.append(line[2:])
            continue
        if lines:
            yield lines.pop(), "\n".join(shown) if shown else None
        shown = []
        if line and not line.startswith("#"):
            lines.append(line)


def difference(expected: str, actual: str) -> str | None:
    """What is expected and does not come: text exactly, numbers with a decimal point to three in a hundred."""
    pattern = ""
    for part in re.split(r"(\s*\.\.\.\s*|\d+(?:\.\d+)?)", expected.strip()):
        if part.strip() == "...":
            pattern += ".*"
        elif _NUMBER.fullmatch(part) and "." in part:
            pattern += r"(\d+(?:\.\d+)?)"
        else:
            pattern += re.escape(part)
    match = re.fullmatch(rf"(?:.*\n)?{pattern}\s*", actual, re.DOTALL)
    if match is None:
        return f"expected:\n{expected}\nfound:\n{actual}"
    numbers = [number for number in _NUMBER.findall(expected.replace("...", "\n")) if "." in number]
    for number, came in zip(numbers, match.groups(), strict=True):
        last_place = 10.0 ** -len(number.partition(".")[2])
        if abs(float(number) - float(came)) > max(_TOLERANCE * float(number), 1.5 * last_place):
            return f"expected {number}, found {came}, in:\n{actual}"
    return None
