"""A data set of ten toy digits, classifiers that read them without fault, and a model that hands back real items.

An image of group g has its row g bright, a sound of group g is a tone in mel band g, so the mean of each row tells the
group of either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import tiny
from visual_echoes.audio import layout_filterbank, wave_to_mel
from visual_echoes.checkpoints.model import Model
from visual_echoes.codec import Codec
from visual_echoes.data.pairs import PairSplit, write_description, write_split
from visual_echoes.evaluation.probes import SecondOpinion, fit_probe
from visual_echoes.layout import Layout, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.classifiers import Classifier, ClassifierConfig
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import Result, VisualEchoes

LAYOUT = tiny.LAYOUT
GROUPS = [str(group) for group in range(10)]
IMAGES, SOUNDS = 4, 2  # of each group


class RowMeans(nn.Module):
    """Scores of the ten groups: the means of the first ten rows, or mel bands, times the sharpness."""

    def features(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW[:, 0, : len(GROUPS)].mean(-1)

    def head(self, features_BD: Tensor) -> Tensor:
        return 50.0 * features_BD


def classifier(modality: Modality, layout: Layout = LAYOUT, groups: list[str] = GROUPS) -> Classifier:
    return Classifier(ClassifierConfig(modality=modality), RowMeans(), layout, groups)  # type: ignore[arg-type]


def split(seed: int = 0) -> PairSplit:
    noise = tiny.generator(seed)
    image_groups, sound_groups = (torch.arange(10).repeat_interleave(count) for count in (IMAGES, SOUNDS))
    images = torch.randint(0, 120, (len(image_groups), 1, LAYOUT.image_size, LAYOUT.image_size), generator=noise)
    images[torch.arange(len(images)), :, image_groups] += 130
    hertz_per_bin = LAYOUT.sample_rate / LAYOUT.n_fft
    pitch = layout_filterbank(LAYOUT).argmax(1)[sound_groups] * hertz_per_bin
    times = torch.arange(LAYOUT.clip_samples) / LAYOUT.sample_rate
    waves = torch.sin(2 * torch.pi * pitch[:, None] * times) + 0.02 * torch.randn(
        len(pitch), len(times), generator=noise
    )
    waves *= LAYOUT.peak / waves.abs().amax(1, keepdim=True)
    return PairSplit(
        images.to(torch.uint8), image_groups, (waves * 32768).round().clamp(-32768, 32767).to(torch.int16), sound_groups
    )


def write_data(folder: Path, test: PairSplit, train: PairSplit) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_split(folder, "test", test)
    write_split(folder, "train", train)
    write_description(folder, LAYOUT, GROUPS, {"images.npz": "0" * 64})
    return folder


class Copier(VisualEchoes):
    """A model that answers with items of a split: of the group asked for, or `offset` groups further on.

    With `monotone` it gives the first item of a group every time. `calls` are the settings of each request.
    """

    def __init__(self, model: Model, source: PairSplit, offset: int = 0, monotone: bool = False) -> None:
        super().__init__(model, torch.device("cpu"))
        self.source, self.offset, self.monotone = source, offset, monotone
        self.calls: list[dict[str, Any]] = []

    def image_to_audio(self, images: Any, **request: Any) -> Result:
        asked = classifier("image").classes(torch.from_numpy(np.stack(images)).movedim(-1, 1))
        return self._answer(None, asked + self.offset, request)

    def audio_to_image(self, sounds: Any, **request: Any) -> Result:
        asked = classifier("audio").classes(torch.from_numpy(np.stack([wave for wave, _ in sounds])))
        return self._answer(asked + self.offset, None, request)

    def generate_pair(self, count: int = 1, **request: Any) -> Result:
        groups = torch.arange(count) % 10
        return self._answer(groups, groups + self.offset, request)

    def _answer(self, images: Tensor | None, sounds: Tensor | None, request: dict[str, Any]) -> Result:
        self.calls.append(request)
        made = audio = mels = None
        if images is not None:
            chosen = self.source.images[self._choose(images % 10, IMAGES)]
            made = chosen.movedim(1, -1).contiguous().numpy()
        if sounds is not None:
            waves = pcm_to_wave(self.source.sounds[self._choose(sounds % 10, SOUNDS)])
            audio, mels = waves.numpy(), wave_to_mel(waves, self.layout).numpy()
        first, count = request["seed"], len(images if sounds is None else sounds)  # type: ignore[arg-type]
        settings = SamplingSettings(**{k: v for k, v in request.items() if k in SamplingSettings.model_fields})
        return Result(made, audio, mels, self.layout.sample_rate, tuple(range(first, first + count)), settings)

    def _choose(self, groups: Tensor, of_each: int) -> Tensor:
        """Items of the groups: the first of each, or one after the other."""
        if self.monotone:
            return groups * of_each
        turns = torch.stack([(groups[:index] == group).sum() for index, group in enumerate(groups)])
        return groups * of_each + turns % of_each


class Recall(Codec):
    """A codec that gives back exactly what was encoded; images of `spoilt` groups come back one row lower.

    Its tokens are the numbers 0 to 7 in equal shares.
    """

    def __init__(self, model: Model, source: PairSplit, spoilt: range = range(0)) -> None:
        super().__init__(model, torch.device("cpu"))
        self.waves = pcm_to_wave(source.sounds)
        self.known_mels = wave_to_mel(self.waves, self.layout)
        self.spoilt = spoilt
        self.given: Any = None

    def encode_images(self, images_BHWC: np.ndarray) -> Tensor:
        self.given = images_BHWC
        return self._tokens(len(images_BHWC), self.layout.image_tokens)

    def decode_images(self, tokens_BI1: Tensor) -> np.ndarray:
        classes = classifier("image").classes(torch.from_numpy(self.given).movedim(-1, 1)).tolist()
        return np.stack(
            [
                np.roll(image, 1, axis=0) if group in self.spoilt else image
                for image, group in zip(self.given, classes, strict=True)
            ]
        )

    def encode_mels(self, mel_BMT: Tensor) -> Tensor:
        self.given = mel_BMT
        return self._tokens(len(mel_BMT), self.layout.audio_tokens)

    def decode_mels(self, tokens_BA1: Tensor) -> Tensor:
        return self.given

    def vocode(self, mel_BMT: Tensor) -> np.ndarray:
        nearest = torch.cdist(mel_BMT.flatten(1), self.known_mels.flatten(1)).argmin(1)
        return self.waves[nearest].numpy()

    @staticmethod
    def _tokens(items: int, positions: int) -> Tensor:
        return (torch.arange(items * positions) % 8).view(items, positions)


class Indexed(Codec):
    """A codec whose tokens are all the number of the item in a split: nothing is lost."""

    def __init__(self, model: Model, source: PairSplit) -> None:
        super().__init__(model, torch.device("cpu"))
        self.source, self.waves = source, pcm_to_wave(source.sounds)
        self.known_mels = wave_to_mel(self.waves, self.layout)

    def encode_images(self, images_BHWC: np.ndarray) -> Tensor:
        pixels_BD = torch.from_numpy(images_BHWC).movedim(-1, 1).flatten(1).float()
        return self._tokens(pixels_BD, self.source.images.flatten(1).float(), self.layout.image_tokens)

    def decode_images(self, tokens_BI1: Tensor) -> np.ndarray:
        return self.source.images[tokens_BI1[:, 0, 0]].movedim(1, -1).contiguous().numpy()

    def encode_mels(self, mel_BMT: Tensor) -> Tensor:
        return self._tokens(mel_BMT.flatten(1), self.known_mels.flatten(1), self.layout.audio_tokens)

    def decode_mels(self, tokens_BA1: Tensor) -> Tensor:
        return self.known_mels[tokens_BA1[:, 0, 0]]

    def vocode(self, mel_BMT: Tensor) -> np.ndarray:
        return self.waves[torch.cdist(mel_BMT.flatten(1), self.known_mels.flatten(1)).argmin(1)].numpy()

    @staticmethod
    def _tokens(items_BD: Tensor, known_ND: Tensor, positions: int) -> Tensor:
        return torch.cdist(items_BD, known_ND).argmin(1)[:, None, None].repeat(1, positions, 1)


class Shifted:
    """A baseline on `Indexed` tokens: the first item of a group so many further on than what was asked for."""

    given: Mapping[Modality, str] = MappingProxyType({"image": "image", "audio": "audio"})

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.seeds: list[int] = []

    def image_to_audio(self, image_tokens_BI1: Tensor, seeds: Sequence[int]) -> Tensor:
        self.seeds += seeds
        groups_B = (image_tokens_BI1[:, 0, 0] // IMAGES + self.offset) % 10
        return (groups_B * SOUNDS)[:, None, None].repeat(1, LAYOUT.audio_tokens, 1)

    def audio_to_image(self, audio_tokens_BA1: Tensor, seeds: Sequence[int]) -> Tensor:
        self.seeds += seeds
        groups_B = (audio_tokens_BA1[:, 0, 0] // SOUNDS + self.offset) % 10
        return (groups_B * IMAGES)[:, None, None].repeat(1, LAYOUT.image_tokens, 1)


def classifiers() -> dict[Modality, Classifier]:
    return {"image": classifier("image"), "audio": classifier("audio")}


class Opinion(SecondOpinion):
    """A second opinion that takes every item for the first group."""

    def __init__(self) -> None:
        super().__init__(
            classifier("image"),
            "logits",
            fit_probe((torch.eye(2), torch.arange(2)), (torch.eye(2), torch.arange(2)), 2),
        )

    def classes(self, items: Tensor | Sequence[Tensor]) -> Tensor:
        return torch.zeros(len(items), dtype=torch.int64)
