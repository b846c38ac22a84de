"""The few ways in which values become HTML. Whatever comes from outside passes through `escaped`."""

from html import escape


def escaped(value: object) -> str:
    """Text that is safe within an element and within a quoted attribute, control characters as visible escapes."""
    text = "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in str(value))
    return escape(text, quote=True)


def camera_name(name: str) -> str:
    """Which camera, as HTML: a name that does not say so itself comes after "camera"."""
    return escaped(name if name.lower().startswith("cam") else f"camera {name}")


def percent(fraction: float) -> str:
    """Percent with one decimal, without the sign."""
    return f"{100 * fraction:.1f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are HTML already; the first of each row is its heading."""
    titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>'
