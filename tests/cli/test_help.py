"""What a new user meets first: the command alone, the examples of each verb's help, tables and colours on terminals."""

import re
import shlex
import shutil
from pathlib import Path

import click
import onnx
import pytest
from click.shell_completion import BashComplete

from reid_runtime.cli import group, terminal
from reid_runtime.model_file.packaged import PACKAGED, model_path

EXAMPLES = Path(__file__).parents[2] / "examples"


def leaves(command, words=()):
    """(the words of a verb, its command): `gallery add` is one."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from leaves(command.get_command(click.Context(command), name), (*words, name))
    else:
        yield words, command


def commands_of(epilog):
    """The example commands, each as its words behind `reid-runtime`."""
    text = (epilog or "").replace("\\\n", " ")
    return [shlex.split(line.partition("reid-runtime ")[2]) for line in text.splitlines() if "reid-runtime " in line]


VERBS = dict(leaves(group))
CHEAP = ("same", "gallery", "search", "datasets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """examples/crops, and a model without a contract."""
    folder = tmp_path_factory.mktemp("help")
    shutil.copytree(EXAMPLES / "crops", folder / "examples" / "crops")
    model = onnx.load(model_path("tiny"))
    del model.metadata_props[:]
    onnx.save(model, folder / "model.onnx")
    return folder


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_shows_itself_in_its_examples(words):
    examples = commands_of(VERBS[words].epilog)
    assert any(example[: len(words)] == list(words) for example in examples)
    assert all(len(line) <= 78 for line in VERBS[words].epilog.splitlines())


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_examples_are_understood(words, folder, monkeypatch):
    """By click: verbs, options and values are right, and files that have to be there are, or are made before."""
    monkeypatch.chdir(folder)
    for name in ("base.npz", "small.npz"):
        Path(name).touch()
    for example in commands_of(VERBS[words].epilog):
        verb = next(leaf for leaf in VERBS if example[: len(leaf)] == list(leaf))
        with VERBS[verb].make_context(" ".join(verb), example[len(verb) :]) as context:
            assert context.params


@pytest.mark.parametrize("words", [(), ("gallery",), *VERBS], ids=" ".join)
def test_help_fits_into_80_columns(words, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run = command(*words, "--help")
    assert run.out.startswith("Usage: ")
    assert [line for line in run.out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(("words", "near"), [(["serch"], "'search'"), (["gallery", "ad"], "'add'"), (["xyz"], None)])
def test_a_misspelt_verb_is_told_the_nearest(command, words, near):
    run = command(*words)
    assert run.code == 2
    assert run.err.endswith(f"No such command '{words[-1]}'.{f' Did you mean {near}?' if near else ''}\n")


def test_cheap_examples_run_as_they_stand(folder, command, monkeypatch):
    """One after another, by the smallest model."""
    run_examples(command, folder, monkeypatch, [verb for verb in VERBS if verb[0] in CHEAP and verb[-1] != "upgrade"])


@pytest.mark.slow
def test_all_examples_run_as_they_stand(folder, command, monkeypatch):
    run_examples(command, folder, monkeypatch, VERBS)


def run_examples(command, folder, monkeypatch, verbs):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(PACKAGED, "base", PACKAGED["tiny"])
    for name in ("base.npz", "small.npz"):
        Path(name).unlink(missing_ok=True)
    done = []
    for verb in verbs:
        for words in commands_of(VERBS[verb].epilog):
            if words not in done and "-" not in words:  # standard input
                run = command(*words)
                assert run.code == 0, (words, run.err)
                done.append(words)
    assert len(done) >= len(verbs)


def test_the_command_alone_shows_what_is_done_first(command):
    run = command()
    assert (run.code, run.out) == (2, "")
    steps = [line for line in run.err.splitlines() if line.startswith("  ")]
    assert [shlex.split(line.partition("reid-runtime ")[2])[0] for line in steps] == ["embed", "search", "cluster"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_embed_says_what_can_be_done_next(folder, command, tiny_model, tmp_path, options):
    run = command("embed", folder / "examples/crops", "-o", tmp_path / "x y.npz", "--model", tiny_model, *options)
    assert run.err.splitlines()[-1].startswith(f"next: reid-runtime search IMAGE --in '{tmp_path}") == (not options)


def test_one_of_a_kind_is_singular_in_every_verb(command, tmp_path, monkeypatch, folder, tiny_model):
    """One image of one person from one camera, in all that is printed and in every page."""
    monkeypatch.chdir(tmp_path)
    image = "one/anna/camera-1/view.jpg"
    (tmp_path / image).parent.mkdir(parents=True)
    shutil.copy(folder / "examples/crops/person-05/camera-1/view-1.jpg", image)
    (tmp_path / "one/note.txt").touch()
    model = ("--model", tiny_model, "--device", "cpu")
    lines = [
        ("embed", "one", "-o", "one.npz", *model),
        ("merge", "one.npz", "-o", "merged.npz"),
        ("search", image, "--in", "one", "--report", "search.html", *model),
        ("cluster", "one", "-o", "people", "--threshold", "0.5", *model),
        ("gallery", "add", "g.gallery", "one", *model),
        ("gallery", "list", "g.gallery"),
        ("gallery", "check", "g.gallery"),
        ("gallery", "page", "g.gallery", "-o", "gallery.html"),
        ("gallery", "export", "g.gallery", "-o", "export.npz"),
        ("gallery", "list", "g.gallery", "--exports"),
        ("gallery", "forget", "g.gallery", "anna"),
        ("evaluate", "one", *model),
        ("calibrate", "one", *model),
        ("describe", "base"),
    ]
    printed = ""
    for words in lines:
        run = command(*words)
        assert run.code == 0 or words[0] in ("evaluate", "calibrate"), run.err
        printed += run.out + run.err
    for page in (Path("search.html"), Path("people/people.html"), Path("gallery.html")):
        printed += page.read_text().partition("<body")[2]
    assert (
        re.findall(r".{20}\b1 (?:people|queries|boxes|images|crops|files|rows|inputs|cameras|tracks)\b", printed) == []
    )


def test_completion_knows_verbs_and_options():
    """As a shell asks for it."""
    shell = BashComplete(group, {}, "reid-runtime", "_REID_RUNTIME_COMPLETE")
    assert [item.value for item in shell.get_completions([], "se")] == ["search"]
    assert [item.value for item in shell.get_completions(["gallery", "search"], "--fp")] == ["--fpir"]


def test_tables_wrap_at_a_terminal_alone(monkeypatch):
    rows = [("ok", "1", "a few words " * 12), ("absent", "10", "b"), ("a longer line of one cell",)]
    (plain, second, last) = terminal.table(rows, "<>")
    assert (plain[:12], second, last) == ("ok       1  ", "absent  10  b", "a longer line of one cell")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    wrapped = terminal.table(rows, "<>")
    assert max(map(len, wrapped)) <= 60
    assert "".join(line[12:] + " " for line in wrapped[:-2]).split() == ("a few words " * 12).split()


def test_notes_wrap_at_a_terminal_alone(monkeypatch, capsys):
    """Names that are longer than that are left whole, and lines of a list keep their indent."""
    name = "folder/" * 20
    lines = ["words of a note " * 9, f"  {name}: not a JPEG, PNG, BMP or WebP image"]
    terminal.note(*lines)
    assert capsys.readouterr().err.splitlines() == lines
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    terminal.note(*lines)
    first, second, path, reason = capsys.readouterr().err.splitlines()
    assert max(len(first), len(second)) <= 80
    assert f"{first} {second.strip()}" == lines[0].strip()
    assert (path, reason) == (f"  {name}:", "    not a JPEG, PNG, BMP or WebP image")


@pytest.mark.parametrize(("variables", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_unless_nobody_wants_them(monkeypatch, capsys, variables, colours):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("click._compat.isatty", lambda stream: True)
    click.echo(terminal.highlight("a.jpg: match: anna"), color=terminal.colour())
    assert ("\x1b[" in capsys.readouterr().out) == colours


def test_only_the_word_that_decides_is_coloured():
    assert click.unstyle(terminal.highlight("  ok  cpu")) == "  ok  cpu"
    assert terminal.highlight("okapi.jpg: somewhere ok") == "okapi.jpg: somewhere ok"
