"""Receipts: what an answer rests on, by digest, and whether it still comes out, to the same bytes."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_runtime import __version__
from reid_runtime.errors import StorageError
from reid_runtime.io.decode import DecodeError, decode, each_key_once
from reid_runtime.jobs.search.answers import Answer, SearchSettings

_LARGEST = 256 << 20
"""Bytes of a file of receipts that are read at most."""


@dataclass(frozen=True)
class SearchInputs:
    """What was named for a search, as it was named; relative paths are relative to the working directory."""

    gallery: str
    query: str = ""
    """The path; of a row of embeddings, its file."""
    calibration: str | None = None
    """None for the model's own."""
    model: str | None = None
    """None for the default model, or for none, where all are embeddings."""
    contract: str | None = None
    device: str = "auto"
    names: str | None = None
    root: str | None = None
    camera: str = ""


@dataclass(frozen=True)
class Replayed:
    """One receipt, and what is different now."""

    query: str
    differences: tuple[str, ...]
    """Where it no longer holds, in a sentence each; empty where it does."""


def receipts(
    answers: Sequence[Answer], sources: Sequence[str], inputs: SearchInputs, settings: SearchSettings
) -> list[dict[str, Any]]:
    """The answers as plain values, each with all that it takes to come to it again.

    Args:
        answers: Of one search.
        sources: The path of each query.
        inputs: What was named for the search.
        settings: Its settings.

    Returns:
        For JSON: `Answer.report()` of each, and `settings`, `inputs` and `version`.
    """
    return [
        answer.report()
        | {
            "settings": dataclasses.asdict(settings),
            "inputs": dataclasses.asdict(dataclasses.replace(inputs, query=source)),
            "version": __version__,
        }
        for answer, source in zip(answers, sources, strict=True)
    ]


def read_receipts(path: Path) -> list[dict[str, Any]]:
    """The receipts of a file that `reid-runtime search --json` printed, one or a list; raises StorageError."""
    try:
        with open(path, "rb") as file:
            values = json.loads(file.read(_LARGEST), object_pairs_hook=each_key_once)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} is no receipt, or damaged: {error}") from error
    entries = values if isinstance(values, list) else [values]
    for entry in entries:
        absent = sorted({"query", "digests", "inputs", "settings"} - ({*entry} if isinstance(entry, dict) else {*()}))
        if absent:
            raise StorageError(
                f"{path} is no receipt: it lacks {', '.join(absent)}; expected what `search --json` printed"
            )
    if not entries:
        raise StorageError(f"{path} holds no receipt")
    return entries


def replay(
    entries: Sequence[dict[str, Any]],
    again: Callable[[SearchInputs, list[str], SearchSettings], list[dict[str, Any]]],
) -> list[Replayed]:
    """Search again for each receipt, and compare.

    Args:
        entries: As `read_receipts` gives them.
        again: Searches with these inputs, paths of queries and settings, and gives receipts.

    Returns:
        What has changed of each, in their order.

    Raises:
        StorageError: For a receipt whose inputs or settings are none.
    """
    results: dict[int, Replayed] = {}
    searches: dict[tuple[SearchInputs, SearchSettings], list[int]] = {}
    for number, entry in enumerate(entries):
        inputs, settings = _inputs(entry)
        searches.setdefault((dataclasses.replace(inputs, query=""), settings), []).append(number)
    for (inputs, settings), numbers in searches.items():
        paths = list(dict.fromkeys(entries[number]["inputs"]["query"] for number in numbers))
        replayed = {(each["query"], each["inputs"]["query"]): each for each in again(inputs, paths, settings)}
        for number in numbers:
            entry = entries[number]
            now = replayed.get((entry["query"], entry["inputs"]["query"]))
            differences = ("the query is no longer there",) if now is None else tuple(_differences(entry, now))
            results[number] = Replayed(str(entry["query"]), differences)
    return [results[number] for number in range(len(entries))]


def _inputs(entry: dict[str, Any]) -> tuple[SearchInputs, SearchSettings]:
    try:
        return (
            decode(SearchInputs, entry["inputs"], "inputs"),
            decode(SearchSettings, entry["settings"], "settings"),
        )
    except DecodeError as error:
        raise StorageError(f"the receipt of {entry['query']} is damaged, or of another version: {error}") from error


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not the same, digests first: they say why."""
    digests = {name: (digest, now["digests"].get(name)) for name, digest in before["digests"].items()}
    changed = [
        f"the {name.replace('_', ' ')} has changed: it was {old or 'none'}, and is {new or 'none'}"
        for name, (old, new) in digests.items()
        if old != new
    ]
    for name in sorted({*before, *now} - {"digests", "inputs", "settings", "version"}):
        if json.dumps(before.get(name), sort_keys=True) != json.dumps(now.get(name), sort_keys=True):
            changed.append(f"{name}: it was {_short(before.get(name))}, and is {_short(now.get(name))}")
    return changed


def _short(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        first = value[0]
        return f"{len(value)}, the first {first.get('identity') or first.get('id')} at {first.get('similarity')}"
    return json.dumps(value)
