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
