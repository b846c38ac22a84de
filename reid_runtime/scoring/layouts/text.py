"""Text files: the lists of published sets, and CSV files of one's own."""

from pathlib import Path

from reid_runtime.errors import DatasetError


def read_text(path: Path) -> str:
    """A file's text, with its line ends as they are; raises DatasetError where it is missing or not UTF-8.

    The mark that editors on Windows put before UTF-8 is no part of it.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{path}: line {line} is not UTF-8 (byte 0x{error.object[error.start]:02x}); expected text in UTF-8, "
            "which spreadsheets and editors offer when saving"
        ) from error
