"""The line that installs an extra, from wherever this package itself was installed."""

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

_NAME = "reid-runtime"
_EXTRAS = {"export": "export", "training": "train", "benchmarks": "openvino,train,export"}
"""What the commands of a checkout need, by the package that `python -m` runs."""


def install_line(extra: str, *options: str) -> str:
    """What to type to get an extra.

    A package index need not have this package: what was installed from a folder, a wheel or a repository, as PEP 610's
    direct_url.json says, is installed from there again.

    Args:
        extra: Its name, or several with commas.
        options: pip's.

    Returns:
        As `pip install -e ".[video]"`, or `pip install "reid-runtime[video]"` where an index had the package, and where
        the folder or wheel is gone.
    """
    return " ".join(["pip install", *options, _source(extra)])


def missing(error: ModuleNotFoundError) -> str | None:
    """What to type where `python -m export…`, `training…` or `benchmarks…` lacks another package; None elsewhere."""
    extra = _EXTRAS.get((getattr(sys.modules["__main__"], "__package__", None) or "").partition(".")[0])
    absent = (error.name or "").partition(".")[0]
    if extra is None or absent in ("", "reid_runtime", *_EXTRAS):
        return None
    return f"{absent} is needed and missing: {install_line(extra)}"


def tell_missing() -> None:
    """Where `python -m` runs the package that is being imported: what its imports lack is told in one line."""
    if sys.argv[0] != "-m":  # which it is until the module is found; else the program is somebody else's
        return
    usual = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = missing(error) if isinstance(error, ModuleNotFoundError) else None
        if line is None:
            usual(kind, error, trace)
        else:
            sys.stderr.write(f"error: {line}\n")

    sys.excepthook = told


def _source(extra: str) -> str:
    from urllib.request import url2pathname  # brings ssl and http, which few runs need

    try:
        origin = json.loads(metadata.distribution(_NAME).read_text("direct_url.json") or "{}")
        url, vcs = str(origin.get("url", "")), origin.get("vcs_info")
        path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    except (metadata.PackageNotFoundError, ValueError, AttributeError, OSError):
        return f'"{_NAME}[{extra}]"'
    if not url or (path is not None and not path.exists()):
        return f'"{_NAME}[{extra}]"'
    if vcs:
        return f'"{_NAME}[{extra}] @ {vcs["vcs"]}+{url}@{vcs["commit_id"]}"'
    if path is None:
        return f'"{_NAME}[{extra}] @ {url}"'
    place = "." if path.is_dir() and os.path.samefile(path, os.curdir) else path
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f'{editable}"{place}[{extra}]"'
