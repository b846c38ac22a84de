"""A pytest plugin for the same tests in two environments: the second leaves out the files that would only repeat.

    pytest -p repeats --note=FILE         the first, smaller environment: what each file asked for and did not get
    pytest -p repeats --leave-out=FILE    leaves out those to which the second gives nothing more

With =, for pytest takes the words of options that it does not know yet for paths, and the root for theirs.
A file is left out where all of its tests ran and passed, none started a process, and no package or distribution that
was asked for in vain, while it was read or while its tests ran, is there now.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Generator, Iterator
from importlib import metadata
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PROCESS = "a process"
"""Stands among what was asked for where a process was started: what that asks for is not seen."""
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--note", metavar="FILE", help="write what each test file asked for and did not get")
    parser.addoption("--leave-out", metavar="FILE", help="leave out what would repeat the run that wrote FILE")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--note"):
        config.pluginmanager.register(_Notes(config), "notes")


class _Notes:
    """Sees what is asked for in vain: the last finder is asked for what no other has."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.file = ""
        self.lacking: defaultdict[str, set[str]] = defaultdict(set)
        self.incomplete: set[str] = set()
        sys.meta_path.append(self)
        sys.addaudithook(lambda event, _: self._ask(PROCESS) if event in _STARTS else None)

    def _ask(self, name: str) -> None:
        if not name.startswith("tests."):  # pytest asks for its packages, and reads them itself
            self.lacking[self.file].add(name)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        self._ask(name)
        return None

    def find_distributions(self, context: metadata.DistributionFinder.Context) -> Iterator[metadata.Distribution]:
        self._ask(context.name or PROCESS)  # all of them: as good as unseen
        return iter(())

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        self.file = collector.nodeid.split("::")[0]
        report = yield
        if not report.passed:
            self.incomplete.add(self.file)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self.file = item.nodeid.split("::")[0]
        self.lacking.setdefault(self.file, set())
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.incomplete.add(report.nodeid.split("::")[0])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """What a worker of pytest-xdist saw."""
        lacking, incomplete = node.workeroutput["notes"]
        self.incomplete |= set(incomplete)
        for file, names in lacking.items():
            self.lacking[file] |= set(names)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        notes = {file: sorted(names) for file, names in self.lacking.items()}, sorted(self.incomplete)
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["notes"] = notes
        else:
            complete = {file: names for file, names in notes[0].items() if file not in self.incomplete}
            Path(self.config.getoption("--note")).write_text(json.dumps(complete, indent=1))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--leave-out"):
        return
    complete = json.loads(Path(config.getoption("--leave-out")).read_text())
    repeated = {file for file, names in complete.items() if not any(map(_is_here, names))}
    left_out = [item for item in items if item.nodeid.split("::")[0] in repeated]
    items[:] = [item for item in items if item.nodeid.split("::")[0] not in repeated]
    config.hook.pytest_deselected(items=left_out)


def _is_here(name: str) -> bool:
    if name == PROCESS:
        return True
    try:
        if find_spec(name) is not None:
            return True
        metadata.distribution(name)
    except (ImportError, ValueError):  # of a parent that is not there; a distribution that is not there
        return False
    return True
