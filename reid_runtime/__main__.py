"""The command `reid-runtime`, and `python -m reid_runtime`: Ctrl-C ends it quietly while it is still importing, too."""

import sys


def main() -> None:
    """The entry point."""
    try:
        from reid_runtime.cli import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
