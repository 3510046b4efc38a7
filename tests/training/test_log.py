"""What a run logs at Weights & Biases, with a stand-in for its package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tiny
from visual_echoes.checkpoints.run_folder import RECIPE_FILE
from visual_echoes.errors import EchoesError
from visual_echoes.training.log import RunLog
from visual_echoes.training.loop import fit
from visual_echoes.training.task import Validation


class Wandb(SimpleNamespace):
    """The package, as far as it is used; it notes what it is told."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.alerts: list[tuple[str, str]] = []
        self.ended: list[int] = []

    def init(self, **options: Any) -> Wandb:
        if options["project"] == "forbidden":
            raise self.Error("no permission")
        self.opened.append(options)
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logged.append((step, values))

    def alert(self, title: str, text: str) -> None:
        self.alerts.append((title, text))

    def finish(self, exit_code: int) -> None:
        self.ended.append(exit_code)

    def Image(self, pixels: Any) -> tuple[Any, ...]:
        return "image", pixels.shape

    def Audio(self, wave: Any, sample_rate: int) -> tuple[Any, ...]:
        return "audio", wave.shape, sample_rate


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    package = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", package)  # type: ignore[arg-type]
    return package


def test_weights_and_biases_get_what_the_log_gets(wandb: Wandb, tmp_path: Path) -> None:
    (tmp_path / RECIPE_FILE).write_text('{"kind": "vocoder"}')
    images, sounds = {"sheet": np.zeros((2, 3, 1), np.uint8)}, {"tone": (np.zeros(5, np.float32), 8000)}
    shown = Validation({"psnr": 9.0}, images, sounds)
    with RunLog(tmp_path, 0, True, "echoes") as log:
        log.scalars("train", {"loss/model": 1.5}, 10)
        log.alarm("the loss jumped", 10)
        log.validation(shown, 20)
    assert wandb.opened[0]["project"] == "echoes"
    assert (wandb.opened[0]["name"], wandb.opened[0]["config"]) == (tmp_path.name, {"kind": "vocoder"})
    assert wandb.logged == [
        (10, {"train/loss/model": 1.5}),
        (20, {"valid/psnr": 9.0}),
        (20, {"sheet": ("image", (2, 3, 1)), "tone": ("audio", (5,), 8000)}),
    ]
    assert wandb.alerts == [("step 10", "the loss jumped")]
    assert wandb.ended == [0]


def test_a_run_that_goes_on_does_so_there_too(wandb: Wandb, tmp_path: Path) -> None:
    with pytest.raises(KeyError), RunLog(tmp_path, 0, True, "echoes"):
        raise KeyError
    with RunLog(tmp_path, 5, True, "echoes"):
        pass
    first, second = wandb.opened
    assert first["id"] == second["id"]
    assert second["resume"] == "allow"
    assert wandb.ended == [1, 0]
    (tmp_path / "other").mkdir()
    with RunLog(tmp_path / "other", 0, True, "echoes"):
        pass
    assert wandb.opened[2]["id"] != first["id"]


def test_a_training_tells_it_only_if_asked_and_only_from_the_main_process(wandb: Wandb, tmp_path: Path) -> None:
    settings = tiny.train_settings(2, validate_every=2)
    fit(tiny.transformer_task(), settings, tmp_path / "quiet", "f")
    RunLog(tmp_path, 0, False, "echoes")
    assert wandb.opened == []
    fit(tiny.transformer_task(), settings, tmp_path / "loud", "f", wandb_project="echoes")
    assert [step for step, values in wandb.logged if "train/loss/model" in values] == [1, 2]


def test_a_refusal_is_one_sentence(wandb: Wandb, tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match=r"cannot be used \(no permission\); log in with `wandb login`"):
        RunLog(tmp_path, 0, True, "forbidden")


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # type: ignore[arg-type]
    RunLog(tmp_path, 0, True).__exit__(None)
    with pytest.raises(EchoesError, match="install it with: pip install wandb, or leave --wandb out"):
        RunLog(tmp_path, 0, True, "echoes")
