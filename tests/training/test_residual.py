"""Training the way back from residual codes: codes stay, the decoder learns, a killed run goes on to the same end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import Tensor

import tiny
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import CHECKPOINTS
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.data.sources import MelSource, WaveSource
from visual_echoes.errors import EchoesError
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer, RefinerConfig, fit_cells
from visual_echoes.training.build import build_task
from visual_echoes.training.checkpoint import checkpoint_path
from visual_echoes.training.loop import fit
from visual_echoes.training.recipe import Recipe
from visual_echoes.training.residual import DecoderLoss, ResidualDecoderTask
from visual_echoes.training.run import train

LAYOUT = tiny.LAYOUT
STEPS = 8
REFINER = {"width": 8, "blocks": 1, "split": [2, 4], "fine_width": 8, "fine_blocks": 1}


def sources() -> tuple[MelSource, MelSource]:
    varied = Augmentation(time_shift=0.02, gain_db=3)
    first, second = (MelSource(WaveSource(tiny.pair_split(seed=s), LAYOUT, varied), LAYOUT) for s in (0, 1))
    return first, second


def task(**loss: Any) -> ResidualDecoderTask:
    torch.manual_seed(0)
    train_mels, valid_mels = sources()
    config = CellConfig(
        channels=1, codes=LAYOUT.audio_codes, code_dim=8, depth=3, cell=LAYOUT.audio_factor,
        rows=LAYOUT.audio_grid[0], refiner=RefinerConfig.model_validate(REFINER),
    )  # fmt: skip
    tokenizer = fit_cells(config, train_mels.take(torch.arange(len(train_mels)), None), tiny.generator())
    return ResidualDecoderTask(
        tokenizer, DecoderLoss.model_validate({"discriminator_width": 8, **loss}), train_mels, valid_mels
    )


def test_the_decoder_learns_and_the_codes_stay(tmp_path: Path) -> None:
    trained = task(full_depth_share=0.0)
    learning = {key.split(".")[0] for key, value in trained.model.named_parameters() if value.requires_grad}
    assert learning == {"components", "decoder"}
    before = {key: value.clone() for key, value in trained.model.state_dict().items()}
    batch = trained.batch(64, tiny.generator(5))  # shifted in time, as the codes were not
    (first,) = trained.phases(batch, 0)
    model = fit(trained, tiny.train_settings(60, learning_rate=3e-3, validate_every=60), tmp_path, "fingerprint")
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith(("encoder", "quantize")), key
    (last,) = trained.phases(batch, 0)
    assert last.metrics["l1"] < first.metrics["l1"]


def test_items_are_decoded_from_all_codes_or_from_the_first_few() -> None:
    generator = tiny.generator()
    assert (task(full_depth_share=1.0).batch(64, generator)[1] == 3).all()
    assert set(task(full_depth_share=0.0).batch(64, generator)[1].tolist()) == {1, 2, 3}
    some = task()
    x_BCHW, _ = some.batch(2, generator)
    indices = some.model.encode_unit(x_BCHW)
    codes = some.codes(x_BCHW, torch.tensor([1, 3]))
    assert torch.equal(codes[:1], some.model.quantize.lookup(indices[:1, ..., :1]))
    assert torch.equal(codes[1:], some.model.quantize.lookup(indices[1:]))


def test_segments_are_whole_positions_from_anywhere() -> None:
    x_BCHW, _ = task(segment=2).batch(4, tiny.generator())
    assert x_BCHW.shape == (4, 1, LAYOUT.n_mels, 2 * LAYOUT.audio_factor[1])
    assert task(segment=10_000).batch(4, tiny.generator())[0].shape[3] == LAYOUT.mel_frames


def test_the_total_is_the_weighted_sum_and_the_discriminator_joins_in_time() -> None:
    some = task(
        absolute_weight=3.0, perceptual="edges", perceptual_weight=0.5, adversarial_from=1, adversarial_weight=0.2,
        feature_weight=0.7,
    )  # fmt: skip
    batch = some.batch(4, tiny.generator())
    assert [phase.optimizer for phase in some.phases(batch, 0)] == ["model"]
    phases = list(some.phases(batch, 1))
    assert [phase.optimizer for phase in phases] == ["model", "discriminator"]
    parts = phases[0].metrics
    total = 3.0 * parts["l1"] + 0.5 * parts["perceptual"] + 0.2 * parts["adversarial"] + 0.7 * parts["features"]
    torch.testing.assert_close(phases[0].loss, total)


def test_the_discriminator_can_tell_high_from_low() -> None:
    discriminator = task(adversarial_from=0).modules["discriminator"]
    flat_BCHW = torch.zeros(1, 1, 64, 64)
    ((score, features),) = discriminator(flat_BCHW)
    assert len(features) == 3
    rows = score[0, 0].mean(1)
    assert float((rows[3] - rows[-4]).abs()) > 1e-6


def test_a_killed_training_goes_on_to_the_same_end(tmp_path: Path) -> None:
    def kill() -> None:
        raise KeyboardInterrupt

    def state(kill_at: int | None, output: Path) -> dict[str, Tensor]:
        trained = task(adversarial_from=2, segment=2)
        if kill_at is not None:
            tiny.at_step(trained, kill_at, kill)
        fit(trained, tiny.train_settings(STEPS, validate_every=STEPS), output, "fingerprint")
        return load_file(checkpoint_path(output / CHECKPOINTS, STEPS))

    whole = state(None, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        state(5, tmp_path / "killed")
    resumed = state(None, tmp_path / "killed")
    assert resumed.keys() == whole.keys()
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, name in enumerate(("train", "valid")):
        write_split(tmp_path, name, tiny.pair_split(seed=seed))
    write_description(tmp_path, LAYOUT, ["a", "b", "c"], {})
    return tmp_path


def recipe(data: Path, **changes: Any) -> Recipe:
    values = {
        "kind": "audio-residual", "layout": LAYOUT.name, "data": data, "output": data / "run", "codes": data / "codes",
        "model": {"depth": 2, "components": 8, "refiner": REFINER},
        "train": {"steps": 2, "batch_size": 2, "learning_rate": 1e-3}, **changes,
    }  # fmt: skip
    return TypeAdapter(Recipe).validate_python(values)


def test_a_recipe_fits_codes_once_and_exports_a_tokenizer_that_loads(data: Path) -> None:
    folder = train(recipe(data))
    codes, trained = (load_model(path).parts["audio_vqgan"] for path in (data / "codes", folder))
    assert isinstance(codes, CellTokenizer)
    assert isinstance(trained, CellTokenizer)
    assert codes.config.refiner is None
    assert all(torch.equal(value, value.half().float()) for value in codes.state_dict().values())
    assert trained.config.refiner is not None
    assert torch.equal(codes.quantize.embedding.weight, trained.quantize.embedding.weight)
    written = (data / "codes" / "config.json").stat().st_mtime_ns
    again = build_task(recipe(data, output=data / "other"))
    assert (data / "codes" / "config.json").stat().st_mtime_ns == written
    assert torch.equal(again.modules["model"].quantize.embedding.weight, codes.quantize.embedding.weight)


def test_what_is_stored_in_half_precision_gives_the_same_codes(data: Path) -> None:
    folder = train(recipe(data))
    model = load_model(folder)
    save_model(data / "half", model, half=True)
    mels = sources()[1].take(torch.arange(6), None)
    halved, whole = (load_model(path).parts["audio_vqgan"] for path in (data / "half", folder))
    assert isinstance(halved, CellTokenizer)
    assert isinstance(whole, CellTokenizer)
    assert torch.equal(halved.encode_unit(mels), whole.encode_unit(mels))
    assert halved.components.weight.dtype == torch.float32


def test_codes_of_another_recipe_are_refused(data: Path) -> None:
    build_task(recipe(data))
    with pytest.raises(EchoesError, match="other codes"):
        build_task(recipe(data, model={"depth": 3, "components": 8, "refiner": REFINER}))
