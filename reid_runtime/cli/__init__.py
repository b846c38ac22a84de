"""The command `reid-runtime`: a module per verb, each imported only when it is called."""

import difflib
import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import FrameType
from typing import ClassVar

import click

from reid_runtime.cli import json_lines
from reid_runtime.cli.terminal import colour, highlight
from reid_runtime.errors import OptionsError, ReidRuntimeError
from reid_runtime.install import missing
from reid_runtime.io.text import in_one_line

_LENGTH = 200
"""Characters of an error's line, without the paths in it; -v prints all of it."""
_LONGEST_PATH = 4096
_PATIENCE = 2.0
"""Seconds after a signal in which another one changes nothing: two quick Ctrl-C keep what was finished, as one does."""
_STUCK = 1.0
"""Seconds after a signal in which the command has to heed it; one that computes in compiled code cannot."""
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_VERBS = {
    "embed": "Embed folders, files and lists of images.",
    "merge": "Merge files and folders of embeddings into one file.",
    "evaluate": "Score a model on a labelled folder.",
    "calibrate": "Measure what similarities mean: thresholds with error rates.",
    "same": "Are two images, or two folders of images, of the same person?",
    "compare": "Compare two saved evaluations: is the change more than noise?",
    "explain": "Show which dimensions and places make two images similar.",
    "cluster": "Tell who is who among unknown people.",
    "gallery": "Keep people, their crops and vectors in one file: add, search, forget.",
    "search": "Look for people in a gallery: a match, one of two, or nobody.",
    "verify": "Check that a model file is intact and gives its vectors on this machine.",
    "models": "List the models that the package carries.",
    "describe": "Print a model's contract, or draft one for a model that has none.",
    "doctor": "Report what is installed, what is missing and why.",
    "datasets": "List the data sets and layouts that can be scored.",
}


class Verbs(click.Group):
    """Imports a verb's module when it is called, so that `embed` does not pay for the imports of all verbs.

    `verbs` are their names and what each does, and `package` is where their modules are.
    """

    package = "reid_runtime.cli"
    verbs: ClassVar[Mapping[str, str]] = _VERBS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in their order."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb; None for another name."""
        if cmd_name not in self.verbs:
            return None
        command: click.Command = import_module(f"{self.package}.{cmd_name}").command
        if all(option.name != _VERBOSE.name for option in command.params):
            command.params += [_LOG_FORMAT, _VERBOSE]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a misspelt verb is told the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.verbs, 1)
            hint = "".join(f" Did you mean {name!r}?" for name in near)
            raise click.UsageError(error.format_message() + hint, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the verbs do, without an import of any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))


_VERBOSE = click.Option(
    ["-v", "--verbose"], is_flag=True, expose_value=False, help="Print all of an error, and where it came from."
)

_LOG_FORMAT = click.Option(
    ["--log-format"], type=click.Choice(["text", "json"]), default="text", show_default=True, expose_value=False,
    help="Standard error as lines of text, or as JSON objects, one a line.",
)  # fmt: skip


class _Interrupted(SystemExit):
    """A signal ends the command; its code is the exit code."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal ends the command, which keeps what is finished; one that comes much later ends it at once."""
    _heeded.set()
    begin = time.monotonic()

    def again(number: int, frame: FrameType | None) -> None:
        if time.monotonic() - begin > _PATIENCE:
            os._exit(128 + number)

    for each in _SIGNALS:
        signal.signal(each, again)
    raise _Interrupted(128 + number)


_heeded = threading.Event()
"""Whether Python has told the command of a signal."""


@cache
def _watch_signals() -> None:
    """Have a signal end the process also where the command is in a call that takes no notice, as a model's may be.

    Nothing of such a command is finished: `embed`, the one that keeps what is, infers in another thread. What is being
    written, on a slow disk, is waited for.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            number = os.read(reading, 1)[0]
            # A command with a handler of its own takes notice itself, as training does after an update.
            while number in _SIGNALS and signal.getsignal(number) is _interrupt and not _heeded.wait(_STUCK):
                atomic = sys.modules.get("reid_runtime.io.atomic")
                if atomic is None or not atomic.is_writing():
                    os._exit(128 + number)

    threading.Thread(target=watch, daemon=True, name="signals").start()


_FIRST_STEPS = """\
Person re-identification: is it the same person, and who is it?

  Embed a folder of crops        reid-runtime embed crops/
  Find a person in a folder      reid-runtime search anna.jpg --in crops/
  Sort a folder by who is in it  reid-runtime cluster crops/ -o people/

All commands: reid-runtime --help. Examples of one: reid-runtime embed --help."""

_COMPLETION = """\b
Completion of commands and options, in ~/.bashrc (zsh_source in ~/.zshrc):
  eval "$(_REID_RUNTIME_COMPLETE=bash_source reid-runtime)\""""


@click.command(
    cls=Verbs, invoke_without_command=True, epilog=_COMPLETION,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip
@click.version_option(package_name="reid-runtime")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Person re-identification: crops of people become unit vectors, close for the same person.

    Exit codes: 0 all done, 1 failure, 2 usage, 3 done with inputs skipped, 129, 130 and
    143 interrupted.
    """
    ctx.color = colour()
    if ctx.invoked_subcommand is None:
        click.echo(_FIRST_STEPS, err=True)
        ctx.exit(2)


def shortened(text: str) -> str:
    """The beginning of a long text: its reason, and the paths in it in full."""
    left = _LENGTH
    for word in re.finditer(r"\S+\s*", text):
        is_path = "/" in word[0] or os.sep in word[0]
        left -= max(0, len(word[0]) - _LONGEST_PATH) if is_path else len(word[0])
        if left < 0:
            return f"{text[: word.start()].rstrip()} ... (all of it: -v)"
    return text


def run(command: click.Command) -> None:
    """Run a command to its exit: errors in one line on standard error, exit codes as documented."""
    _open_standard_streams()
    ours = [each for each in _SIGNALS if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler)]
    for number in ours:  # nohup has SIGHUP ignored
        signal.signal(number, _interrupt)
    if ours and sys.platform != "win32":
        _watch_signals()
    # Pillow's warnings are of an image's metadata, which change nothing here; bad pixels are an ImageError.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if json_lines.is_asked_for(sys.argv[1:]):
        json_lines.begin()
    code: int | str | None = 1
    try:
        code = command.main(standalone_mode=False)
    except (ReidRuntimeError, OSError) as error:  # OSError: a full disk, also behind standard output
        _print_error(str(error))
        code = 2 if isinstance(error, OptionsError) else 1
    except click.ClickException as error:
        if isinstance(sys.stderr, json_lines.JsonLines):
            sys.stderr.put("error", error.format_message())
        else:
            error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except _Interrupted as error:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        # What was finished is kept. The interpreter's own end would wait for threads, and let a late Ctrl-C kill it.
        os._exit(int(str(error.code)))
    except Exception as error:  # a fault of ours, or a foreign file's that nobody thought of
        line = missing(error) if isinstance(error, ModuleNotFoundError) else None
        fault = f"{type(error).__name__}: {error}; this is a fault of reid-runtime, -v prints where it is"
        _print_error(line or fault)
    sys.exit(code)


def _print_error(text: str) -> None:
    verbose = {"-v", "--verbose"} & {*sys.argv}
    if isinstance(sys.stderr, json_lines.JsonLines):
        with suppress(OSError):
            sys.stderr.put("error", text, **({"traceback": traceback.format_exc()} if verbose else {}))
        return
    line = in_one_line(f"error: {text}")
    with suppress(OSError):  # a terminal that is gone
        click.echo(highlight(line if verbose else shortened(line)), err=True, color=colour())
        if verbose:
            click.echo("\n".join(map(in_one_line, traceback.format_exc().splitlines())), err=True)


def _open_standard_streams() -> None:
    """A stream that was closed, `2>&-`, swallows what is printed; else the next file that is opened would get that."""
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    for descriptor, name in enumerate(("stdout", "stderr"), 1):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))


def main() -> None:
    """The entry point of `reid-runtime`."""
    run(group)
