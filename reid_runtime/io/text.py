"""Texts of others, as names of files and people are, on terminals and in tables: they may hold anything."""

import re

_FORMULA = re.compile(r"[=+\-@\t\r](?![\d.]+$)")
"""How a text begins that a spreadsheet computes, with whatever that may call, instead of showing it; numbers may."""


def in_one_line(text: str) -> str:
    """The text with line breaks and other control characters as escapes."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def csv_cell(text: str) -> str:
    """The text as a cell of a CSV file: in one line, and with an apostrophe before what would be a formula."""
    return in_one_line(f"'{text}" if _FORMULA.match(text) else text)


_IRREGULAR = {"person": "people", "query": "queries", "box": "boxes"}


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts: `1 crop`, `2 crops`, `1,000 people`.

    `many` is for what an `s`, or the plural of the last word, does not make: `counted(n, "image is", "images are")`.
    """
    before, space, last = one.rpartition(" ")
    many = many or f"{before}{space}{_IRREGULAR.get(last, f'{last}s')}"
    return f"{number:,} {one if number == 1 else many}"
