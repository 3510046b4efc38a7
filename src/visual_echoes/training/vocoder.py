"""Training a vocoder: mel and multi-resolution STFT losses, then a discriminator with feature matching.

Which mel loss and which discriminator follows from the kind: a HiFi-GAN has its own, a Vocos one that looks at spectra.

The input is the true mel of the target sound or, for a share of the items, the mel that the audio VQGAN made
of it, so that the vocoder learns to cope with what it will be given.

Shapes: B batch, N samples, M mel bands, T mel frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from visual_echoes.audio import mel_to_unit, unit_to_mel, wave_to_mel
from visual_echoes.data.sources import Source
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.training import hifigan_discriminators as hifigan
from visual_echoes.training import vocoder_losses as vocos
from visual_echoes.training.task import Phase, Task, Validation
from visual_echoes.training.vocoder_losses import Judgement, log_mel_distance, stft_distance
from visual_echoes.vocoders import GriffinLim, build_vocoder

VALIDATION_BATCH = 32
SOUNDS_SHOWN = 3

# HiFi-GAN's weights and width (Kong et al. 2020, sec. 2.4 and 3), where a recipe leaves them out.
HIFIGAN_DEFAULTS = {
    "mel_weight": 45.0, "stft_weight": 0.0, "adversarial_weight": 1.0, "feature_weight": 2.0, "discriminator_width": 32,
}  # fmt: skip


@dataclass(frozen=True)
class Critic:
    """What a kind of vocoder is trained against.

    Attributes:
        mel_name: what the log calls `mel_distance`.
        mel_distance: of two sounds (B, N); a scalar.
        build: makes the discriminator of a width.
        adversarial_loss: the vocoder's, of its sounds as the discriminator sees them.
        feature_loss: the vocoder's, of real and of its own sounds.
        discriminator_loss: of a batch whose first half is real and second half made.
        draw: the discriminator's loss where it cannot tell them apart.
    """

    mel_name: str
    mel_distance: Callable[[Tensor, Tensor, Layout], Tensor]
    build: Callable[[Layout, int], nn.Module]
    adversarial_loss: Callable[[Judgement], Tensor]
    feature_loss: Callable[[Judgement, Judgement], Tensor]
    discriminator_loss: Callable[[Judgement], Tensor]
    draw: float


CRITICS = {
    "vocos": Critic(
        "mel_l1", log_mel_distance, vocos.MultiResolutionDiscriminator, vocos.adversarial_loss, vocos.feature_loss,
        vocos.discriminator_loss, draw=1.0,
    ),
    "hifigan": Critic(
        "natural_mel_l1", hifigan.natural_mel_distance, lambda _, width: hifigan.HiFiGANDiscriminator(width),
        hifigan.adversarial_loss, hifigan.feature_loss, hifigan.discriminator_loss, hifigan.DRAW,
    ),
}  # fmt: skip


class VocoderTrainConfig(BaseModel):
    """What to train and on which losses; the defaults are those of a Vocos, `HIFIGAN_DEFAULTS` those of a HiFi-GAN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["hifigan", "vocos"] = "vocos"
    model: dict[str, Any] = {}  # config values of the vocoder, without those that follow from the layout
    segment_frames: int = Field(default=32, gt=0)  # mel frames of a training item
    mel_weight: float = Field(default=15.0, ge=0)  # of a mel in [0, 1]; of one in natural logarithms for a HiFi-GAN
    stft_weight: float = Field(default=1.0, ge=0)
    adversarial_from: int | None = None  # step at which the discriminator starts; None: never
    adversarial_weight: float = Field(default=0.1, ge=0)
    feature_weight: float = Field(default=2.0, ge=0)
    discriminator_width: int = Field(default=8, gt=0)  # channels of its first layer
    reconstructed_share: float = Field(default=0.5, ge=0, le=1)  # of items that start from the VQGAN's mel

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kind(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("kind") == "hifigan":
            return {**HIFIGAN_DEFAULTS, **values}
        return values


class VocoderTask(Task):
    """Trains one vocoder.

    Args:
        config: what to train.
        layout: shape of the sounds.
        train: sounds of `layout.clip_samples`.
        valid: the same, held out.
        tokenizer: the network whose mels a share of the items starts from; None to do without.

    Raises:
        EchoesError: a segment longer than the layout's sounds, or a vocoder that does not fit the layout.
    """

    train: Source
    valid: Source

    def __init__(
        self,
        config: VocoderTrainConfig,
        layout: Layout,
        train: Source,
        valid: Source,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        if config.segment_frames > layout.mel_frames:
            raise EchoesError(
                f"segment_frames is {config.segment_frames}, but sounds of layout {layout.name!r} have only "
                f"{layout.mel_frames} frames; lower it."
            )
        self.config, self.layout = config, layout
        self.train, self.valid, self.tokenizer = train, valid, tokenizer
        self.critic = CRITICS[config.kind]
        self.model = build_vocoder(config.kind, config.model, layout)
        self.modules = nn.ModuleDict({"model": self.model})
        self.optimizers = {"model": ("model",)}
        if config.adversarial_from is not None:
            self.modules["discriminator"] = self.critic.build(layout, config.discriminator_width)
            self.optimizers = {"model": ("model",), "discriminator": ("discriminator",)}
        self._griffin_lim: Validation | None = None

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Sounds (B, N), whether each starts from the tokenizer's mel (B,), and the segment's first frame (B,)."""
        index_B = self.items(size, generator)
        wave_BN = self.train.take(index_B, generator)
        swapped_B = torch.rand(size, generator=generator) < self.config.reconstructed_share
        last = self.layout.mel_frames - self.config.segment_frames
        return wave_BN, swapped_B, torch.randint(last + 1, (size,), generator=generator)

    def segments(self, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Mel segments (B, M, segment_frames) and the waves they stand for (B, segment_frames * hop)."""
        wave_BN, swapped_B, start_B = batch
        mel_BMT = wave_to_mel(wave_BN, self.layout)
        if self.tokenizer is not None and swapped_B.any():
            mel_BMT[swapped_B] = _round_trip(self.tokenizer, mel_BMT[swapped_B])
        frames, hop = self.config.segment_frames, self.layout.hop
        mels, waves = [], []
        for mel_MT, wave_N, start in zip(mel_BMT, _cropped(wave_BN, self.layout), start_B.tolist(), strict=True):
            mels.append(mel_MT[:, start : start + frames])
            waves.append(wave_N[start * hop : (start + frames) * hop])
        return torch.stack(mels), torch.stack(waves)

    def phases(self, batch: tuple[Tensor, Tensor, Tensor], step: int) -> Iterator[Phase]:
        config, layout, critic = self.config, self.layout, self.critic
        # Spectra in float32: bfloat16 has too few digits for them.
        with torch.autocast(batch[0].device.type, enabled=False):
            mel_BMT, wave_BN = self.segments(batch)
        made_BN = self.modules["model"](mel_BMT)
        with torch.autocast(wave_BN.device.type, enabled=False):
            mel = critic.mel_distance(made_BN, wave_BN, layout)
            stft = stft_distance(made_BN, wave_BN, layout)
        total = config.mel_weight * mel + config.stft_weight * stft
        metrics = {critic.mel_name: mel, "stft": stft}
        adversarial = config.adversarial_from is not None and step >= config.adversarial_from
        if adversarial:
            discriminator = self.modules["discriminator"]
            with torch.no_grad():
                judged_real = discriminator(wave_BN)
            judged_fake = discriminator(made_BN)
            metrics["adversarial"] = critic.adversarial_loss(judged_fake)
            metrics["features"] = critic.feature_loss(judged_real, judged_fake)
            total = total + config.adversarial_weight * metrics["adversarial"]
            total = total + config.feature_weight * metrics["features"]
        yield Phase("model", total, metrics)
        if adversarial:
            judged = discriminator(torch.cat([wave_BN, made_BN.detach()]))
            # A draw is 1 for every kind, which is what alarms go by; to Adam the scale makes no difference.
            yield Phase("discriminator", critic.discriminator_loss(judged) / critic.draw)

    def after_step(self, step: int) -> Mapping[str, float]:
        if "discriminator" in self.modules:
            hifigan.follow_weights(self.modules["discriminator"])
        return {}

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        """Distances of round trips on the held-out sounds; the same of Griffin-Lim under `griffin_lim/`."""
        if self._griffin_lim is None:
            self._griffin_lim = self._measure(GriffinLim(self.layout).to(device), device)
        trained = self._measure(model, device)
        metrics = {**trained.metrics, **{f"griffin_lim/{k}": v for k, v in self._griffin_lim.metrics.items()}}
        sounds = {f"vocoder/{name}": sound for name, sound in trained.sounds.items()}
        sounds.update({f"griffin_lim/{name}": sound for name, sound in self._griffin_lim.sounds.items()})
        shown_BN = self.valid.take(torch.arange(min(SOUNDS_SHOWN, len(self.valid))), None)
        for index, wave_N in enumerate(_cropped(shown_BN, self.layout)):
            sounds[f"original/{index}"] = (wave_N.numpy(), self.layout.sample_rate)
        return Validation(metrics, sounds=sounds)

    def _measure(self, vocoder: nn.Module, device: torch.device) -> Validation:
        mel_l1 = stft = 0.0
        sounds: dict[str, Any] = {}
        with torch.autocast(device.type, enabled=False):
            for index_B in torch.arange(len(self.valid)).split(VALIDATION_BATCH):
                full_BN = self.valid.take(index_B, None).to(device)
                made_BN = vocoder(wave_to_mel(full_BN, self.layout))
                wave_BN = _cropped(full_BN, self.layout)
                # One by one, so that the figures do not depend on how the sounds are batched.
                for made_N, wave_N in zip(made_BN.split(1), wave_BN.split(1), strict=True):
                    mel_l1 += float(log_mel_distance(made_N, wave_N, self.layout))
                    stft += float(stft_distance(made_N, wave_N, self.layout))
                for made_N in made_BN[: max(0, SOUNDS_SHOWN - len(sounds))]:
                    sounds[str(len(sounds))] = (made_N.cpu().numpy(), self.layout.sample_rate)
        count = len(self.valid)
        return Validation({"mel_l1": mel_l1 / count, "stft": stft / count}, sounds=sounds)

    def export_config(self) -> dict[str, Any]:
        return self.model.config.model_dump(mode="json")


@torch.no_grad()
def _round_trip(tokenizer: Tokenizer, mel_BMT: Tensor) -> Tensor:
    """What the tokenizer makes of mels, both (B, M, T) in [0, 1]."""
    tokenizer.to(mel_BMT.device)
    return unit_to_mel(tokenizer.decode_unit(tokenizer.encode_unit(mel_to_unit(mel_BMT))))


def _cropped(wave_BN: Tensor, layout: Layout) -> Tensor:
    """The samples that the mel's frames stand for."""
    start = layout.mel_offset * layout.hop
    return wave_BN[:, start : start + layout.samples]
