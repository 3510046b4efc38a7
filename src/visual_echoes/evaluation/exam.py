"""The test split, the judges, and the figures of real data that generated items are compared with.

Shapes: B items, C channels, H rows, W columns, N samples, M mel bands, T mel frames, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.data.pairs import PairSplit, read_groups, read_split
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.gallery import Gallery
from visual_echoes.evaluation.records import Level, Nearest
from visual_echoes.layout import Layout, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics import scores
from visual_echoes.metrics.classifiers import Judge
from visual_echoes.pipeline import VisualEchoes

SMALLEST_DISTANCE = 1e-6  # keeps ratios finite; far below the distance of any two real items
NEAREST_REFERENCES = 4096  # training images held as numbers at once


class Exam:
    """What a model is examined with.

    Args:
        echoes: the model.
        data: a folder of prepared data.
        image_judge, audio_judge: trained on the same shapes and on the same groups or more; of more, only the data's
            can be an answer.
        batch_size: items encoded, decoded or sampled at once.
        images: how many test images serve, the first of each group and as many of each; None for all.

    Attributes:
        group_names: names of the groups.
        training: the train split.
        pictures_BHWC, waves_BN: the test split as arrays, uint8 and float32 in [-1, 1].
        image_groups_B, sound_groups_B: their true groups, int64.
        judged_images_B, judged_sounds_B: what the judges take the real ones for.
        features: of the real ones, in the judges' features.
        mels_BMT: the test sounds' log-mels.
        image_distance_G, mel_distance_G: mean distance of two real items of a group.

    Raises:
        EchoesError: data that is missing, does not fit the model or has too few items of a group; a judge of other
            shapes or groups.
    """

    def __init__(
        self, echoes: VisualEchoes, data: Path, image_judge: Judge, audio_judge: Judge, batch_size: int,
        pictures: int | None = None, split: str = "test",
    ) -> None:  # fmt: skip
        if batch_size < 1:
            raise EchoesError(f"The batch size must be at least 1, not {batch_size}.")
        self.echoes, self.batch_size = echoes, batch_size
        test = read_split(data, split, echoes.layout)
        self.training = read_split(data, "train", echoes.layout)
        self.group_names = read_groups(data)
        self.groups = len(self.group_names)
        self.image_judge = _fitting(image_judge, "image", echoes.layout, self.group_names)
        self.audio_judge = _fitting(audio_judge, "audio", echoes.layout, self.group_names)
        _check_groups(test.image_groups, self.groups, f"the {split} images in {data}")
        _check_groups(test.sound_groups, self.groups, f"the {split} sounds in {data}")
        if pictures is not None:
            test = _fewer_images(test, pictures, self.groups)
        self.pictures_BHWC = test.images.movedim(1, -1).contiguous().numpy()
        self.image_groups_B = test.image_groups
        self.waves_BN = pcm_to_wave(test.sounds).numpy()
        self.sound_groups_B = test.sound_groups
        looks = self.image_judge.look(test.images), self.audio_judge.look(torch.from_numpy(self.waves_BN))
        self.judged_images_B, self.judged_sounds_B = (probabilities_BG.argmax(-1) for _, probabilities_BG in looks)
        self.features: dict[Modality, Tensor] = {"image": looks[0][0], "audio": looks[1][0]}
        self.mels_BMT = self._mels(self.waves_BN)
        self.image_distance_G = scores.within_group_distance(
            _unit_pixels(test.images), self.image_groups_B, self.groups
        )
        self.mel_distance_G = scores.within_group_distance(self.mels_BMT.flatten(1), self.sound_groups_B, self.groups)

    # Images

    def judge_images(
        self, pictures_BHWC: np.ndarray, asked_B: Tensor | None = None, gallery: Gallery | None = None
    ) -> Tensor:
        """Judged group of uint8 images, int64 (B,); a gallery is shown them with the groups that were asked for."""
        items_BCHW = torch.from_numpy(pictures_BHWC).movedim(-1, 1)
        features_BD, probabilities_BG = self.image_judge.look(items_BCHW)
        if gallery is not None and asked_B is not None:
            gallery.show("image", features_BD)
            gallery.ask("image", items_BCHW, asked_B)
        return probabilities_BG.argmax(-1)

    def picture_diversity(self, pictures_BHWC: np.ndarray, groups_B: Tensor, judged_B: Tensor) -> Tensor:
        """Within-group distance over that of real test images, float64 (G,); only those judged right count."""
        pixels_BD = _unit_pixels(torch.from_numpy(pictures_BHWC).movedim(-1, 1))
        return self._diversity(pixels_BD, groups_B, judged_B, self.image_distance_G)

    def nearest(self, pictures_BHWC: np.ndarray) -> Nearest:
        """How close uint8 images come to training images."""
        pixels_BD = _unit_pixels(torch.from_numpy(pictures_BHWC).movedim(-1, 1))
        parts = self.training.images.split(NEAREST_REFERENCES)
        nearest = [scores.nearest_distance(pixels_BD, _unit_pixels(part_RCHW)) for part_RCHW in parts]
        distance_B = torch.stack(nearest).amin(0)
        return Nearest(mean=float(distance_B.mean()), smallest=float(distance_B.min()))

    # Sounds

    def judge_sounds(
        self, waves_BN: np.ndarray, asked_B: Tensor | None = None, gallery: Gallery | None = None
    ) -> Tensor:
        """Judged group of generated sounds (B, layout.samples) as they are, at their own level, int64 (B,)."""
        features_BD, probabilities_BG = self.audio_judge.look(torch.from_numpy(self.clips(waves_BN)))
        if gallery is not None and asked_B is not None:
            gallery.show("audio", features_BD)
            gallery.ask("audio", torch.from_numpy(waves_BN), asked_B)
        return probabilities_BG.argmax(-1)

    def mel_diversity(self, mels_BMT: Tensor, groups_B: Tensor, judged_B: Tensor) -> Tensor:
        """Within-group distance over that of real test sounds, float64 (G,); only those judged right count."""
        return self._diversity(mels_BMT.flatten(1), groups_B, judged_B, self.mel_distance_G)

    def mel_l1(self, waves_BN: np.ndarray) -> float:
        """Mean distance of the log-mels of sounds (B, layout.samples) from those of the test sounds."""
        return float((self._mels(self.clips(waves_BN)) - self.mels_BMT).abs().mean())

    def _mels(self, clips_BN: np.ndarray) -> Tensor:
        return torch.cat([self.echoes.codec.mels(clips_BN[rows]).cpu() for rows in self.batches(len(clips_BN))])

    def clips(self, waves_BN: np.ndarray) -> np.ndarray:
        """Generated sounds in the place of the clip that their mel frames are cropped from."""
        layout = self.echoes.layout
        first = layout.mel_offset * layout.hop
        clips_BN = np.zeros((len(waves_BN), layout.clip_samples), np.float32)
        clips_BN[:, first : first + layout.samples] = waves_BN[:, : layout.clip_samples - first]
        return clips_BN

    # Both

    def batches(self, count: int) -> Iterator[slice]:
        """Slices of at most `batch_size` items."""
        for first in range(0, count, self.batch_size):
            yield slice(first, first + self.batch_size)

    def _diversity(self, items_BD: Tensor, groups_B: Tensor, judged_B: Tensor, real_G: Tensor) -> Tensor:
        right_B = judged_B == groups_B
        distance_G = scores.within_group_distance(items_BD[right_B], groups_B[right_B], self.groups)
        return distance_G / real_G.clamp_min(SMALLEST_DISTANCE)


def measure_level(waves_BN: np.ndarray) -> Level:
    """Level of sounds (B, N)."""
    waves = torch.from_numpy(waves_BN)
    peak_B = scores.peak_db(waves)
    return Level(
        peak_db=float(peak_B.mean()),
        rms_db=float(scores.rms_db(waves).mean()),
        silent=scores.share(peak_B < scores.SILENT_DB),
        clipped=scores.share(waves.abs().amax(1) >= scores.CLIPPED),
    )


def _unit_pixels(images_BCHW: Tensor) -> Tensor:
    """uint8 images to rows of pixels in [0, 1]."""
    return images_BCHW.flatten(1).float() / 255.0


_SHAPES: dict[str, Callable[[Layout], tuple[int, int]]] = {
    "image": lambda layout: (layout.image_size, layout.image_channels),
    "audio": lambda layout: (layout.sample_rate, layout.clip_samples),
}


def _check_groups(groups_B: Tensor, groups: int, place: str) -> None:
    """Every group needs two items, or there is no distance between them."""
    counts = torch.bincount(groups_B, minlength=groups)
    if len(counts) > groups or int(counts.min()) < 2:
        raise EchoesError(
            f"Among {place} there are fewer than two of some group, or unknown groups; prepare them again."
        )


def _fewer_images(split: PairSplit, pictures: int, groups: int) -> PairSplit:
    """The first images of each group, in their order."""
    of_each, rest = divmod(pictures, groups)
    members = [(split.image_groups == group).nonzero()[:, 0] for group in range(groups)]
    most = min(len(member) for member in members)
    if rest or not 2 <= of_each <= most:
        raise EchoesError(
            f"{pictures} test images cannot be as many of each of {groups} classes, from 2 to {most} of each; "
            "choose a multiple that can."
        )
    index_B = torch.cat([member[:of_each] for member in members]).sort().values
    return replace(split, images=split.images[index_B], image_groups=split.image_groups[index_B])


def _fitting(judge: Judge, modality: Modality, layout: Layout, groups: list[str]) -> Judge:
    """The judge, asked about these groups only."""
    if judge.config.modality != modality:
        raise EchoesError(f"The {modality} judge judges {judge.config.modality}; give one trained for {modality}.")
    if _SHAPES[modality](judge.layout) != _SHAPES[modality](layout):
        raise EchoesError(
            f"The {modality} judge was trained for layout {judge.layout.name!r}, whose items have another shape or "
            f"rate than those of {layout.name!r}; give one that fits the model."
        )
    return judge if judge.groups == groups else judge.restricted(groups)
