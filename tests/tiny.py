"""Small models, data and training tasks that the tests share; everything random comes from fixed seeds.

Run as a program it is a training that kills itself: `python tiny.py OUTPUT STEPS KILL_AT`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from visual_echoes.checkpoints.model import Model
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.sources import ImageSource
from visual_echoes.data.tokens import TokenCache
from visual_echoes.layout import get_layout
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.streams import Stream, TimeAxis
from visual_echoes.tokenizers.semantic import (
    AudioSemanticConfig,
    AudioSemanticTokenizer,
    ImageSemanticConfig,
    ImageSemanticTokenizer,
)
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig
from visual_echoes.training.settings import TrainSettings
from visual_echoes.training.task import Task
from visual_echoes.training.transformer import MaskingObjective, TransformerTask
from visual_echoes.training.vqgan import VQGANLoss, VQGANTask
from visual_echoes.vocoders import build_vocoder

LAYOUT = get_layout("debug")
RUN_STEPS = 4  # of the training whose run folder is a fixture
GROUPS = 4
LABELS = ("bell", "dog", "rain")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0  # whom no permission holds


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Models


def vqgan_config(
    channels: int = 1, strides: tuple[tuple[int, int], ...] = ((2, 2), (2, 2)), **changes: Any
) -> VQGANConfig:
    values = {
        "channels": channels, "codes": 32, "code_dim": 8, "width": 8, "multipliers": (1,) * (len(strides) + 1),
        "strides": strides, "blocks": 1, "latent_width": 8, "norm_groups": 4,
    }  # fmt: skip
    return VQGANConfig.model_validate({**values, **changes})


@torch.no_grad()
def vqgan(config: VQGANConfig, seed: int = 0) -> VQGAN:
    """Untrained, but with features and codes of one spread, so that many codes are used and decode differently."""
    torch.manual_seed(seed)
    model = VQGAN(config).eval()
    nn.init.normal_(model.quantize.embedding.weight)
    z_BDhw = model.encode(torch.rand(16, config.channels, 32, 32) * 2 - 1).latent
    mean_D, deviation_D = z_BDhw.mean((0, 2, 3)), z_BDhw.std((0, 2, 3))
    model.quant_conv.weight /= deviation_D[:, None, None, None]
    model.quant_conv.bias.copy_((model.quant_conv.bias - mean_D) / deviation_D)
    return model


def transformer_config(**changes: Any) -> TransformerConfig:
    sizes = {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "mlp_ratio": 2, "dropout": 0.0}
    return TransformerConfig.for_layout(LAYOUT, **{**sizes, **changes})


def transformer(config: TransformerConfig | None = None, seed: int = 0) -> FastTransformer:
    """Untrained, but with features far from uniform, so that what the model sees changes what it says."""
    torch.manual_seed(seed)
    model = FastTransformer(config or transformer_config()).eval()
    for table in model.token_embedding.values():
        nn.init.normal_(table.weight)
    return model


def whole_model() -> Model:
    """Every part of a model in the `debug` layout, with Griffin-Lim as vocoder."""
    image, audio = vqgan_config(), vqgan_config(strides=((2, 2), (2, 2), (1, 2)))
    return Model(
        name="tiny", version="1.0", layout=LAYOUT,
        parts={
            "image_vqgan": vqgan(image, 1), "audio_vqgan": vqgan(audio, 2), "transformer": transformer(seed=3),
            "vocoder": build_vocoder("griffin-lim", {"iterations": 2}, LAYOUT).eval(),
        },
        sampling=SamplingSettings(steps=4, temperature=2.0, guidance=2.0), card="# Tiny\n",
    )  # fmt: skip


_LONGER = replace(LAYOUT, seconds=160 * LAYOUT.hop / LAYOUT.sample_rate)  # than a network hears at once
_HEARD = AudioSemanticConfig(codes=4, code_dim=4, width=8)
MEANING_LAYOUT = replace(
    _LONGER, name="with meaning", extra_streams=(
        Stream(name="label", source="label", shape=(1,), codes=len(LABELS), detail=-2, names=LABELS),
        Stream(name="image_semantic", source="image", shape=(1,), codes=4, depth=2, detail=-1),
        Stream(
            name="audio_semantic", source="audio", shape=(_HEARD.positions(_LONGER.mel_frames),), codes=_HEARD.codes,
            detail=-1, time=TimeAxis(axis=0, step=0.48),
        ),
    ),
)  # fmt: skip


VIDEO_LAYOUT = replace(LAYOUT, name="video", frames=3)


def video_model() -> Model:
    """A whole model whose images are videos of three frames."""
    whole = whole_model()
    network = transformer(transformer_config(streams=VIDEO_LAYOUT.streams), 3)
    return replace(whole, name="video", layout=VIDEO_LAYOUT, parts={**whole.parts, "transformer": network})


def model_with_meaning() -> Model:
    """A whole model with labels and semantic streams."""
    whole = whole_model()
    sizes = {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "mlp_ratio": 2, "dropout": 0.0}
    network = transformer(TransformerConfig.for_layout(MEANING_LAYOUT, **sizes), 3)
    torch.manual_seed(0)
    parts = {
        **whole.parts, "vocoder": build_vocoder("griffin-lim", {"iterations": 2}, MEANING_LAYOUT).eval(),
        "transformer": network,
        "image_semantic": ImageSemanticTokenizer(ImageSemanticConfig(codes=4, depth=2, code_dim=4, side=32)).eval(),
        "audio_semantic": AudioSemanticTokenizer(_HEARD).eval(),
    }  # fmt: skip
    return Model(name="meaning", version="1.0", layout=MEANING_LAYOUT, parts=parts, sampling=whole.sampling)


# Data


def pair_split(pictures: int = 6, sounds: int = 5, seed: int = 0) -> PairSplit:
    """Noisy bars and tones, as many of each group; the group decides the bar's row and the tone's pitch."""
    noise = generator(seed)
    image_groups, sound_groups = (torch.arange(GROUPS).repeat_interleave(count) for count in (pictures, sounds))
    images = torch.randint(0, 60, (len(image_groups), 1, LAYOUT.image_size, LAYOUT.image_size), generator=noise)
    for image, group in zip(images, image_groups.tolist(), strict=True):
        image[:, 4 * group : 4 * group + 3] += 190
    times = torch.arange(LAYOUT.clip_samples) / LAYOUT.sample_rate
    pitch = 300.0 * 2.0 ** sound_groups[:, None]
    waves = 0.6 * torch.sin(2 * torch.pi * pitch * times) + 0.02 * torch.randn(len(pitch), len(times), generator=noise)
    return PairSplit(images.to(torch.uint8), image_groups, (waves * 32767).to(torch.int16), sound_groups)


def token_cache(pictures: int = 8, sounds: int = 6, seed: int = 0) -> TokenCache:
    """Tokens that are the group's number except at every fourth place, which is noise."""
    noise = generator(seed)
    tokens = []
    groups = [torch.arange(GROUPS).repeat_interleave(count) for count in (pictures, sounds)]
    for group, places in zip(groups, (LAYOUT.image_tokens, LAYOUT.audio_tokens), strict=True):
        rows = group[:, None].repeat(1, places)
        rows[:, ::4] = torch.randint(LAYOUT.image_codes, rows[:, ::4].shape, generator=noise)
        tokens.append(rows.to(torch.int16)[..., None])
    return TokenCache(
        {"image": {"image": tokens[0]}, "audio": {"audio": tokens[1]}}, {"image": groups[0], "audio": groups[1]}
    )


# Training


def train_settings(steps: int, **changes: Any) -> TrainSettings:
    values = {
        "steps": steps, "batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 2, "ema_decay": 0.9,
        "precision": "fp32", "log_every": 1, "validate_every": 4, "checkpoint_every": 3,
    }  # fmt: skip
    return TrainSettings.model_validate({**values, **changes})


def vqgan_task(**loss: Any) -> VQGANTask:
    """Trains with augmentation, dropout and revivals, so that every source of randomness takes part."""
    torch.manual_seed(0)
    varied = Augmentation(rotation=10, shift=0.1, flip=True)
    train, valid = (ImageSource(pair_split(seed=seed), varied) for seed in (0, 1))
    changes = {"restart_every": 3, "discriminator_width": 8, **loss}
    return VQGANTask(vqgan_config(dropout=0.1), VQGANLoss.model_validate(changes), train, valid)


def transformer_task(objective: MaskingObjective | None = None, **config: Any) -> TransformerTask:
    torch.manual_seed(0)
    changes = {"dropout": 0.1, **config}
    objective = objective or MaskingObjective()
    return TransformerTask(transformer_config(**changes), objective, token_cache(), token_cache(seed=1))


def at_step(task: Task, step: int, action: Callable[[], None]) -> Task:
    """The task, with something that happens in the middle of one of its steps."""
    original = task.phases

    def phases(batch: Any, now: int) -> Any:
        if now == step:
            action()
        return original(batch, now)

    task.phases = phases  # type: ignore[method-assign, assignment]
    return task


def _killed_run(output: Path, steps: int, kill_at: int) -> None:
    from visual_echoes.training.loop import fit

    task = at_step(vqgan_task(), kill_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    fit(task, train_settings(steps), output, "fingerprint")


if __name__ == "__main__":
    torch.set_num_threads(1)
    _killed_run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
