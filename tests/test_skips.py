"""What is left out is said, and with `--strict-skips` only what the list names may be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skips import allowed

TESTS = Path(__file__).parent
ALLOWED_ONE = next(name for name in allowed() if not name.endswith("["))
SKIPPED = "import pytest\n@pytest.mark.skip(reason='why not')\ndef {}(): pass\n"
WHOLE = "import pytest\npytest.importorskip('a_package_that_is_not_there')\ndef test_it(): pass\n"
FAILS_AS_EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n"


def run(folder: Path, files: dict[str, str], *options: str) -> tuple[int, str]:
    """Run some tests with the plugin; exit status and what was said."""
    for name, text in {"pytest.ini": "[pytest]\n", "tests/test_fine.py": "def test_it(): pass\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "pytest", "-p", "skips", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_what_is_left_out_is_said_at_the_end_and_fails_where_it_may_not(tmp_path: Path) -> None:
    files = {"tests/test_one.py": SKIPPED.format("test_it"), "tests/test_whole.py": WHOLE}
    status, said = run(tmp_path, files, "-rs")
    assert status == 0
    assert said.splitlines()[-2].startswith("Left out: tests/test_whole.py, tests/test_one.py; `make test-all` ")
    status, said = run(tmp_path, files, "--strict-skips")
    assert status == 1
    for name in ("tests/test_one.py::test_it", "tests/test_whole.py"):
        assert f"Left out, which allowed_skips.toml does not allow: {name}\n" in said


def test_what_the_list_names_may_be_left_out(tmp_path: Path) -> None:
    file, test = ALLOWED_ONE.split("::")
    status, said = run(tmp_path, {file: SKIPPED.format(test)}, "--strict-skips")
    assert (status, "Left out" in said, "1 skipped" in said) == (0, False, True)


def test_a_failure_that_is_expected_is_no_skip(tmp_path: Path) -> None:
    status, said = run(tmp_path, {"tests/test_known.py": FAILS_AS_EXPECTED}, "--strict-skips")
    assert (status, "Left out" in said, "1 xfailed" in said) == (0, False, True)


@pytest.mark.parametrize("name", allowed())
def test_the_list_names_tests_that_exist(name: str) -> None:
    file, test = name.split("::")
    assert f"def {test.removesuffix('[')}(" in (TESTS.parent / file).read_text(encoding="utf-8")
    assert allowed()[name]
