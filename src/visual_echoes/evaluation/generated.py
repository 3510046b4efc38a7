"""What the model generates: both directions and pairs from nothing, once per seed.

Item i of seed s is made with the pipeline's seed s * SEED_STRIDE + i, so no two seeds share an item's noise, and the
same item with and without guidance starts from the same noise.

Shapes: B items, H rows, W columns, C channels, N samples, M mel bands, T mel frames, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from visual_echoes.evaluation.exam import Exam, measure_level
from visual_echoes.evaluation.gallery import Gallery
from visual_echoes.evaluation.records import (
    Diversity,
    Generated,
    ImageToSound,
    Judged,
    Level,
    Nearest,
    Pairs,
    SoundToImage,
    Spread,
)
from visual_echoes.metrics import scores
from visual_echoes.model.interface import Progress
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import PAIR_ORDERS, PairOrder

SEED_STRIDE = 1_000_000
MEASURED_ORDERS: tuple[PairOrder, ...] = ("together", "image_first")

# Called with what is being made, sampling steps done and steps in all, over the whole evaluation.
EvaluationProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Amounts:
    """How much is generated.

    Attributes:
        seeds: one run over everything for each.
        pairs: pairs from nothing per seed and order.
        sound_repeats: images for each test sound and seed.
    """

    seeds: tuple[int, ...]
    pairs: int
    sound_repeats: int


class Meter:
    """Turns the progress of single requests into that of the whole evaluation."""

    def __init__(self, progress: EvaluationProgress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def follow(self, name: str, steps: int) -> Progress | None:
        """The callback of one request of `steps` sampling steps."""
        start, self.done = self.done, self.done + steps
        progress = self.progress
        return None if progress is None else lambda done, *_: progress(name, start + done, self.total)

    def advance(self, name: str, steps: int) -> None:
        """Say that `steps` more are done."""
        self.done += steps
        if self.progress is not None:
            self.progress(name, self.done, self.total)


def sampling_steps(exam: Exam, amounts: Amounts, settings: SamplingSettings) -> int:
    """Steps that `measure_generated` reports to its meter."""
    stages = sum(len(PAIR_ORDERS[order]) for order in MEASURED_ORDERS)
    counts = len(exam.pictures_BHWC), len(exam.waves_BN) * amounts.sound_repeats
    per_seed = sum(_steps(exam, count, settings) for count in counts) + _steps(exam, amounts.pairs, settings) * stages
    return per_seed * len(amounts.seeds)


def measure_generated(
    exam: Exam, amounts: Amounts, settings: SamplingSettings, meter: Meter, gallery: Gallery | None = None
) -> Generated:
    """Generate with one set of settings, and measure; a gallery is shown both directions."""
    return Generated(
        settings=settings,
        picture_to_sound=_image_to_sound(exam, amounts, settings, meter, gallery),
        sound_to_picture=_sound_to_image(exam, amounts, settings, meter, gallery),
        pairs={order: _pairs(exam, amounts, settings, order, meter) for order in MEASURED_ORDERS},
    )


def _image_to_sound(
    exam: Exam, amounts: Amounts, settings: SamplingSettings, meter: Meter, gallery: Gallery | None
) -> ImageToSound:
    """One sound for each test image and seed."""
    pictures, asked_B = list(exam.pictures_BHWC), exam.image_groups_B
    judged, ratios, levels = [], [], []
    for seed in amounts.seeds:
        result = exam.echoes.image_to_audio(
            pictures,
            seed=seed * SEED_STRIDE,
            batch_size=exam.batch_size,
            progress=meter.follow("image to sound", _steps(exam, len(pictures), settings)),
            **settings.model_dump(),
        )
        assert result.audio is not None
        assert result.mels is not None
        judged.append(exam.judge_sounds(result.audio, asked_B, gallery))
        ratios.append(exam.mel_diversity(torch.from_numpy(result.mels), asked_B, judged[-1]))
        levels.append(measure_level(result.audio))
    return ImageToSound(
        judged=summarise_judged(asked_B, judged, exam.groups), diversity=_diversity(ratios), level=mean_level(levels)
    )


def _sound_to_image(
    exam: Exam, amounts: Amounts, settings: SamplingSettings, meter: Meter, gallery: Gallery | None
) -> SoundToImage:
    """`sound_repeats` images for each test sound and seed."""
    rate = exam.echoes.layout.sample_rate
    sounds = [(wave_N, rate) for wave_N in exam.waves_BN] * amounts.sound_repeats
    asked_B = exam.sound_groups_B.repeat(amounts.sound_repeats)
    judged, ratios, nearest = [], [], []
    for seed in amounts.seeds:
        result = exam.echoes.audio_to_image(
            sounds,
            seed=seed * SEED_STRIDE,
            batch_size=exam.batch_size,
            progress=meter.follow("sound to image", _steps(exam, len(sounds), settings)),
            **settings.model_dump(),
        )
        assert result.images is not None
        judged.append(exam.judge_images(result.images, asked_B, gallery))
        ratios.append(exam.picture_diversity(result.images, asked_B, judged[-1]))
        nearest.append(exam.nearest(result.images))
    return SoundToImage(
        judged=summarise_judged(asked_B, judged, exam.groups),
        diversity=_diversity(ratios),
        nearest=Nearest(mean=fmean(n.mean for n in nearest), smallest=min(n.smallest for n in nearest)),
    )


def _pairs(exam: Exam, amounts: Amounts, settings: SamplingSettings, order: PairOrder, meter: Meter) -> Pairs:
    """`pairs` pairs from nothing for each seed."""
    steps = _steps(exam, amounts.pairs, settings) * len(PAIR_ORDERS[order])
    pictures, sounds = [], []
    for seed in amounts.seeds:
        result = exam.echoes.generate_pair(
            amounts.pairs,
            pair_order=order,
            seed=seed * SEED_STRIDE,
            batch_size=exam.batch_size,
            progress=meter.follow(f"pairs, {order}", steps),
            **settings.model_dump(),
        )
        assert result.images is not None
        assert result.audio is not None
        pictures.append(exam.judge_images(result.images))
        sounds.append(exam.judge_sounds(result.audio))
    return summarise_pairs(pictures, sounds, exam.groups)


def summarise_pairs(pictures: Sequence[Tensor], sounds: Sequence[Tensor], groups: int) -> Pairs:
    """Figures of pairs from the judged groups of their images and of their sounds, one tensor (B,) per seed."""
    shares = [scores.group_shares(judged_B, groups) for judged_B in (*pictures, *sounds)]
    return Pairs(
        items=len(pictures[0]),
        agree=Spread.of([scores.share(p == s) for p, s in zip(pictures, sounds, strict=True)]),
        confusion=_confusion(torch.cat(list(pictures)), torch.cat(list(sounds)), groups),
        picture_shares=tuple(scores.group_shares(torch.cat(list(pictures)), groups).tolist()),
        sound_shares=tuple(scores.group_shares(torch.cat(list(sounds)), groups).tolist()),
        groups_seen=min(int((share_G > 0).sum()) for share_G in shares),
        largest_share=max(float(share_G.max()) for share_G in shares),
    )


def summarise_judged(asked_B: Tensor, judged: Sequence[Tensor], groups: int) -> Judged:
    """Figures of one direction from the judged groups, one tensor (B,) per seed."""
    return Judged(
        items=len(asked_B),
        right=Spread.of([scores.share(judged_B == asked_B) for judged_B in judged]),
        confusion=_confusion(asked_B.repeat(len(judged)), torch.cat(list(judged)), groups),
    )


def _confusion(rows_B: Tensor, columns_B: Tensor, groups: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in scores.confusion_matrix(rows_B, columns_B, groups).tolist())


def _diversity(ratios: Sequence[Tensor]) -> Diversity:
    return Diversity(
        ratio=Spread.of([float(ratio_G.mean()) for ratio_G in ratios]),
        per_group=tuple(torch.stack(list(ratios)).mean(0).tolist()),
    )


def mean_level(levels: Sequence[Level]) -> Level:
    """Mean over the seeds."""
    return Level(**{name: fmean(getattr(level, name) for level in levels) for name in Level.model_fields})


def _steps(exam: Exam, items: int, settings: SamplingSettings) -> int:
    return len(list(exam.batches(items))) * settings.steps
