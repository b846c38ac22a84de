"""Where reports go: whether they can be written is known before the work, and what a single command says of its run."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import accuracy, scoring, soak
from benchmarks.cases import subject_options
from benchmarks.measurements import Found, hand_over, output_option, read_report
from reid_runtime.errors import StorageError

from ..sample_images import encode, sample_image


@pytest.fixture
def work():
    """A command with -o, and how often it got to its work."""
    done = []

    @click.command()
    @output_option
    def command(output):
        done.append(output)
        hand_over("work", Found(), "a table", output)

    return command, done


def test_a_file_that_is_there_is_refused_before_the_work_and_overwritten_by_force(work, tmp_path):
    command, done = work
    output = tmp_path / "x.json"
    output.write_text("old")
    with pytest.raises(StorageError, match="exists and is not overwritten"):
        command.main(["-o", str(output)], standalone_mode=False)
    assert (done, output.read_text()) == ([], "old")
    command.main(["-o", str(output), "--force"], standalone_mode=False)
    assert read_report(output).benchmark == "work"


def test_a_folder_that_is_not_there_is_refused_before_the_work(work, tmp_path):
    command, done = work
    with pytest.raises(StorageError, match="is not a folder"):
        command.main(["-o", str(tmp_path / "none" / "x.json")], standalone_mode=False)
    assert not done
    command.main([], standalone_mode=False)
    assert done == [None]


def test_every_command_that_ends_with_a_file_asks_first(tiny_model, tmp_path, monkeypatch):
    for name in ("x.json", "soak.json", "soak.png"):
        (tmp_path / name).write_text("old")
    output = str(tmp_path / "x.json")
    monkeypatch.setattr(scoring, "measure_apart", None)
    monkeypatch.setattr(soak, "measure", None)
    monkeypatch.setattr(soak, "resident", lambda: 0)
    monkeypatch.setattr(accuracy, "read_evidence", None)
    for main, words in (
        (scoring.main, ["-o", output]),
        (soak.main, ["-o", str(tmp_path)]),
        (accuracy.main, [str(tiny_model), "--reference", str(tiny_model), "-o", output]),
    ):
        with pytest.raises(StorageError, match="exists and is not overwritten"):
            main.main(words, standalone_mode=False)
    (tmp_path / "soak.json").unlink()
    with pytest.raises(StorageError, match=r"soak\.png exists"):
        soak.main.main(["-o", str(tmp_path)], standalone_mode=False)


def test_a_single_commands_report_says_what_it_ran_on_and_how(tiny_model, tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for seed in range(2):
        (crops / f"{seed}.png").write_bytes(encode(sample_image(40, 24, seed), "PNG"))

    @click.command()
    @subject_options
    @output_option
    def command(setup, output):
        hand_over("work", Found(), "a table", output)

    words = ["--model", str(tiny_model), "--crops", str(crops), "--quick", "-o", str(tmp_path / "x.json")]
    run = CliRunner().invoke(command, words, catch_exceptions=False)
    assert run.output == "a table\n"
    about = read_report(tmp_path / "x.json").environment
    assert set(about["artefacts"]) == {Path(tiny_model).name}
    assert about["reference"]["name"] == "tiny.onnx"
    assert about["evidence"].startswith("sha256:")
    assert about["budget"].startswith("trial")
    assert about["command"].partition(" ")[0].startswith("py")
    assert "data" not in about
