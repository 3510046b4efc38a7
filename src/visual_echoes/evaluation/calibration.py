"""Fitting how sure a model is, on items it has not learnt from, classified as in an evaluation.

Shapes: B items, I and A token positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from visual_echoes.evaluation.evaluation_set import EvaluationSet
from visual_echoes.layout import Modality, other
from visual_echoes.metrics.classifiers import Classifier
from visual_echoes.model.confidence import Calibration, Evidence, weigh
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.streams import empty_tokens

Outcomes = dict[Modality, tuple[Evidence, Tensor]]  # by what is made: of its conditions, and whether it is right (B,)


def measure_outcomes(
    echoes: VisualEchoes,
    data: Path,
    classifiers: Mapping[Modality, Classifier],
    split: str,
    *,
    images: int | None = None,
    sound_repeats: int = 1,
    batch_size: int = 64,
) -> Outcomes:
    """Make sounds for the images of a split and images for its sounds, and classify them.

    Args:
        split: "valid" to fit a calibration, "test" to see how well it holds.
        images: as in `EvaluationSet`.
        sound_repeats: images made for each sound.

    Raises:
        EchoesError: unusable data or classifiers.
    """
    test = EvaluationSet(echoes, data, classifiers, batch_size, images, split)
    given, heard = test.sides["image"], test.sides["audio"]
    sounds = echoes.image_to_audio(list(given.items), seed=0, batch_size=batch_size)
    waves = [(wave_N, echoes.layout.sample_rate) for wave_N in heard.items] * sound_repeats
    seen = echoes.audio_to_image(waves, seed=0, batch_size=batch_size)
    assert sounds.audio is not None
    assert seen.images is not None
    evidence = Evidence(*(figure_B.repeat(sound_repeats) for figure_B in condition_evidence(test, "image")))
    return {
        "audio": (condition_evidence(test, "audio"), test.classes("audio", sounds.audio) == given.groups_B),
        "image": (evidence, test.classes("image", seen.images) == heard.groups_B.repeat(sound_repeats)),
    }


def fit_calibration(outcomes: Outcomes) -> dict[Modality, Calibration]:
    """One curve for each modality that is made."""
    return {target: Calibration.fit(*outcome) for target, outcome in outcomes.items()}


def condition_evidence(test: EvaluationSet, target: Modality) -> Evidence:
    """What there is to know of each image or sound of the evaluation set as a condition for the other modality."""
    codec, condition = test.echoes.codec, other(target)
    items, found = test.sides[condition].items, []
    for rows in test.batches(len(items)):
        if target == "audio":
            own_BPQ = codec.encode_images(items[rows])
            error_B = codec.image_error(items[rows], own_BPQ)
        else:
            mel_BMT = test.mels_BMT[rows].to(codec.device)
            own_BPQ = codec.encode_mels(mel_BMT)
            error_B = codec.mel_error(mel_BMT, own_BPQ)
        tokens = {**empty_tokens(test.echoes.layout.streams, len(own_BPQ), own_BPQ.device), condition: own_BPQ}
        found.append(weigh(codec.transformer, tokens, condition, target, error_B))
    return Evidence(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))
