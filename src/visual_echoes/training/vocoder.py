"""Training a vocoder: mel and multi-resolution STFT losses, then a discriminator with feature matching.

The input is the true mel of the target sound or, for a share of the items, the mel that the audio VQGAN made
of it, so that the vocoder learns to cope with what it will be given.

Shapes: B batch, n sounds, N samples, M mel bands, T mel frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from visual_echoes.data.pairs import pcm_to_wave
from visual_echoes.data.sources import Augmentation, vary_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.mel import wave_to_mel
from visual_echoes.training.task import Phase, Task, Validation
from visual_echoes.training.vocoder_losses import (
    MultiResolutionDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    log_mel_distance,
    stft_distance,
)
from visual_echoes.vocoder import GriffinLim, build_vocoder

VALIDATION_BATCH = 32
SOUNDS_SHOWN = 3
NO_AUGMENTATION = Augmentation()


class VocoderTrainConfig(BaseModel):
    """What to train and on which losses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["hifigan", "vocos"] = "vocos"
    model: dict[str, Any] = {}  # config values of the vocoder, without those that follow from the layout
    segment_frames: int = Field(default=32, gt=0)  # mel frames of a training item
    mel_weight: float = Field(default=15.0, ge=0)  # of the log-mel in [0, 1]
    stft_weight: float = Field(default=1.0, ge=0)
    adversarial_from: int | None = None  # step at which the discriminator starts; None: never
    adversarial_weight: float = Field(default=0.1, ge=0)
    feature_weight: float = Field(default=2.0, ge=0)
    discriminator_width: int = Field(default=8, gt=0)
    reconstructed_share: float = Field(default=0.5, ge=0, le=1)  # of items that start from the VQGAN's mel


class VocoderTask(Task):
    """Trains one vocoder.

    Args:
        config: what to train.
        layout: shape of the sounds.
        train_sounds: (n, layout.clip_samples), int16 or float in [-1, 1].
        valid_sounds: the same, held out.
        train_mels: the VQGAN's mels of `train_sounds`, (n, n_mels, mel_frames) in [0, 1]; None to do without.
        augmentation: how training sounds are varied.

    Raises:
        EchoesError: a segment longer than the layout's sounds, or a vocoder that does not fit the layout.
    """

    def __init__(
        self,
        config: VocoderTrainConfig,
        layout: Layout,
        train_sounds: Tensor,
        valid_sounds: Tensor,
        train_mels: Tensor | None = None,
        augmentation: Augmentation = NO_AUGMENTATION,
    ) -> None:
        if config.segment_frames > layout.mel_frames:
            raise EchoesError(
                f"segment_frames is {config.segment_frames}, but sounds of layout {layout.name!r} have only "
                f"{layout.mel_frames} frames; lower it."
            )
        mels_shape = (len(train_sounds), layout.n_mels, layout.mel_frames)
        if train_mels is not None and train_mels.shape != mels_shape:
            raise ValueError(f"train_mels of {tuple(train_mels.shape)} do not fit the sounds or the layout")
        self.config, self.layout, self.augmentation = config, layout, augmentation
        self.train_sounds, self.valid_sounds, self.train_mels = train_sounds, valid_sounds, train_mels
        self.model = build_vocoder(config.kind, config.model, layout)
        self.modules = nn.ModuleDict({"model": self.model})
        self.optimizers = {"model": ("model",)}
        if config.adversarial_from is not None:
            self.modules["discriminator"] = MultiResolutionDiscriminator(layout, config.discriminator_width)
            self.optimizers = {"model": ("model",), "discriminator": ("discriminator",)}
        self._griffin_lim: Validation | None = None

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mel segments (B, M, segment_frames) and the waves they stand for (B, segment_frames * hop)."""
        index_B = torch.randint(len(self.train_sounds), (size,), generator=generator)
        wave_BN = _to_wave(self.train_sounds[index_B])
        varied_BN = vary_sounds(wave_BN, self.layout.sample_rate, self.augmentation, generator)
        if self.train_mels is None:
            return self._segments(wave_to_mel(varied_BN, self.layout), varied_BN, generator)
        # The VQGAN's mels belong to the sounds as they are, so those items are not varied.
        swapped_B = torch.rand(size, generator=generator) < self.config.reconstructed_share
        wave_BN = torch.where(swapped_B[:, None], wave_BN, varied_BN)
        true_BMT = wave_to_mel(wave_BN, self.layout)
        mel_BMT = torch.where(swapped_B[:, None, None], self.train_mels[index_B].float(), true_BMT)
        return self._segments(mel_BMT, wave_BN, generator)

    def _segments(self, mel_BMT: Tensor, wave_BN: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same random stretch of frames and of samples of each item."""
        frames, hop = self.config.segment_frames, self.layout.hop
        last = self.layout.mel_frames - frames
        starts = torch.randint(last + 1, (len(mel_BMT),), generator=generator).tolist()
        mels, waves = [], []
        for mel_MT, wave_N, start in zip(mel_BMT, _cropped(wave_BN, self.layout), starts, strict=True):
            mels.append(mel_MT[:, start : start + frames])
            waves.append(wave_N[start * hop : (start + frames) * hop])
        return torch.stack(mels), torch.stack(waves)

    def phases(self, batch: tuple[Tensor, Tensor], step: int) -> Iterator[Phase]:
        config, layout = self.config, self.layout
        mel_BMT, wave_BN = batch
        made_BN = self.modules["model"](mel_BMT)
        # Spectra in float32: bfloat16 has too few digits for them.
        with torch.autocast(wave_BN.device.type, enabled=False):
            mel_l1 = log_mel_distance(made_BN, wave_BN, layout)
            stft = stft_distance(made_BN, wave_BN, layout)
        total = config.mel_weight * mel_l1 + config.stft_weight * stft
        metrics = {"mel_l1": mel_l1, "stft": stft}
        adversarial = config.adversarial_from is not None and step >= config.adversarial_from
        if adversarial:
            discriminator = self.modules["discriminator"]
            with torch.no_grad():
                judged_real = discriminator(wave_BN)
            judged_fake = discriminator(made_BN)
            metrics["adversarial"] = adversarial_loss(judged_fake)
            metrics["features"] = feature_loss(judged_real, judged_fake)
            total = total + config.adversarial_weight * metrics["adversarial"]
            total = total + config.feature_weight * metrics["features"]
        yield Phase("model", total, metrics)
        if adversarial:
            judged = discriminator(torch.cat([wave_BN, made_BN.detach()]))
            yield Phase("discriminator", discriminator_loss(judged))

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        """Distances of round trips on the held-out sounds; the same of Griffin-Lim under `griffin_lim/`."""
        if self._griffin_lim is None:
            self._griffin_lim = self._measure(GriffinLim(self.layout).to(device), device)
        trained = self._measure(model, device)
        metrics = {**trained.metrics, **{f"griffin_lim/{k}": v for k, v in self._griffin_lim.metrics.items()}}
        sounds = {f"vocoder/{name}": sound for name, sound in trained.sounds.items()}
        sounds.update({f"griffin_lim/{name}": sound for name, sound in self._griffin_lim.sounds.items()})
        for index, wave_N in enumerate(_cropped(_to_wave(self.valid_sounds[:SOUNDS_SHOWN]), self.layout)):
            sounds[f"original/{index}"] = (wave_N.numpy(), self.layout.sample_rate)
        return Validation(metrics, sounds=sounds)

    def _measure(self, vocoder: nn.Module, device: torch.device) -> Validation:
        mel_l1 = stft = 0.0
        sounds: dict[str, Any] = {}
        with torch.autocast(device.type, enabled=False):
            for sounds_BN in self.valid_sounds.split(VALIDATION_BATCH):
                full_BN = _to_wave(sounds_BN).to(device)
                made_BN = vocoder(wave_to_mel(full_BN, self.layout))
                wave_BN = _cropped(full_BN, self.layout)
                # One by one, so that the figures do not depend on how the sounds are batched.
                for made_N, wave_N in zip(made_BN.split(1), wave_BN.split(1), strict=True):
                    mel_l1 += float(log_mel_distance(made_N, wave_N, self.layout))
                    stft += float(stft_distance(made_N, wave_N, self.layout))
                for made_N in made_BN[: max(0, SOUNDS_SHOWN - len(sounds))]:
                    sounds[str(len(sounds))] = (made_N.cpu().numpy(), self.layout.sample_rate)
        count = len(self.valid_sounds)
        return Validation({"mel_l1": mel_l1 / count, "stft": stft / count}, sounds=sounds)

    def export_config(self) -> dict[str, Any]:
        return self.model.config.model_dump(mode="json")


def _to_wave(sounds_BN: Tensor) -> Tensor:
    return pcm_to_wave(sounds_BN) if sounds_BN.dtype == torch.int16 else sounds_BN.float()


def _cropped(wave_BN: Tensor, layout: Layout) -> Tensor:
    """The samples that the mel's frames stand for."""
    start = layout.mel_offset * layout.hop
    return wave_BN[:, start : start + layout.samples]
