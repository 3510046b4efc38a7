"""What a model makes of the evaluation set, once per seed: sounds for images, images for sounds, pairs from nothing.

Item i of seed s is made with the pipeline's seed s * SEED_STRIDE + i, so no two seeds share an item's noise, and the
same item with and without guidance starts from the same noise.

Shapes: B items, H rows, W columns, C channels, N samples, M mel bands, T mel frames, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from visual_echoes.evaluation.baselines import BaselineModel
from visual_echoes.evaluation.evaluation_set import EvaluationSet, images_of, level_figures, plain, unit_pixels
from visual_echoes.evaluation.features import Seen
from visual_echoes.evaluation.measures import WORDS
from visual_echoes.evaluation.measuring import confuse, distances
from visual_echoes.evaluation.probes import SecondOpinion
from visual_echoes.evaluation.records import Column, Confusion, Figure
from visual_echoes.layout import Modality
from visual_echoes.metrics import scores
from visual_echoes.model.interface import Progress
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import PAIR_ORDERS, PairOrder, Result, VisualEchoes

SEED_STRIDE = 1_000_000
Target = Literal["sound", "image", "pairs", "image_first"]
TARGETS: tuple[Target, ...] = ("sound", "image", "pairs", "image_first")
DIRECTIONS: tuple[Target, ...] = ("sound", "image")
ORDERS: dict[Target, PairOrder] = {"pairs": "together", "image_first": "image_first"}
# The names that these tables have in measurements, and what rows and columns are.
MATRICES: dict[Target, tuple[str, str, str]] = {
    "sound": ("picture-to-sound", "class of the image", "class that the sound is taken for"),
    "image": ("sound-to-picture", "class of the sound", "class that the image is taken for"),
    "pairs": ("pairs", "class that the image is taken for", "class that the sound is taken for"),
}

# Called with what is being made, sampling steps done and steps in all, over the whole evaluation.
EvaluationProgress = Callable[[str, int, int], None]
# Items of one seed: uint8 images (B, H, W, C), or sounds (B, N) with the mels (B, M, T) that they were made from.
Made = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Amounts:
    """How much is made.

    Attributes:
        seeds: one run over everything for each.
        pairs: pairs from nothing per seed and order.
        sound_repeats: images for each test sound and seed.
    """

    seeds: tuple[int, ...]
    pairs: int
    sound_repeats: int = 1

    def items(self, test: EvaluationSet, target: Target) -> int:
        """How many items one seed makes."""
        images, sounds = (len(test.sides[modality].items) for modality in ("image", "audio"))
        return {"sound": images, "image": sounds * self.sound_repeats}.get(target, self.pairs)

    def steps(self, test: EvaluationSet, target: Target, settings: SamplingSettings) -> int:
        """Sampling steps of one seed."""
        stages = len(PAIR_ORDERS[ORDERS[target]]) if target in ORDERS else 1
        return len(list(test.batches(self.items(test, target)))) * settings.steps * stages * settings.best_of


class Meter:
    """Turns the progress of single requests into that of the whole evaluation."""

    def __init__(self, progress: EvaluationProgress | None = None, total: int = 0) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def follow(self, name: str, steps: int) -> Progress | None:
        """The callback of one request, which counts as `steps` however many it takes."""
        start, self.done = self.done, self.done + steps
        progress = self.progress
        return None if progress is None else lambda done, of, *_: progress(name, start + steps * done // of, self.total)


def make(
    test: EvaluationSet, maker: VisualEchoes | BaselineModel, target: Target, settings: SamplingSettings,
    amounts: Amounts, meter: Meter, name: str = "", **options: Any,
) -> Iterator[Result]:  # fmt: skip
    """What a model or a baseline makes, seed by seed.

    Args:
        name: stands before what progress is told.
        options: of the request, beside the settings.
    """
    for seed in amounts.seeds:
        request = {
            "seed": seed * SEED_STRIDE, "batch_size": test.batch_size,
            "progress": meter.follow(name + target, amounts.steps(test, target, settings)),
            **settings.model_dump(), **options,
        }  # fmt: skip
        if target == "sound":
            yield maker.image_to_audio(list(test.sides["image"].items), **request)
        elif target == "image":
            rate = test.echoes.layout.sample_rate
            sounds = [(wave_N, rate) for wave_N in test.sides["audio"].items]
            yield maker.audio_to_image(sounds * amounts.sound_repeats, **request)
        else:
            assert isinstance(maker, VisualEchoes)
            yield maker.generate_pair(amounts.pairs, pair_order=ORDERS[target], **request)


def measure_results(
    test: EvaluationSet, target: Target, results: Iterable[Result], opinion: SecondOpinion | None = None
) -> Column:
    """Figures of what `make` made for a target."""
    if target in ORDERS:
        pairs = [(test.classes("image", _images(r)[0]), test.classes("audio", _sounds(r)[0])) for r in results]
        images, sounds = ([*each] for each in zip(*pairs, strict=True))
        matrices = _matrix(test, target, torch.cat(images), torch.cat(sounds)) if target == "pairs" else {}
        return Column(figures=pair_figures(target, images, sounds, test.groups), matrices=matrices)
    given: Modality = "image" if target == "sound" else "audio"
    groups_B = test.sides[given].groups_B
    if target == "sound":
        return measure_made(test, "audio", map(_sounds, results), groups_B, opinion)
    return measure_made(test, "image", map(_images, results), groups_B, opinion)


def measure_made(
    test: EvaluationSet, modality: Modality, made: Iterable[Made], groups_B: Tensor,
    opinion: SecondOpinion | None = None, reconstructed: bool = False,
) -> Column:  # fmt: skip
    """Figures of made items by their classifier, over seeds.

    Args:
        made: the items of each seed.
        groups_B: the groups they should be of; repeated where there are more items.
        reconstructed: they are the test items' round trip, which is made once, so that each has an original.
    """
    side, word = test.sides[modality], WORDS[modality]
    seeds: list[dict[str, float]] = []
    seen: list[Seen] = []
    for items, mels in made:
        seen.append(test.see(modality, items))
        asked_B, classes_B = groups_B.repeat(len(items) // len(groups_B)), seen[-1].classes_B
        values = unit_pixels(images_of(items)) if mels is None else torch.from_numpy(mels).flatten(1)
        found = {
            f"{word}_right": scores.share(classes_B == asked_B),
            f"{word}_diversity": test.diversity(modality, values, asked_B, classes_B),
        }
        if opinion is not None:
            inputs = images_of(items) if modality == "image" else torch.from_numpy(items)
            found[f"{word}_opinion"] = scores.share(opinion.classes(inputs) == asked_B)
        if reconstructed:
            found[f"{word}_kept"] = scores.share(classes_B == side.classes_B)
        seeds.append(found | (nearest_figures(test, items) if modality == "image" else level_figures(items)))
    figures = plain(seeds[0]) if reconstructed else over_seeds(seeds)
    joined = Seen.joined(seen)
    figures |= distances(word, joined, side.seen, reconstructed)
    target: Target = "sound" if modality == "audio" else "image"
    all_B = groups_B.repeat(len(joined.ids) // len(groups_B))
    return Column(figures=figures, matrices={} if reconstructed else _matrix(test, target, all_B, joined.classes_B))


def nearest_figures(test: EvaluationSet, images_BHWC: np.ndarray) -> dict[str, float]:
    """How close images come to training images."""
    distance_B = test.nearest(images_BHWC)
    return {"image_nearest": float(distance_B.mean()), "image_closest": float(distance_B.min())}


def over_seeds(seeds: Sequence[dict[str, float]]) -> dict[str, Figure]:
    """The same figures of each seed, as one of each; the closest image is that of all seeds."""
    figures = {name: Figure.of_seeds([found[name] for found in seeds]) for name in seeds[0]}
    if "image_closest" in figures:
        figures["image_closest"] = Figure(value=min(found["image_closest"] for found in seeds))
    return figures


def pair_figures(prefix: str, images: Sequence[Tensor], sounds: Sequence[Tensor], groups: int) -> dict[str, Figure]:
    """Figures of pairs from the classes (B,) of their images and of their sounds, one of each per seed.

    The classes that never appear are the most, and the most frequent one's share the largest, of any seed's images
    or sounds.
    """
    shares = [scores.group_shares(classes_B, groups) for classes_B in (*images, *sounds)]
    return {
        f"{prefix}_agree": Figure.of_seeds([scores.share(i == s) for i, s in zip(images, sounds, strict=True)]),
        f"{prefix}_missing": Figure(value=max(int((share_G == 0).sum()) for share_G in shares)),
        f"{prefix}_largest": Figure(value=max(float(share_G.max()) for share_G in shares)),
    }


def _matrix(test: EvaluationSet, target: Target, rows_B: Tensor, columns_B: Tensor) -> dict[str, Confusion]:
    name, rows, columns = MATRICES[target]
    return {name: confuse(rows_B, columns_B, test.group_names, f"{name}, all seeds", rows, columns)}


def _images(result: Result) -> Made:
    assert result.images is not None
    return result.images, None


def _sounds(result: Result) -> Made:
    assert result.audio is not None
    return result.audio, result.mels
