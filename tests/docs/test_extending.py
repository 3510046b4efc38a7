"""Every change that the page on extending shows is applied to a copy of the package, and does what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from docs.blocks import APPLIED, ROOT, Block, blocks, commands

PACKAGE = ROOT / "src/visual_echoes"
EXAMPLES = ROOT / "examples"
TEXT = APPLIED.read_text(encoding="utf-8")
HEADING = re.compile(r"^## (?P<what>.+): (?P<files>one|two|three) files?$", re.MULTILINE)
NUMBERS = {"one": 1, "two": 2, "three": 3}
CHANGED = re.compile(r"^\+\+\+ b/(\S+)$", re.MULTILINE)


def sections() -> dict[str, tuple[int, list[Block]]]:
    """By what is added: how many files that takes, and the code blocks."""
    found = list(HEADING.finditer(TEXT))
    ends = [TEXT[: match.start()].count("\n") + 1 for match in found[1:]] + [TEXT.count("\n") + 1]
    starts = [TEXT[: match.start()].count("\n") + 1 for match in found]
    every = blocks(APPLIED)
    return {
        match["what"]: (NUMBERS[match["files"]], [block for block in every if start < block.line <= end])
        for match, start, end in zip(found, starts, ends, strict=True)
    }


SECTIONS = sections()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the package's code in `src`, and images in `pictures`."""
    package = tmp_path / "src/visual_echoes"
    data = {"models", "examples", "recipes", "weights"}
    shutil.copytree(PACKAGE, package, ignore=lambda _, names: [*data.intersection(names), "__pycache__"])
    for place in (place for name in data for place in PACKAGE.rglob(name) if place.is_dir()):
        (package / place.relative_to(PACKAGE)).symlink_to(place, target_is_directory=True)
    shutil.copytree(PACKAGE / "examples/digits", tmp_path / "pictures", ignore=shutil.ignore_patterns("*.wav", "*.md"))
    return tmp_path


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def apply(folder: Path, what: str, files: Mapping[str, str] | None = None) -> None:
    """Put the section's changes in place: its diffs applied, the example's files copied to where they are named."""
    count, parts = SECTIONS[what]
    changed: list[str] = []
    for source, place in (files or {}).items():
        changed.append(place)
        shutil.copy(EXAMPLES / source, folder / place)
    for block in parts:
        if block.language == "diff":
            changed += CHANGED.findall(block.content)
            (folder / "change.diff").write_text(block.content, encoding="utf-8")
            run(folder, "git", "apply", "--recount", "change.diff")
    assert len(set(changed)) == count
    config = ("--config", str(ROOT / "pyproject.toml"))
    run(folder, sys.executable, "-m", "ruff", "check", "--ignore", "I001", *config, *sorted(set(changed)))
    run(folder, sys.executable, "-m", "ruff", "format", "--check", *config, *sorted(set(changed)))


def shell(folder: Path, what: str) -> None:
    """Run the commands of the section's `sh` blocks with the changed package."""
    (block,) = (block for block in SECTIONS[what][1] if block.language == "sh")
    for words in filter(None, commands(block.content)):
        assert words[0] == "echoes"
        run(folder, sys.executable, "-m", "visual_echoes", *words[1:])


def test_the_page_shows_the_four() -> None:
    assert list(SECTIONS) == ["A sampling order", "A metric", "A tokenizer", "A stream"]
    assert [count for count, _ in SECTIONS.values()] == [1, 1, 2, 3]


def test_an_order(folder: Path) -> None:
    apply(folder, "A sampling order")
    shell(folder, "A sampling order")
    assert "random" in run(folder, sys.executable, "-m", "visual_echoes", "info", "pairs/pair-0001.wav")


def test_a_metric(folder: Path) -> None:
    apply(folder, "A metric")
    shell(folder, "A metric")
    for name in ("report.json", "report.html"):
        assert "mean error (levels)" in (folder / "report" / name).read_text(encoding="utf-8")


def test_a_tokenizer(folder: Path) -> None:
    apply(folder, "A tokenizer", {"tokenizer/flat.py": "src/visual_echoes/tokenizers/flat.py"})
    run(folder, sys.executable, str(EXAMPLES / "tokenizer/use.py"))


def test_a_stream(folder: Path) -> None:
    example = EXAMPLES / "stream"
    (shown_lines,) = (block for block in SECTIONS["A stream"][1] if block.language == "python")
    assert shown_lines.content in (example / "layout.py").read_text(encoding="utf-8")
    apply(folder, "A stream", {f"stream/{path.name}": path.name for path in example.glob("*.py")})
    shown = run(folder, sys.executable, "model.py")
    assert "'image': (2, 16, 1), 'audio': (2, 32, 1), 'brightness': (2, 1, 1)" in shown.splitlines()[-1]
