"""--log-format json: every line on standard error is a JSON object, whoever wrote it."""

import io
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TextIO

_OPTION = "--log-format"
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
"""What every record of logging has; the rest was passed as `extra`."""


class JsonLines(io.TextIOBase):
    """A text stream that writes each line as an object: `time` (UTC), `level`, `message` and further fields."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Take text; its lines are written once they are whole."""
        if not isinstance(text, str):
            raise TypeError(f"expected str, found {type(text).__name__}")
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self.put("info", line)
        return len(text)

    def put(self, level: str, message: str, **fields: Any) -> None:
        """Write one object."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "message": message} | fields
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()

    def flush(self) -> None:
        """Write what has been taken, also of a line that is not whole; nothing where the stream was closed before."""
        if self._stream.closed:  # closing this one flushes it, and Python 3.13 tells of errors in that
            return
        begun, self._begun = self._begun, ""
        if begun.strip():
            self.put("info", begun)
        self._stream.flush()


class _Handler(logging.Handler):
    """Records with what their callers passed as `extra`."""

    def __init__(self, lines: JsonLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._lines.put(record.levelname.lower(), record.getMessage(), logger=record.name, **fields)


def is_asked_for(words: Sequence[str]) -> bool:
    """Whether a command's words ask for it: looked up before they are parsed, which may fail."""
    options = [*words[: words.index("--")]] if "--" in words else [*words]
    return f"{_OPTION}=json" in options or (_OPTION, "json") in pairwise(options)


def begin() -> None:
    """Put the stream and a handler of all logs in place for the rest of the process; warnings become logs."""
    lines = JsonLines(sys.stderr)
    sys.stderr = lines
    logging.getLogger().addHandler(_Handler(lines))
    logging.getLogger("reid_runtime").setLevel(logging.INFO)
    logging.captureWarnings(True)
