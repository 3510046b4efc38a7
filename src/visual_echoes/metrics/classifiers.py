"""Judges: one classifier per modality, trained on real data only, that tells which group an output belongs to.

They stand apart from the model they judge: other networks, other training, never used by a loss.

Shapes: B batch, C channels, H rows, W columns, N samples, G groups, D features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.audio import mel_to_unit, wave_to_mel
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, write_text
from visual_echoes.layout import Layout, Modality
from visual_echoes.media.tensors import pixels_to_unit

JUDGE_CONFIG = "judge.json"
JUDGE_WEIGHTS = "judge.safetensors"
JUDGE_BATCH = 128


class JudgeConfig(BaseModel):
    """Which modality is judged and how wide the network is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: Literal["image", "audio"]
    width: int = 32
    dropout: float = 0.3


class JudgeNetwork(nn.Module):
    """Four convolution stages, pooled over all places, to one score per group."""

    def __init__(self, channels: int, groups: int, width: int, dropout: float) -> None:
        super().__init__()
        self.channels = channels
        stages: list[nn.Module] = []
        before = channels
        for stage in range(4):
            after = width * min(2**stage, 4)
            stages += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            stages += [nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            stages += [nn.MaxPool2d(2)] if stage < 3 else []
            before = after
        self.body = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * before, groups)

    def stages(self, x_BCHW: Tensor) -> list[Tensor]:
        """The feature maps at the end of each stage, each half the last one's rows and columns."""
        found = []
        for layer in self.body:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x_BCHW)
            x_BCHW = layer(x_BCHW)
        return [*found, x_BCHW]

    def features(self, x_BCHW: Tensor) -> Tensor:
        """Mean and maximum over all places, (B, D)."""
        maps_BCHW = self.stages(x_BCHW)[-1]
        return torch.cat([maps_BCHW.mean((2, 3)), maps_BCHW.amax((2, 3))], 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x_BCHW)))


def judge_input(modality: Modality, items: Tensor, layout: Layout) -> Tensor:
    """What a judge looks at: images in [-1, 1], or the log-mel of sounds in [-1, 1].

    Args:
        items: uint8 (B, C, H, W) images, or float32 (B, N) waveforms.
    """
    if modality == "image":
        return pixels_to_unit(items)
    return mel_to_unit(wave_to_mel(items, layout))


@dataclass(frozen=True)
class Judge:
    """A trained judge, ready to use.

    Attributes:
        groups: what it chooses between.
        scores: which of the network's scores are those of `groups`; None for all of them in order.
    """

    config: JudgeConfig
    network: JudgeNetwork
    layout: Layout
    groups: list[str]
    scores: tuple[int, ...] | None = None

    def restricted(self, groups: Sequence[str]) -> Judge:
        """The same judge when nothing but these groups can be the answer.

        Its probabilities are the softmax over their scores alone, which is what the full judge's become given that
        the item is of one of them.

        Raises:
            EchoesError: a group it was not trained on.
        """
        unknown = [group for group in groups if group not in self.groups]
        if unknown:
            raise EchoesError(
                f"The {self.config.modality} judge knows other groups than the data (not {unknown[0]!r}); give one "
                "trained on this data."
            )
        known = range(len(self.groups)) if self.scores is None else self.scores
        return replace(self, groups=list(groups), scores=tuple(known[self.groups.index(group)] for group in groups))

    @torch.inference_mode()
    def look(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, D) and probability of each group (B, G), in one pass.

        Args:
            items: uint8 images (B, C, H, W) or float32 waveforms (B, N).
        """
        features, probabilities = [], []
        for part in items.split(JUDGE_BATCH):
            features.append(self.network.features(judge_input(self.config.modality, part, self.layout)))
            scores_BG = self.network.head(features[-1])
            probabilities.append(F.softmax(scores_BG if self.scores is None else scores_BG[:, self.scores], -1))
        return torch.cat(features), torch.cat(probabilities)

    def probabilities(self, items: Tensor) -> Tensor:
        """Probability of each group, (B, G)."""
        return self.look(items)[1]

    def classes(self, items: Tensor) -> Tensor:
        """The most probable group of each item, int64 (B,)."""
        return self.probabilities(items).argmax(-1)


def build_judge(config: JudgeConfig, layout: Layout, groups: int) -> JudgeNetwork:
    """An untrained judge for a layout."""
    channels = layout.image_channels if config.modality == "image" else 1
    return JudgeNetwork(channels, groups, config.width, config.dropout)


def save_judge(folder: Path, network: nn.Module, config: JudgeConfig, layout: Layout, groups: list[str]) -> None:
    """Write a judge's folder: half-precision weights and `judge.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    with atomic_path(folder / JUDGE_WEIGHTS) as temporary:
        save_file(tensors, temporary)
    content = {"config": config.model_dump(), "layout": layout.to_dict(), "groups": groups}
    write_text(folder / JUDGE_CONFIG, json.dumps(content, indent=2) + "\n")


def load_judge(folder: Path) -> Judge:
    """Read a judge's folder; `EchoesError` when something is missing or damaged."""
    try:
        content = json.loads((folder / JUDGE_CONFIG).read_text())
        config, layout = JudgeConfig.model_validate(content["config"]), Layout.from_dict(content["layout"])
        network = build_judge(config, layout, len(content["groups"]))
        network.load_state_dict(load_file(folder / JUDGE_WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise EchoesError(f"{folder} holds no usable judge ({error}); train it again.") from error
    return Judge(config, network.float().eval(), layout, content["groups"])
