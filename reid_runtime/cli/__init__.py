"""The command `reid-runtime`: a module per verb, each imported only when it is called."""

import signal
import sys
import warnings
from importlib import import_module
from types import FrameType

import click

from reid_runtime.errors import ReidRuntimeError

_VERBS = {
    "embed": "Embed folders, files and lists of images.",
    "merge": "Merge files and folders of embeddings into one file.",
    "evaluate": "Score a model on a labelled folder.",
    "compare": "Compare two saved evaluations: is the change more than noise?",
    "verify": "Check that a model file is intact and gives its vectors on this machine.",
    "describe": "Print a model's contract, or draft one for a model that has none.",
    "doctor": "Report what is installed, what is missing and why.",
    "datasets": "List the data sets and layouts that can be scored.",
}


class _Verbs(click.Group):
    """Imports a verb's module when it is called, so that `embed` does not pay for the imports of all verbs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = import_module(f"reid_runtime.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM leaves as Ctrl-C does, with its own exit code."""
    raise SystemExit(143)


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="reid-runtime")
def group() -> None:
    """Person re-identification: crops of people become unit vectors, close for the same person.

    Exit codes: 0 all done, 1 failure, 2 usage, 3 done with inputs skipped, 130 and 143 interrupted.
    """


def in_one_line(text: str) -> str:
    """The text with line breaks and other control characters as escapes: names of files may hold any of them."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def run(command: click.Command) -> None:
    """Run a command to its exit: errors in one line on standard error, exit codes as documented."""
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _terminate)
    # Pillow's warnings are of an image's metadata, which change nothing here; bad pixels are an ImageError.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        code = command.main(standalone_mode=False)
    except (ReidRuntimeError, OSError) as error:  # OSError: a full disk, also behind standard output
        click.echo(in_one_line(f"error: {error}"), err=True)
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    sys.exit(code)


def main() -> None:
    """The entry point of `reid-runtime`."""
    run(group)
