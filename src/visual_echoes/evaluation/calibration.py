"""Fitting how sure a model is, on items it has not learnt from, judged as in an evaluation.

Shapes: B items, I and A token places.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from visual_echoes.evaluation.exam import Exam
from visual_echoes.layout import Modality, other
from visual_echoes.metrics.classifiers import Judge
from visual_echoes.model.confidence import Calibration, Evidence, weigh
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.streams import empty_tokens

Outcomes = dict[Modality, tuple[Evidence, Tensor]]  # by what is made: of its conditions, and whether it is right (B,)


def measure_outcomes(
    echoes: VisualEchoes,
    data: Path,
    image_judge: Judge,
    audio_judge: Judge,
    split: str,
    *,
    pictures: int | None = None,
    sound_repeats: int = 1,
    batch_size: int = 64,
) -> Outcomes:
    """Make sounds for the images of a split and images for its sounds, and judge them.

    Args:
        split: "valid" to fit a calibration, "test" to see how well it holds.
        images: as in `Exam`.
        sound_repeats: images made for each sound.

    Raises:
        EchoesError: unusable data or judges.
    """
    exam = Exam(echoes, data, image_judge, audio_judge, batch_size, pictures, split)
    sounds = echoes.image_to_audio(list(exam.pictures_BHWC), seed=0, batch_size=batch_size)
    waves = [(wave_N, echoes.layout.sample_rate) for wave_N in exam.waves_BN] * sound_repeats
    images = echoes.audio_to_image(waves, seed=0, batch_size=batch_size)
    assert sounds.audio is not None
    assert images.images is not None
    return {
        "audio": (condition_evidence(exam, "audio"), exam.judge_sounds(sounds.audio) == exam.image_groups_B),
        "image": (
            Evidence(*(figure_B.repeat(sound_repeats) for figure_B in condition_evidence(exam, "image"))),
            exam.judge_images(images.images) == exam.sound_groups_B.repeat(sound_repeats),
        ),
    }


def fit_calibration(outcomes: Outcomes) -> dict[Modality, Calibration]:
    """One curve for each modality that is made."""
    return {target: Calibration.fit(*outcome) for target, outcome in outcomes.items()}


def condition_evidence(exam: Exam, target: Modality) -> Evidence:
    """What there is to know of each image or sound of the exam as a condition for the other modality."""
    codec = exam.echoes.codec
    transformer = codec.transformer
    found = []
    for rows in exam.batches(len(exam.pictures_BHWC if target == "audio" else exam.waves_BN)):
        if target == "audio":
            own_BPQ = codec.encode_images(exam.pictures_BHWC[rows])
            error_B = codec.image_error(exam.pictures_BHWC[rows], own_BPQ)
        else:
            mel_BMT = exam.mels_BMT[rows].to(codec.device)
            own_BPQ = codec.encode_mels(mel_BMT)
            error_B = codec.mel_error(mel_BMT, own_BPQ)
        condition = other(target)
        tokens = {**empty_tokens(exam.echoes.layout.streams, len(own_BPQ), own_BPQ.device), condition: own_BPQ}
        found.append(weigh(transformer, tokens, condition, target, error_B))
    return Evidence(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))
