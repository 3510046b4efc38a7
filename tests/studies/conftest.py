"""A bench of toys, and recipes that train for moments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation import toys
from visual_echoes.data.pairs import write_split
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.bench import Bench, Counts

COUNTS = Counts(images=20, sounds=10, pairs=4)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy digits with all three splits; not to be changed."""
    folder = toys.write_data(tmp_path_factory.mktemp("data") / "toys", toys.split(0), toys.split(1))
    write_split(folder, "valid", toys.split(2))
    return folder


@pytest.fixture
def bench(data: Path) -> Callable[[VisualEchoes], Bench]:
    """A function: the bench of a model."""
    return lambda echoes: Bench(echoes, data, toys.classifiers(), COUNTS, 64)


@pytest.fixture
def recipes(data: Path, model_folder: Path, tmp_path: Path) -> Path:
    """A folder of recipes like the shipped one."""
    folder = tmp_path / "mini"
    folder.mkdir()
    common = f"""
layout = "debug"
data = "{data}"
output = "{tmp_path / "unused"}"
image_vqgan = "{model_folder}"
audio_vqgan = "{model_folder}"
train = {{ steps = 4, batch_size = 4, learning_rate = 1e-2, log_every = 1, checkpoint_every = 4, precision = "fp32" }}
"""
    sizes = "width = 16, heads = 2, dropout = 0.0"
    (folder / "base.toml").write_text(
        f'kind = "transformer"{common}model = {{ {sizes}, encoder_layers = 1, decoder_layers = 1 }}\n'
    )
    (folder / "autoregressive.toml").write_text(f'kind = "autoregressive"{common}model = {{ {sizes}, layers = 1 }}\n')
    return folder
