"""What stands beside the code says the same as the code."""

import re
import tomllib
from pathlib import Path

import pytest

import reid_runtime

ROOT = Path(__file__).parents[1]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


CONTRIBUTING = text_of("CONTRIBUTING.md")


def test_the_citation_and_the_changelog_name_this_version():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    citation = text_of("CITATION.cff")
    assert f"version: {reid_runtime.__version__}\n" in citation
    assert f"license: {project['license']}\n" in citation
    assert f"## {reid_runtime.__version__}" in text_of("CHANGELOG.md")


@pytest.mark.parametrize(
    "name", re.findall(r"`((?:reid_runtime|training|tests)/[\w/]+\.py)`", text_of("CONTRIBUTING.md"))
)
def test_files_that_contributing_names_are_there(name):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize(("table", "file"), re.findall(r"\| `([A-Z_]{4,})` in `([\w/]+\.py)`", CONTRIBUTING))
def test_tables_that_contributing_names_are_there(table, file):
    assert re.search(rf"^{table}\b.* = ", text_of(file), re.MULTILINE)


def test_badges_say_what_the_project_says():
    project = tomllib.loads(text_of("pyproject.toml"))
    shown = re.findall(r"\((docs/badges/\w+\.svg)\)", text_of("README.md"))
    titles = {Path(name).stem: re.search("<title>(.*)</title>", text_of(name))[1] for name in shown}
    pythons = [each.split()[-1] for each in project["project"]["classifiers"] if "Python :: 3." in each]
    assert titles.pop("python") == f"Python: {' | '.join(pythons)}"
    assert titles.pop("licence") == f"licence: {project['project']['license']}"
    assert project["tool"]["mypy"]["strict"]
    assert (ROOT / "reid_runtime/py.typed").is_file()
    assert titles == {"types": "types: mypy strict"}


def test_the_readme_stays_short():
    assert len(text_of("README.md").splitlines()) <= 160
