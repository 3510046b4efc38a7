"""The evaluation set: the test split, the classifiers, and the figures of real data that made items are compared with.

Shapes: B items, C channels, H rows, W columns, N samples, M mel bands, T mel frames, G groups, D values of an item.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.data.pairs import PairSplit, first_of_groups, read_groups, read_split
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.features import Seen, see_items
from visual_echoes.evaluation.records import Figure
from visual_echoes.layout import Layout, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics import scores
from visual_echoes.metrics.classifiers import Classifier
from visual_echoes.pipeline import VisualEchoes

SMALLEST_DISTANCE = 1e-6  # keeps ratios finite; far below the distance of any two real items
NEAREST_REFERENCES = 4096  # training images held as numbers at once


@dataclass(frozen=True)
class Side:
    """The real test items of one modality.

    Attributes:
        items: uint8 images (B, H, W, C), or float32 sounds (B, N) in [-1, 1].
        groups_B: their true groups, int64.
        seen: what the classifier says of the whole split.
        classes_B: what it takes the items for.
        distance_G: mean distance of two real items of a group.
    """

    items: np.ndarray
    groups_B: Tensor
    classifier: Classifier
    seen: Seen
    classes_B: Tensor
    distance_G: Tensor


class EvaluationSet:
    """What a model is evaluated with.

    Args:
        echoes: the model.
        data: a folder of prepared data.
        classifiers: trained on the same shapes and on the same groups or more; of more, only the data's can be an
            answer.
        batch_size: items encoded, decoded or sampled at once.
        images: how many test images serve, the first of each group and as many of each; None for all.

    Attributes:
        group_names: names of the groups.
        training: the train split.
        sides: the test split, by modality.
        mels_BMT: the test sounds' log-mels.

    Raises:
        EchoesError: data that is missing, does not fit the model or has too few items of a group; a classifier of other
            shapes or groups.
    """

    def __init__(
        self, echoes: VisualEchoes, data: Path, classifiers: Mapping[Modality, Classifier], batch_size: int,
        images: int | None = None, split: str = "test",
    ) -> None:  # fmt: skip
        if batch_size < 1:
            raise EchoesError(f"The batch size must be at least 1, not {batch_size}.")
        self.echoes, self.batch_size = echoes, batch_size
        test = read_split(data, split, echoes.layout)
        self.training = read_split(data, "train", echoes.layout)
        self.group_names = read_groups(data)
        self.groups = len(self.group_names)
        fitting = {m: _fitting(classifiers[m], m, echoes.layout, self.group_names) for m in classifiers}
        _check_groups(test.image_groups, self.groups, f"the {split} images in {data}")
        _check_groups(test.sound_groups, self.groups, f"the {split} sounds in {data}")
        if images is not None:
            test = _fewer_images(test, images, self.groups)
        waves_BN = pcm_to_wave(test.sounds).numpy()
        self.mels_BMT = self.mels(waves_BN)
        images_BHWC = test.images.movedim(1, -1).contiguous().numpy()
        self.sides: dict[Modality, Side] = {
            "image": self._side(fitting["image"], images_BHWC, test.image_groups, unit_pixels(test.images)),
            "audio": self._side(fitting["audio"], waves_BN, test.sound_groups, self.mels_BMT.flatten(1)),
        }

    def _side(self, classifier: Classifier, items: np.ndarray, groups_B: Tensor, values_BD: Tensor) -> Side:
        # The real sounds fill their clip.
        inputs = images_of(items) if classifier.modality == "image" else torch.from_numpy(items)
        seen = see_items(classifier, inputs)
        distance_G = scores.within_group_distance(values_BD, groups_B, self.groups)
        return Side(items, groups_B, classifier, seen, seen.classes_B, distance_G)

    def part(self, echoes: VisualEchoes, images_B: Tensor, sounds_B: Tensor) -> EvaluationSet:
        """Some of its items for a model with the same tokenizers; distances are still from all of them."""
        found = copy.copy(self)
        found.echoes, found.mels_BMT = echoes, self.mels_BMT[sounds_B]
        rows: dict[Modality, Tensor] = {"image": images_B, "audio": sounds_B}
        found.sides = {
            modality: replace(
                side, items=side.items[rows[modality].numpy()], groups_B=side.groups_B[rows[modality]],
                classes_B=side.classes_B[rows[modality]],
            )
            for modality, side in self.sides.items()
        }  # fmt: skip
        return found

    def with_images(self, images_BHWC: np.ndarray) -> EvaluationSet:
        """The same with other images."""
        found = copy.copy(self)
        found.sides = {**self.sides, "image": replace(self.sides["image"], items=images_BHWC)}
        return found

    def see(self, modality: Modality, items: np.ndarray) -> Seen:
        """What the classifier says of made items: uint8 images, or sounds (B, layout.samples) at their own level."""
        inputs = images_of(items) if modality == "image" else torch.from_numpy(self.clips(items))
        return see_items(self.sides[modality].classifier, inputs)

    def classes(self, modality: Modality, items: np.ndarray) -> Tensor:
        """What the classifier takes made items for, int64 (B,)."""
        return self.see(modality, items).classes_B

    def diversity(self, modality: Modality, values_BD: Tensor, groups_B: Tensor, classes_B: Tensor) -> float:
        """Within-group distance over that of real test items, mean of the groups; only those of the right class count.

        Args:
            values_BD: pixels in [0, 1], or log-mels.
        """
        right_B = classes_B == groups_B
        distance_G = scores.within_group_distance(values_BD[right_B], groups_B[right_B], self.groups)
        return float((distance_G / self.sides[modality].distance_G.clamp_min(SMALLEST_DISTANCE)).mean())

    def nearest(self, images_BHWC: np.ndarray) -> Tensor:
        """How far images lie from their nearest training images, (B,); copies lie far closer than real test images."""
        pixels_BD = unit_pixels(images_of(images_BHWC))
        parts = self.training.images.split(NEAREST_REFERENCES)
        return torch.stack([scores.nearest_distance(pixels_BD, unit_pixels(part_RCHW)) for part_RCHW in parts]).amin(0)

    def mel_l1(self, waves_BN: np.ndarray) -> float:
        """Mean distance of the log-mels of sounds (B, layout.samples) from those of the test sounds."""
        return float((self.mels(self.clips(waves_BN)) - self.mels_BMT).abs().mean())

    def mels(self, clips_BN: np.ndarray) -> Tensor:
        """Log-mels of clips, on the CPU."""
        return torch.cat([self.echoes.codec.mels(clips_BN[rows]).cpu() for rows in self.batches(len(clips_BN))])

    def clips(self, waves_BN: np.ndarray) -> np.ndarray:
        """Made sounds at the position in the clip that their mel frames are cropped from."""
        layout = self.echoes.layout
        first = layout.mel_offset * layout.hop
        clips_BN = np.zeros((len(waves_BN), layout.clip_samples), np.float32)
        clips_BN[:, first : first + layout.samples] = waves_BN[:, : layout.clip_samples - first]
        return clips_BN

    def batches(self, count: int) -> Iterator[slice]:
        """Slices of at most `batch_size` items."""
        for first in range(0, count, self.batch_size):
            yield slice(first, first + self.batch_size)


def images_of(images_BHWC: np.ndarray) -> Tensor:
    """uint8 images as classifiers take them, (B, C, H, W)."""
    return torch.from_numpy(images_BHWC).movedim(-1, 1)


def unit_pixels(images_BCHW: Tensor) -> Tensor:
    """uint8 images to rows of pixels in [0, 1]."""
    return images_BCHW.flatten(1).float() / 255.0


def level_figures(waves_BN: np.ndarray) -> dict[str, float]:
    """How loud sounds are: mean levels in dB of full scale, and the shares that are silent or clipped."""
    waves = torch.from_numpy(waves_BN)
    peak_B = scores.peak_db(waves)
    return {
        "sound_peak": float(peak_B.mean()),
        "sound_rms": float(scores.rms_db(waves).mean()),
        "sound_silent": scores.share(peak_B < scores.SILENT_DB),
        "sound_clipped": scores.share(waves.abs().amax(1) >= scores.CLIPPED),
    }


def plain(values: Mapping[str, float]) -> dict[str, Figure]:
    """Figures that are measured once."""
    return {name: Figure(value=value) for name, value in values.items()}


_SHAPES: dict[Modality, Callable[[Layout], tuple[int, int]]] = {
    "image": lambda layout: (layout.image_size, layout.image_channels),
    "audio": lambda layout: (layout.sample_rate, layout.clip_samples),
}


def _check_groups(groups_B: Tensor, groups: int, where: str) -> None:
    """Every group needs two items, or there is no distance between them."""
    counts = torch.bincount(groups_B, minlength=groups)
    if len(counts) > groups or int(counts.min()) < 2:
        raise EchoesError(
            f"Among {where} there are fewer than two of some group, or unknown groups; prepare them again."
        )


def _fewer_images(split: PairSplit, images: int, groups: int) -> PairSplit:
    """The first images of each group, in their order."""
    of_each, rest = divmod(images, groups)
    most = int(torch.bincount(split.image_groups, minlength=groups).min())
    if rest or not 2 <= of_each <= most:
        raise EchoesError(
            f"{images} test images cannot be as many of each of {groups} classes, from 2 to {most} of each; "
            "choose a multiple that can."
        )
    index_B = first_of_groups(split.image_groups, of_each)
    return replace(split, images=split.images[index_B], image_groups=split.image_groups[index_B])


def _fitting(classifier: Classifier, modality: Modality, layout: Layout, groups: list[str]) -> Classifier:
    """The classifier, asked about these groups only."""
    if classifier.modality != modality:
        raise EchoesError(
            f"The {modality} classifier is one of {classifier.modality}; give one trained for {modality}."
        )
    if _SHAPES[modality](classifier.layout) != _SHAPES[modality](layout):
        raise EchoesError(
            f"The {modality} classifier was trained for layout {classifier.layout.name!r}, whose items have another "
            f"shape or rate than those of {layout.name!r}; give one that fits the model."
        )
    return classifier if classifier.labels == groups else classifier.restricted(groups)
