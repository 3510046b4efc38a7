"""The example notebooks run from top to bottom, in under a minute each."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from docs.blocks import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
LONGEST = 60  # seconds of processor time, which a busy machine does not stretch


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the cells display, in place of IPython, which a notebook's reader has and the project does not need."""
    things: list[object] = []
    module = ModuleType("IPython.display")
    module.__dict__.update(display=things.append, Audio=lambda wave, rate: (len(wave), rate))
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return things


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_runs(path: Path, shown: list[object]) -> None:
    began = time.process_time()
    namespace: dict[str, object] = {}
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "clear the outputs before committing"
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), namespace)
    assert len(shown) > 5
    assert time.process_time() - began < LONGEST
