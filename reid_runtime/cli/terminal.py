"""How what is printed looks: columns, which wrap at a terminal's width, colours on terminals only, examples in help."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

import click

from reid_runtime.io.text import in_one_line

_NARROWEST = 40
_SHOWN = 10
"""Images that are named one by one; the rest are counted."""
_STYLES = {
    "ok": {"fg": "green"},
    "FAIL": {"fg": "red", "bold": True},
    "error:": {"fg": "red", "bold": True},
    "--": {"dim": True},
    "absent": {"dim": True},
    "match:": {"fg": "green", "bold": True},
    "same:": {"fg": "green", "bold": True},
    "different:": {"fg": "red", "bold": True},
    "nobody": {"bold": True},
    "unsure:": {"fg": "yellow", "bold": True},
    "one of these two:": {"fg": "yellow", "bold": True},
    "next:": {"fg": "cyan"},
}


def colour() -> bool | None:
    """For click's `color`: False where NO_COLOR (https://no-color.org) or TERM=dumb forbids colours.

    None leaves it to click, which colours what goes to a terminal.
    """
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def highlight(line: str) -> str:
    """The line with the word that decides, `ok`, `FAIL` or `match:`, in its colour; click strips it where none goes.

    The word begins the line, or follows the name of a query and a colon. Control characters are already escaped.
    """
    for word, style in _STYLES.items():
        before, is_there, after = line.partition(word)
        if is_there and after[:1] in ("", " ") and (not before.strip() or before.endswith(": ")):
            return f"{before}{click.style(word, **style)}{after}"  # type: ignore[arg-type]  # str and bool
    return line


def note(*lines: str) -> None:
    """Print lines on standard error, whatever the names in them hold; a terminal's are wrapped at its width."""
    for line in map(in_one_line, lines):
        indent = " " * (len(line) - len(line.lstrip()))
        for part in _wrapped(line.lstrip(), indent, sys.stderr, indent + "  "):
            click.echo(part, err=True)


def note_some(named: Sequence[tuple[str, str]], where_all_are: str = "") -> None:
    """Print the first names, of images say, with what is to be said of each, and how many more there are."""
    note(*(f"  {name}: {text}" for name, text in named[:_SHOWN]))
    if len(named) > _SHOWN:
        note(f"  and {len(named) - _SHOWN} more" + (f"; {where_all_are}" if where_all_are else ""))


def examples(*commands: str) -> str:
    """The end of a verb's help: commands that run as they stand, in the folder that `examples/crops` is in."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for command in commands for line in command.split("\n"))])


def table(rows: Sequence[Sequence[str]], align: str = "", indent: str = "") -> list[str]:
    """Rows as lines: columns of one width, two spaces between them, and the last one wrapped on a terminal.

    Args:
        rows: Cells; rows may be of different lengths, and the last cell of one may be as long as it likes.
        align: `<` or `>` for each column; `<` for those that are not named.
        indent: What each line begins with.

    Returns:
        The lines, one a row where standard output is no terminal.
    """
    columns = max(map(len, rows), default=1) - 1
    widths = [max(len(row[at]) for row in rows if at < len(row) - 1) for at in range(columns)]
    lines = []
    for *cells, last in rows:
        padded = (f"{cell:{align[at : at + 1] or '<'}{widths[at]}}  " for at, cell in enumerate(cells))
        lines += _wrapped(last, indent + "".join(padded), sys.stdout)
    return [line.rstrip() for line in lines]


def _wrapped(text: str, lead: str, stream: TextIO, further: str | None = None) -> list[str]:
    """The text behind `lead`, its further lines behind as many spaces or `further`; one line where no terminal is."""
    width = shutil.get_terminal_size().columns if stream.isatty() else 0
    if not width or len(lead) + len(text) <= width:
        return [lead + text]
    further = " " * len(lead) if further is None else further
    room = max(width - len(further), _NARROWEST)
    parts = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [lead + parts[0], *(further + part for part in parts[1:])]
