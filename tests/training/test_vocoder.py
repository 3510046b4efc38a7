"""A vocoder's training lowers its losses on segments whose mel and samples belong together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.sources import Augmentation, WaveSource
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.mel import mel_filterbank, mel_to_unit, unit_to_mel, wave_to_mel
from visual_echoes.tokenizer import Tokenizer
from visual_echoes.training import vocoder as training
from visual_echoes.training.vocoder import VocoderTask, VocoderTrainConfig
from visual_echoes.training.vocoder_losses import log_mel_distance, stft_distance
from visual_echoes.vocoder import build_vocoder

DEBUG = LAYOUTS["debug"]
CROPPED = replace(DEBUG, name="cropped", audio_factor=(4, 12))  # 24 of 32 frames, from the fifth on
CPU = torch.device("cpu")
SMALL = {"width": 32, "blocks": 2}


def sounds(count: int, layout: Layout = DEBUG) -> Tensor:
    """Decaying tones as int16."""
    time_N = torch.arange(layout.clip_samples) / layout.sample_rate
    pitch_B = torch.linspace(200.0, 1500.0, count)
    wave_BN = 0.5 * torch.sin(2 * math.pi * pitch_B[:, None] * time_N) * torch.exp(-6.0 * time_N)
    return (wave_BN * 32767.0).to(torch.int16)


def source(waves: Tensor, layout: Layout = DEBUG, **augmentation: float) -> WaveSource:
    """Sounds without pictures."""
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
    model = {
        "upsample_rates": (8, 8), "upsample_kernel_sizes": (16, 16), "upsample_initial_channel": 32,
        "resblock_kernel_sizes": (3,), "resblock_dilation_sizes": ((1, 3),),
    }  # fmt: skip
    losses = train(task(kind="hifigan", model=model), 30)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_discriminator_joins_at_its_step_and_gradients_reach_everything() -> None:
    trained = task(adversarial_from=2)
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


def test_a_discriminator_learns_to_tell_made_from_real() -> None:
    trained = task(adversarial_from=0)
    optimizer = torch.optim.AdamW(trained.modules["discriminator"].parameters(), lr=3e-3)
    losses = []
    for step in range(20):
        *_, phase = trained.phases(trained.batch(4, generator(step)), step)
        phase.loss.backward()
        optimizer.step()
        trained.modules.zero_grad()
        losses.append(float(phase.loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


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
