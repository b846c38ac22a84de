"""The command `reid-runtime`, and `python -m reid_runtime`: Ctrl-C ends it quietly while it is still importing, too."""

import os
import sys
from contextlib import suppress


def main() -> None:
    """The entry point."""
    try:
        from reid_runtime.cli import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        command()
    except SystemExit as end:
        work = sys.modules.get("reid_runtime.io.concurrency")
        if work is not None and work.is_work_left():  # of a job that failed: nobody waits for a model's call
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


if __name__ == "__main__":
    main()
