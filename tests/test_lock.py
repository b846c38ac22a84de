"""What continuous integration installs is locked: each extra that it names, with versions that fit, and digests."""

import re
import tomllib
from pathlib import Path

import pytest

requirements = pytest.importorskip("packaging.requirements")

ROOT = Path(__file__).parents[1]
LOCK = ROOT / ".ci" / "requirements.txt"


def normal(name):
    return re.sub("[-_.]+", "-", name.lower())


def locked(path):
    """The version and the number of digests by a package's name."""
    entries = re.findall(r"^([\w.-]+)==(\S+)((?: \\\n\s+--hash=sha256:[0-9a-f]{64})*)", path.read_text(), re.M)
    return {normal(name): (version, digests.count("--hash")) for name, version, digests in entries}


@pytest.mark.slow  # of who locks anew; CI says what is not locked
def test_every_requirement_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (ROOT / ".ci" / "extras").read_text().strip().split(",")
    wanted = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    versions = locked(LOCK)
    for each in map(requirements.Requirement, wanted):
        name = normal(each.name)
        assert name in versions, f"{each} is not in {LOCK.name}: bash .ci/lock"
        assert versions[name][0] in each.specifier, f"{each}, and {versions[name][0]} is locked: bash .ci/lock"
    constraints = (ROOT / "constraints-cpu.txt").read_text()
    assert all(f"{name}=={versions[name][0]}\n" in constraints for name in ("torch", "torchvision"))


@pytest.mark.parametrize("path", sorted((ROOT / ".ci").glob("*.txt")), ids=lambda path: path.name)
def test_every_version_has_its_digests_and_no_host_is_named(path):
    text = path.read_text()
    lines = [line for line in text.splitlines() if line[:1].isalnum()]
    versions = locked(path)
    assert len(versions) == len(lines) > 0
    assert all(count > 0 for _, count in versions.values())
    assert "://" not in text
