"""Running the command in this process, and files to run it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import tiny
from visual_echoes.cli import app
from visual_echoes.media import write_wav

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    """A function: run `echoes` with these arguments."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Five different images."""
    noise = np.random.default_rng(0)
    paths = [tmp_path / f"picture-{index}.png" for index in range(5)]
    for path in paths:
        Image.fromarray(noise.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    """Five different tones."""
    times = np.arange(1500) / tiny.LAYOUT.sample_rate
    paths = [tmp_path / f"sound-{index}.wav" for index in range(5)]
    for index, path in enumerate(paths):
        write_wav(path, 0.4 * np.sin(2 * np.pi * 300 * (index + 1) * times), tiny.LAYOUT.sample_rate, {})
    return paths


def names(folder: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())
