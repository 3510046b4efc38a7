"""A vocoder's training lowers its losses on segments whose mel and samples belong together."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import tiny
from visual_echoes.audio import mel_filterbank, mel_to_unit, unit_to_mel, wave_to_mel
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, METRICS_FILE, checkpoint_path, checkpoint_steps
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.sources import WaveSource
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.training import vocoder as training
from visual_echoes.training.hifigan_discriminators import (
    DRAW,
    HiFiGANDiscriminator,
    least_squares_discriminator_loss,
    natural_mel_distance,
)
from visual_echoes.training.loop import fit
from visual_echoes.training.vocoder import VocoderTask, VocoderTrainConfig
from visual_echoes.training.vocoder_losses import log_mel_distance, stft_distance
from visual_echoes.vocoders import build_vocoder

DEBUG = LAYOUTS["debug"]
CROPPED = replace(DEBUG, name="cropped", audio_factor=(4, 12))  # 24 of 32 frames, from the fifth on
CPU = torch.device("cpu")
STEPS = 8
SMALL = {"width": 32, "blocks": 2}
HIFIGAN: dict[str, Any] = {
    "kind": "hifigan",
    "discriminator_width": 2,
    "model": {
        "upsample_rates": (8, 8), "upsample_kernel_sizes": (16, 16), "upsample_initial_channel": 32,
        "resblock_kernel_sizes": (3,), "resblock_dilation_sizes": ((1, 3),),
    },
}  # fmt: skip
BOTH_KINDS = pytest.mark.parametrize("kind", [{}, HIFIGAN], ids=["vocos", "hifigan"])


def sounds(count: int, layout: Layout = DEBUG) -> Tensor:
    """Decaying tones as int16."""
    time_N = torch.arange(layout.clip_samples) / layout.sample_rate
    pitch_B = torch.linspace(200.0, 1500.0, count)
    wave_BN = 0.5 * torch.sin(2 * math.pi * pitch_B[:, None] * time_N) * torch.exp(-6.0 * time_N)
    return (wave_BN * 32767.0).to(torch.int16)


def source(waves: Tensor, layout: Layout = DEBUG, **augmentation: float) -> WaveSource:
    """Sounds without images."""
    nothing = torch.zeros(0, dtype=torch.int64)
    split = PairSplit(torch.zeros(0, 1, 1, 1, dtype=torch.uint8), nothing, waves, nothing)
    return WaveSource(split, layout, Augmentation(**augmentation))


def task(layout: Layout = DEBUG, tokenizer: Tokenizer | None = None, **values: Any) -> VocoderTask:
    torch.manual_seed(0)
    config = VocoderTrainConfig(**{"model": SMALL, "segment_frames": 16, **values})
    train = source(sounds(8, layout), layout, time_shift=0.1, gain_db=3.0)
    return VocoderTask(config, layout, train, source(sounds(3, layout), layout), tokenizer)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(trained: VocoderTask, steps: int) -> list[float]:
    optimizers = {
        name: torch.optim.AdamW([p for n in networks for p in trained.modules[n].parameters()], lr=3e-3)
        for name, networks in trained.optimizers.items()
    }
    losses = []
    for step in range(steps):
        for phase in trained.phases(trained.batch(4, generator(step)), step):
            phase.loss.backward()
            optimizers[phase.optimizer].step()
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            if phase.optimizer == "model":
                losses.append(float(phase.loss.detach()))
    return losses


def held_out(trained: VocoderTask) -> dict[str, float]:
    with torch.inference_mode():
        return trained.validate(trained.modules["model"], CPU).metrics


def test_thirty_steps_lower_the_loss_and_the_held_out_distances() -> None:
    mel_filterbank.cache_clear()  # so that the validation is the first to fill it
    trained = task()
    before = held_out(trained)
    losses = train(trained, 30)
    after = held_out(trained)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert after["mel_l1"] < 0.7 * before["mel_l1"]
    assert after["stft"] < before["stft"]


def test_a_hifigan_trains_as_well() -> None:
    losses = train(task(**HIFIGAN), 30)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@BOTH_KINDS
def test_the_discriminator_joins_at_its_step_and_gradients_reach_everything(kind: dict[str, Any]) -> None:
    trained = task(adversarial_from=2, **kind)
    batch = trained.batch(4, generator())
    assert [phase.optimizer for phase in trained.phases(batch, 1)] == ["model"]
    seen = []
    for phase in trained.phases(batch, 2):
        trained.modules.zero_grad()
        phase.loss.backward()
        parameters = [p for n in trained.optimizers[phase.optimizer] for p in trained.modules[n].parameters()]
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in parameters)
        seen.append(phase.optimizer)
    assert seen == ["model", "discriminator"]


@BOTH_KINDS
def test_a_discriminator_learns_to_tell_made_from_real(kind: dict[str, Any]) -> None:
    trained = task(adversarial_from=0, **kind)
    optimizer = torch.optim.AdamW(trained.modules["discriminator"].parameters(), lr=3e-3)
    losses = []
    for step in range(20):
        *_, phase = trained.phases(trained.batch(4, generator(step)), step)
        phase.loss.backward()
        optimizer.step()
        trained.modules.zero_grad()
        trained.after_step(step)
        losses.append(float(phase.loss.detach()))
    assert 0.0 <= losses[-1] < 0.5 * losses[0]


@BOTH_KINDS
@pytest.mark.parametrize("silent", ["adversarial_weight", "feature_weight"])
def test_what_the_discriminator_says_reaches_the_vocoder(silent: str, kind: dict[str, Any]) -> None:
    trained = task(adversarial_from=0, **{"mel_weight": 0.0, "stft_weight": 0.0, silent: 0.0, **kind})
    next(trained.phases(trained.batch(4, generator()), 0)).loss.backward()
    unreached = [name for name, p in trained.model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


def test_a_hifigan_has_its_own_discriminators_and_weights() -> None:
    trained = task(adversarial_from=0, **HIFIGAN)
    assert isinstance(trained.modules["discriminator"], HiFiGANDiscriminator)
    batch = trained.batch(4, generator())
    phase, against = trained.phases(batch, 0)
    metrics = phase.metrics
    parts = 45.0 * metrics["natural_mel_l1"] + metrics["adversarial"] + 2.0 * metrics["features"]
    torch.testing.assert_close(phase.loss, parts)
    with torch.no_grad():
        mel_BMT, wave_BN = trained.segments(batch)
        made_BN = trained.model(mel_BMT)
        judged = trained.modules["discriminator"](torch.cat([wave_BN, made_BN]))
    torch.testing.assert_close(metrics["natural_mel_l1"], natural_mel_distance(made_BN, wave_BN, DEBUG))
    torch.testing.assert_close(against.loss, least_squares_discriminator_loss(judged) / DRAW)


def test_a_hifigans_spectral_norms_follow_their_weights_from_step_to_step() -> None:
    trained = task(adversarial_from=0, **HIFIGAN)
    layer = trained.modules["discriminator"].scales[0].layers[3]
    with torch.no_grad():
        layer.parametrizations.weight.original.normal_(generator=generator())
    for step in range(100):
        trained.after_step(step)
    largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
    assert float(largest) == pytest.approx(1.0, abs=1e-2)


def test_what_a_recipe_leaves_out_follows_from_its_kind() -> None:
    hifigan = VocoderTrainConfig.model_validate({"kind": "hifigan", "mel_weight": 7.0})
    assert (hifigan.mel_weight, hifigan.stft_weight, hifigan.adversarial_weight) == (7.0, 0.0, 1.0)
    assert (hifigan.feature_weight, hifigan.discriminator_width) == (2.0, 32)
    assert VocoderTrainConfig.model_validate(hifigan.model_dump()) == hifigan
    assert VocoderTrainConfig() == VocoderTrainConfig(kind="vocos", mel_weight=15.0, adversarial_weight=0.1)


@BOTH_KINDS
def test_a_killed_training_goes_on_to_the_same_end(kind: dict[str, Any], tmp_path: Path) -> None:
    def state(kill_at: int | None, output: Path) -> dict[str, Tensor]:
        trained = task(adversarial_from=2, **kind)
        if kill_at is not None:
            tiny.at_step(trained, kill_at, kill)
        fit(trained, tiny.train_settings(STEPS, batch_size=2, validate_every=STEPS), output, "fingerprint")
        return load_file(checkpoint_path(output / CHECKPOINTS, STEPS))

    def kill() -> None:
        raise KeyboardInterrupt

    whole = state(None, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        state(5, tmp_path / "killed")
    assert checkpoint_steps(tmp_path / "killed" / CHECKPOINTS)[-1] == 3  # the discriminator has learnt for one step
    resumed = state(None, tmp_path / "killed")
    assert resumed.keys() == whole.keys()
    assert any(key.startswith("module/discriminator/") for key in whole)
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key
    if kind:
        spectral = [key for key in whole if key.endswith(("output_O", "input_I"))]
        assert len(spectral) == 2 * 8  # two for each layer of one discriminator


def test_a_hifigans_batch_in_pieces_learns_the_same(tmp_path: Path) -> None:
    losses, states = [], []
    for pieces in (1, 2):
        settings = tiny.train_settings(STEPS, accumulate=pieces, validate_every=STEPS)
        fit(task(adversarial_from=2, **HIFIGAN), settings, tmp_path / str(pieces), "fingerprint")
        rows = map(json.loads, (tmp_path / str(pieces) / METRICS_FILE).read_text().splitlines())
        losses.append([row[key] for row in rows for key in ("loss/model", "loss/discriminator") if key in row])
        states.append(load_file(checkpoint_path(tmp_path / str(pieces) / CHECKPOINTS, STEPS)))
    assert len(losses[0]) == STEPS + STEPS - 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for key, value in states[0].items():  # as many power iterations, however often the discriminators were asked
        if key.endswith(("output_O", "input_I")):
            torch.testing.assert_close(states[1][key], value, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("layout", [DEBUG, CROPPED], ids=lambda layout: layout.name)
def test_mel_and_samples_of_a_segment_belong_together(layout: Layout) -> None:
    trained = task(layout, segment_frames=8)
    clicks_BN = torch.zeros((8, layout.clip_samples), dtype=torch.int16)
    clicks_BN[:, 14 * layout.hop] = 32767
    trained.train = source(clicks_BN, layout, time_shift=0.1)
    places = set()
    for seed in range(40):
        mel_BMT, wave_BN = trained.segments(trained.batch(1, generator(seed)))
        assert mel_BMT.shape == (1, layout.n_mels, 8)
        assert wave_BN.shape == (1, 8 * layout.hop)
        if wave_BN.any():
            place = int(wave_BN.abs().argmax())
            # A frame is centred on its first sample: the click is loudest in the nearest frame.
            assert abs(int(mel_BMT.mean(1).argmax()) - place / layout.hop) <= 0.5 or place > 7.5 * layout.hop
            places.add(place)
    assert len(places) > 5


def test_a_batch_follows_from_its_generator() -> None:
    trained = task()
    first, again, other = (trained.batch(4, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_share_of_the_items_starts_from_the_tokenizers_mel() -> None:
    tokenizer = tiny.vqgan(tiny.vqgan_config(strides=((2, 2), (2, 2), (1, 2))))
    shares = {}
    for share in (0.0, 0.5, 1.0):
        trained = task(tokenizer=tokenizer, reconstructed_share=share, segment_frames=DEBUG.mel_frames)
        mel_BMT, wave_BN = trained.segments(trained.batch(64, generator()))
        true_BMT = wave_to_mel(wave_BN, DEBUG)
        swapped_B = (mel_BMT != true_BMT).any(2).any(1)
        with torch.no_grad():
            made_BMT = unit_to_mel(tokenizer.decode_unit(tokenizer.encode_unit(mel_to_unit(true_BMT))))
        torch.testing.assert_close(mel_BMT[swapped_B], made_BMT[swapped_B])
        shares[share] = float(swapped_B.float().mean())
    assert shares[0.0] == 0.0
    assert 0.3 < shares[0.5] < 0.7
    assert shares[1.0] == 1.0
    assert not any(parameter.grad is not None for parameter in tokenizer.parameters())
    assert "tokenizer" not in "".join(trained.modules)


def test_validation_compares_with_griffin_lim_which_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = task()
    model = trained.modules["model"]
    with torch.inference_mode():
        first = trained.validate(model, CPU)
        monkeypatch.setattr(training, "GriffinLim", None)
        monkeypatch.setattr(training, "VALIDATION_BATCH", 1)
        again = trained.validate(model, CPU)
    assert set(first.metrics) == {"mel_l1", "stft", "griffin_lim/mel_l1", "griffin_lim/stft"}
    assert again.metrics == pytest.approx(first.metrics, rel=1e-4)
    assert first.metrics["griffin_lim/mel_l1"] < 0.5 * first.metrics["mel_l1"]
    for kind in ("vocoder", "griffin_lim", "original"):
        wave_N, rate = first.sounds[f"{kind}/0"]
        assert wave_N.shape == (DEBUG.samples,)
        assert wave_N.dtype.name == "float32"
        assert rate == DEBUG.sample_rate


def test_the_exported_config_rebuilds_the_model() -> None:
    trained = task()
    exported = trained.export_config()
    rebuilt = build_vocoder(trained.config.kind, exported, DEBUG)
    rebuilt.load_state_dict(trained.modules["model"].state_dict())


def test_distances_are_zero_for_equal_sounds_and_grow_with_the_difference() -> None:
    wave_BN = sounds(2).float() / 32768.0
    noise_BN = torch.randn(wave_BN.shape, generator=generator())
    for distance in (log_mel_distance, stft_distance):
        apart = [float(distance(wave_BN + level * noise_BN, wave_BN, DEBUG)) for level in (0.0, 0.01, 0.1)]
        assert apart[0] == 0.0 < apart[1] < apart[2]


def test_silence_gives_finite_distances_and_gradients() -> None:
    wave_BN = torch.full((1, DEBUG.samples), 1e-3, requires_grad=True)
    for target_BN in (torch.zeros_like(wave_BN), wave_BN.detach().clone()):
        total = log_mel_distance(wave_BN, target_BN, DEBUG) + stft_distance(wave_BN, target_BN, DEBUG)
        (gradient_BN,) = torch.autograd.grad(total, wave_BN)
        assert total.isfinite()
        assert gradient_BN.isfinite().all()


def test_a_segment_longer_than_the_sounds_is_refused() -> None:
    with pytest.raises(EchoesError, match=r"segment_frames is 33.*only 32 frames"):
        task(segment_frames=33)
