from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from visual_echoes.model import remembered as module
from visual_echoes.model.remembered import remembered

NAMES = ["float32", "bfloat16"]
FAST, SLOW = {"float32": 1.0, "bfloat16": 2.0}, {"float32": 1.0, "bfloat16": 0.5}


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "visual-echoes" / "speeds.json"


def ask(speeds: dict[str, float], what: str = "a block") -> object:
    return remembered(what, "cpu", NAMES, lambda: speeds)


def test_what_was_measured_once_is_not_measured_again() -> None:
    assert ask(FAST) == FAST
    assert ask(SLOW) == FAST
    assert ask(SLOW, "a convolution") == SLOW
    assert ask(SLOW) == FAST


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(torch, "__version__", "9.9"),
        lambda patch: patch.setattr(torch, "get_num_threads", lambda: 77),
        lambda patch: patch.setattr(module, "machine", lambda: "another"),
    ],
)
def test_another_machine_torch_or_number_of_threads_is_measured_anew(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(FAST)
    change(monkeypatch)
    assert ask(SLOW) == SLOW


def broken(content: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(content)

    return change


def other_values(value: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), value)))

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        broken("{"), broken("[]"), broken("\"" + "x" * module.LIMIT + "\""),
        other_values({"float32": 1.0}), other_values({"float32": 1.0, "bfloat16": -1.0}), other_values(3),
        other_values({"float32": 1.0, "bfloat16": "fast"}),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_replaced(spoil: Callable[[Path], None], file: Path) -> None:
    ask(FAST)
    spoil(file)
    assert ask(SLOW) == SLOW
    assert ask(FAST) == SLOW


def test_where_nothing_can_be_kept_it_is_measured_every_time(file: Path) -> None:
    file.parent.write_text("a file where the folder should be")
    assert ask(FAST) == FAST
    assert ask(SLOW) == SLOW
