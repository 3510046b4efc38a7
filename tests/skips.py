"""A pytest plugin: no test is left out without a word.

At the end of a run it says what was left out and how to run it. With `--strict-skips` the run fails where a test was
left out that `allowed_skips.toml` does not name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.toml")
EVERYTHING = "make test-all"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help=f"fail on a skip that {ALLOWED.name} does not name")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Skips(bool(config.getoption("strict_skips"))))


def allowed() -> dict[str, str]:
    """Why a test may be left out, by the beginning of its name."""
    return {entry["test"]: entry["why"] for entry in tomllib.loads(ALLOWED.read_text(encoding="utf-8"))["allowed"]}


def unexpected(skipped: Iterable[str]) -> list[str]:
    """The names of skipped tests, and of whole files, that the list does not allow."""
    return [name for name in skipped if not name.startswith(tuple(allowed()))]


class Skips:
    """What a run leaves out."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.skipped: list[str] = []  # names of tests, and of files that were left out whole

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "wasxfail"):
            self._note(report)

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped:
            self.skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.strict and session.exitstatus == pytest.ExitCode.OK and unexpected(self.skipped):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        yield  # all else is said before
        found = unexpected(self.skipped)
        if self.strict:
            for name in found:
                terminalreporter.write_line(f"Left out, which {ALLOWED.name} does not allow: {name}", red=True)
        elif found:
            files = ", ".join(dict.fromkeys(name.split("::")[0] for name in found))
            terminalreporter.write_line(f"Left out: {files}; `{EVERYTHING}` installs what is missing and runs all.")
