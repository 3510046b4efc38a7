"""Classifiers: one per modality, trained on real data only, that tells which group an output belongs to.

They stand apart from the model they measure: other networks, other training, never used by a loss.

Shapes: B batch, C channels, H rows, W columns, N samples, G groups, D features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from visual_echoes.audio import mel_to_unit, wave_to_mel
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, file_digest, write_text
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.layout import Layout
from visual_echoes.media.tensors import pixels_to_unit
from visual_echoes.metrics.networks.base import Backbone, Look

CONFIG_FILE, WEIGHTS_FILE = "judge.json", "judge.safetensors"
CLASSIFIER_BATCH = 128
PACKAGED = "evaluation/weights"  # in the package, a folder for each classifier


class ClassifierConfig(BaseModel):
    """Which modality is classified and how wide the network is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: Literal["image", "audio"]
    width: int = 32
    dropout: float = 0.3


class ClassifierNetwork(nn.Module):
    """Four convolution stages, pooled over all positions, to one score per group."""

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
        """Mean and maximum over all positions, (B, D)."""
        maps_BCHW = self.stages(x_BCHW)[-1]
        return torch.cat([maps_BCHW.mean((2, 3)), maps_BCHW.amax((2, 3))], 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x_BCHW)))


class Classifier(Backbone):
    """A trained classifier, with its groups as classes.

    Attributes:
        labels: the groups it chooses between.
        scores: which of the network's scores are those of `labels`; None for all of them in order.
    """

    batch = CLASSIFIER_BATCH
    pin = "not pinned: the file's own SHA-256"

    def __init__(
        self, config: ClassifierConfig, network: ClassifierNetwork, layout: Layout, labels: Sequence[str],
        scores: Sequence[int] | None = None, name: str = "classifier", sha256: str = "",
    ) -> None:  # fmt: skip
        self.config, self.network, self.layout, self.scores = config, network, layout, scores
        self.labels: Sequence[str] = list(labels)
        self.name, self.modality, self.sha256 = name, config.modality, sha256
        self.title = f"own classifier {name}"
        self.seconds = layout.seconds if config.modality == "audio" else None
        self.frechet, self.kernel = f"Fréchet distance ({name})", f"kernel distance ({name})"
        self.preprocessing = f"fitted to the layout {layout.name}, as a model's inputs are"

    def restricted(self, groups: Sequence[str]) -> Classifier:
        """The same classifier when nothing but these groups can be the answer.

        Its probabilities are the softmax over their scores alone, which is what the full classifier's become given
        that the item is of one of them.

        Raises:
            EchoesError: a group it was not trained on.
        """
        unknown = [group for group in groups if group not in self.labels]
        if unknown:
            raise EchoesError(
                f"The {self.modality} classifier knows other groups than the data (not {unknown[0]!r}); give one "
                "trained on this data."
            )
        known = range(len(self.labels)) if self.scores is None else self.scores
        scores = [known[self.labels.index(group)] for group in groups]
        return Classifier(self.config, self.network, self.layout, groups, scores, self.name, self.sha256)

    def read(self, path: Path) -> Tensor:
        if self.modality == "image":
            return torch.from_numpy(image_array(path, self.layout)).movedim(-1, 0)
        return torch.from_numpy(sound_array(path, self.layout))

    @torch.inference_mode()
    def look(self, items: Sequence[Tensor] | Tensor) -> list[Look]:
        """Of uint8 images (C, H, W), or float32 waveforms (N,) of the layout's clip."""
        items_B = torch.stack(list(items))
        if self.modality == "image":
            input_BCHW = pixels_to_unit(items_B)
        else:
            input_BCHW = mel_to_unit(wave_to_mel(items_B, self.layout))
        features_BD = self.network.features(input_BCHW)
        scores_BG = self.network.head(features_BD)
        logits_BG = scores_BG if self.scores is None else scores_BG[:, list(self.scores)]
        return [Look(features_D[None], logits_G) for features_D, logits_G in zip(features_BD, logits_BG, strict=True)]


def build_classifier(config: ClassifierConfig, layout: Layout, groups: int) -> ClassifierNetwork:
    """An untrained network for a layout."""
    channels = layout.image_channels if config.modality == "image" else 1
    return ClassifierNetwork(channels, groups, config.width, config.dropout)


def save_classifier(
    folder: Path, network: nn.Module, config: ClassifierConfig, layout: Layout, groups: list[str]
) -> None:
    """Write a classifier's folder: half-precision weights and `judge.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        save_file(tensors, temporary)
    content = {"config": config.model_dump(), "layout": layout.to_dict(), "groups": groups}
    write_text(folder / CONFIG_FILE, json.dumps(content, indent=2) + "\n")


def load_classifier(folder: Path) -> Classifier:
    """Read a classifier's folder; `EchoesError` when something is missing or damaged."""
    try:
        content = json.loads((folder / CONFIG_FILE).read_text())
        config, layout = ClassifierConfig.model_validate(content["config"]), Layout.from_dict(content["layout"])
        network = build_classifier(config, layout, len(content["groups"]))
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        digest = file_digest(folder / WEIGHTS_FILE)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise EchoesError(f"{folder} holds no usable classifier ({error}); train it again.") from error
    network = network.float().eval()
    return Classifier(config, network, layout, content["groups"], name=folder.name, sha256=digest)


def packaged_classifiers() -> list[str]:
    """Names of the classifiers inside the package."""
    folder = _packaged()
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def packaged_classifier(name: str) -> Classifier:
    """A classifier that comes with the package, for instance "digits-image"; `EchoesError` if there is no such one."""
    if name not in packaged_classifiers():
        known = ", ".join(packaged_classifiers()) or "none"
        raise EchoesError(f"There is no packaged classifier {name!r} ({known}); train one or give its folder.")
    return load_classifier(_packaged() / name)


def _packaged() -> Path:
    return Path(str(resources.files("visual_echoes"))) / PACKAGED
