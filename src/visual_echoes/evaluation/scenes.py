"""Evaluating a model of natural images and sounds: as any data paired by class, and beside it baselines on the same
tokens, distances in the judges' features, and second opinions by classifiers that were trained elsewhere.

Shapes: B items, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visual_echoes.evaluation.against import baseline_steps, measure_baseline
from visual_echoes.evaluation.baselines.interface import Baseline
from visual_echoes.evaluation.classes import Evaluation
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.gallery import Gallery
from visual_echoes.evaluation.generated import Amounts, EvaluationProgress
from visual_echoes.evaluation.records import Against, Look, ScenesMeasures
from visual_echoes.evaluation.report import NO_OPINION, ScenesReport
from visual_echoes.evaluation.targets import SCENES
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.classifiers import Judge
from visual_echoes.metrics.networks.second_opinions import SecondOpinion
from visual_echoes.pipeline import VisualEchoes

REAL, ROUND_TRIP, GENERATED, UNGUIDED = "real", "round trip", "generated", "unguided"
HALF_SEED = 0  # draws the half of the training split that stands for real items


def evaluate_scenes(
    echoes: VisualEchoes,
    data: Path,
    image_judge: Judge,
    audio_judge: Judge,
    baselines: Mapping[str, Baseline],
    opinions: Mapping[Modality, SecondOpinion],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    pictures: int | None = 600,
    pairs: int = 600,
    sound_repeats: int = 10,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    progress: EvaluationProgress | None = None,
) -> ScenesReport:
    """Measure a model on the test split of prepared data, as `evaluate_classes` does, beside baselines.

    Args:
        baselines: what is measured beside the model, by name; on the tokens of the model's own tokenizers.
        opinions: second opinions, for the modalities that have one.
        images: test images, the first and as many of each class; None for all.

    Raises:
        EchoesError: unusable data, judges, amounts or settings.
    """
    amounts = Amounts(tuple(seeds), pairs, sound_repeats)
    evaluation = Evaluation(echoes, data, image_judge, audio_judge, amounts, batch_size, settings, progress, pictures)
    exam, meter, steps = evaluation.exam, evaluation.meter, evaluation.sampling.steps
    meter.total += len(baselines) * baseline_steps(exam, amounts, steps)
    galleries = {name: Gallery(opinions) for name in (ROUND_TRIP, GENERATED, UNGUIDED, *baselines)}
    measures = evaluation.measure(galleries[ROUND_TRIP], galleries[GENERATED], galleries[UNGUIDED])
    against: dict[str, Against] = {
        name: evaluation.timed(name, measure_baseline, exam, name, baseline, amounts, steps, meter, galleries[name])
        for name, baseline in baselines.items()
    }
    if measures.unguided is None:
        del galleries[UNGUIDED]
    looks = {REAL: evaluation.timed("distances", _real_looks, exam, galleries[GENERATED], opinions)}
    for name, gallery in galleries.items():
        looks[name] = {
            modality: gallery.look(modality, exam.features[modality], paired=name == ROUND_TRIP)
            for modality in MODALITIES
        }
    full = ScenesMeasures(
        **{name: getattr(measures, name) for name in type(measures).model_fields}, baselines=against, looks=looks
    )
    return ScenesReport(
        **evaluation.facts(),
        groups=tuple(exam.group_names),
        second_opinions={m: opinions[m].name if m in opinions else NO_OPINION for m in MODALITIES},
        measures=full,
        targets=tuple(target.check(full) for target in SCENES),
    )


def _real_looks(exam: Exam, generated: Gallery, opinions: Mapping[Modality, SecondOpinion]) -> dict[Modality, Look]:
    """Training items in the place of generated ones, as many if half the split has them; opinions on test items."""
    gallery = Gallery(opinions)
    pictures_BCHW = _half(exam.training.images, generated.shown("image"))
    sounds_BN = pcm_to_wave(_half(exam.training.sounds, generated.shown("audio")))
    gallery.show("image", exam.image_judge.look(pictures_BCHW)[0])
    gallery.show("audio", exam.audio_judge.look(sounds_BN)[0])
    gallery.ask("image", torch.from_numpy(exam.pictures_BHWC).movedim(-1, 1), exam.image_groups_B)
    gallery.ask("audio", torch.from_numpy(exam.waves_BN), exam.sound_groups_B)
    return {modality: gallery.look(modality, exam.features[modality]) for modality in MODALITIES}


def _half(items: Tensor, most: int) -> Tensor:
    """Items of a random half, at most so many."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(HALF_SEED))
    return items[order[: min(len(items) // 2, most)]]
