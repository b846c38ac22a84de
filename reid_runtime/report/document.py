"""One HTML file with nothing outside it: its head and style, and the writing of it."""

from importlib import resources
from pathlib import Path

from reid_runtime.errors import StorageError
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.report.markup import escaped


def check_report(path: Path, force: bool) -> None:
    """Raises StorageError, before the work starts, where the page cannot be written."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise StorageError(f"{path}: expected a name that ends in .html")
    ensure_writable(path, force)


def write_page(path: Path, text: str) -> None:
    """Write a page, all of it or nothing; raises StorageError."""
    try:
        with atomic_write(path) as tmp_path:
            tmp_path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def document(title: str, body: str) -> str:
    """The HTML of a page of this title; `body` is HTML already."""
    style = resources.files("reid_runtime.report").joinpath("style.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def facts(values: dict[str, str]) -> str:
    """Names and what they are, side by side."""
    pairs = (f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{"".join(pairs)}</dl>'
