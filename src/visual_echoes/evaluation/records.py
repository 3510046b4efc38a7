"""What an evaluation measures, as records that turn into JSON and back.

Shares, accuracies and ratios are plain numbers (0.93, not 93 %). Distances between images are Euclidean over pixels
in [0, 1], those between mels over the layout's log-mel in [0, 1]. Tuples over groups are in the data set's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from pydantic import BaseModel, ConfigDict

from visual_echoes.layout import Modality
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import PairOrder


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(Record):
    """A figure that was measured once per seed."""

    mean: float
    deviation: float  # sample standard deviation; 0 for a single seed
    per_seed: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        deviation = stdev(values) if len(values) > 1 else 0.0
        return cls(mean=fmean(values), deviation=deviation, per_seed=tuple(values))


class Level(Record):
    """How loud sounds are."""

    peak_db: float  # mean over the sounds, dB of full scale
    rms_db: float
    silent: float  # share whose peak is below `metrics.SILENT_DB`
    clipped: float  # share that reach `metrics.CLIPPED`


class Nearest(Record):
    """Distance from images to their nearest training images; copies lie far closer than real test images."""

    mean: float
    smallest: float


class Codebook(Record):
    """Codes of a tokenizer that the test split uses."""

    usage: float  # share of the codes
    perplexity: float
    codes: int
    tokens: int  # how many were counted


class RealData(Record):
    """The judges on real test data, and what generated items are compared with."""

    picture_accuracy: float
    sound_accuracy: float
    picture_distance: tuple[float, ...]  # mean distance of two images of the same group
    mel_distance: tuple[float, ...]
    nearest: Nearest
    level: Level


class ImageRoundTrip(Record):
    """Test images through the tokenizer and back."""

    kept: float  # share whose judged group is that of the original
    right: float  # share judged to be their true group
    psnr_db: float
    diversity: float
    nearest: Nearest
    codebook: Codebook


class SoundRoundTrip(Record):
    """Test sounds through the vocoder, with the tokenizer before it or without."""

    kept: float
    right: float
    mel_l1: float  # between the log-mels of original and result
    level: Level


class RoundTrip(Record):
    pictures: ImageRoundTrip
    sounds: SoundRoundTrip  # tokenizer and vocoder
    vocoder: SoundRoundTrip  # vocoder alone, on the true mels
    mel_l1: float  # tokenizer alone
    mel_diversity: float
    audio_codebook: Codebook


class Judged(Record):
    """Whether generated items are what was asked for."""

    items: int  # per seed
    right: Spread  # share judged to be the group asked for
    confusion: tuple[tuple[int, ...], ...]  # rows: group asked for, columns: judged; all seeds together


class Diversity(Record):
    """Within-group distance of generated items over that of real ones; only items judged right count."""

    ratio: Spread  # mean over the groups
    per_group: tuple[float, ...]  # mean over the seeds


class ImageToSound(Record):
    judged: Judged
    diversity: Diversity  # of the mels the vocoder is given
    level: Level


class SoundToImage(Record):
    judged: Judged
    diversity: Diversity
    nearest: Nearest


class Pairs(Record):
    """Pairs from nothing."""

    items: int  # per seed
    agree: Spread  # share whose image and sound are judged alike
    confusion: tuple[tuple[int, ...], ...]  # rows: judged image, columns: judged sound; all seeds together
    picture_shares: tuple[float, ...]  # of each group, all seeds together
    sound_shares: tuple[float, ...]
    groups_seen: int  # fewest in any seed, among the images or among the sounds
    largest_share: float  # largest of any group in any seed, among the images or among the sounds


class Generated(Record):
    """All directions with one set of sampling settings."""

    settings: SamplingSettings
    picture_to_sound: ImageToSound
    sound_to_picture: SoundToImage
    pairs: dict[PairOrder, Pairs]


class Measures(Record):
    """Everything measured, from real data to the model's own."""

    real: RealData
    round_trip: RoundTrip
    generated: Generated
    unguided: Generated | None  # the same with guidance 1; None if `generated` has no guidance


class Distance(Record):
    """Between a set of items and the real test items, in the features of the own judge: neither FID nor FAD."""

    frechet_judge: float
    kid_judge: float
    kid_interval: tuple[float, float]  # 95 %, bootstrap
    items: int
    references: int
    dimensions: int  # features of an item
    warning: str | None  # where there are too few items for the figure to be compared with that of other numbers


class Look(Record):
    """One modality of one column of the report, beyond what the judge takes it for."""

    distance: Distance
    second_opinion: Spread | None  # share that it takes for the true group; None if there is none


class JudgedSounds(Record):
    judged: Judged
    level: Level


class JudgedImages(Record):
    judged: Judged


class Against(Record):
    """A baseline on the same tokens: its tokens through the same decoders, to the same judges."""

    picture_to_sound: JudgedSounds
    sound_to_picture: JudgedImages


class ScenesMeasures(Measures):
    """The same with baselines, distances and second opinions.

    `looks` has the columns "real" (half of the training split, or as many as were generated), "round trip",
    "generated", "unguided" and one for each baseline. The second opinion on "real" is that on the test split.
    """

    baselines: dict[str, Against]
    looks: dict[str, dict[Modality, Look]]
