"""Measuring one variant with one seed: figures by name, and the seconds an item took.

Shapes: B items, D features, G groups.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from visual_echoes.evaluation.against import measure_baseline
from visual_echoes.evaluation.baselines.interface import Baseline as BaselineModel
from visual_echoes.evaluation.calibration import condition_evidence
from visual_echoes.evaluation.ceiling import measure_round_trip
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.gallery import Gallery, measure_distance
from visual_echoes.evaluation.generated import SEED_STRIDE, Amounts, Meter
from visual_echoes.layout import MODALITIES
from visual_echoes.metrics import scores
from visual_echoes.studies.pictures import misleading_pictures
from visual_echoes.studies.plan import Generate, Mislead, Reconstruct

Figures = dict[str, float]
SPOKEN = {"image": "picture", "audio": "sound"}


def measure_generate(exam: Exam, work: Generate, pairs: int, seed: int) -> tuple[Figures, float]:
    """Both directions and pairs, or those of them that are targets, and the seconds an item."""
    figures, gallery = Figures(), Gallery({})
    request: dict[str, Any] = {
        **work.settings.model_dump(), "seed": seed * SEED_STRIDE, "batch_size": exam.batch_size,
    }  # fmt: skip
    items, seconds = 0, 0.0
    for target in work.targets:
        start = time.perf_counter()
        if target == "sound":
            result = exam.echoes.image_to_audio(list(exam.pictures_BHWC), **request)
        elif target == "picture":
            rate = exam.echoes.layout.sample_rate
            result = exam.echoes.audio_to_image([(wave_N, rate) for wave_N in exam.waves_BN], **request)
        else:
            result = exam.echoes.generate_pair(pairs, **request)
        seconds += time.perf_counter() - start
        items += len(result.seeds)
        if target == "sound":
            assert result.audio is not None
            assert result.mels is not None
            asked_B = exam.image_groups_B
            judged_B = exam.judge_sounds(result.audio, asked_B, gallery)
            ratio_G = exam.mel_diversity(torch.from_numpy(result.mels), asked_B, judged_B)
        elif target == "picture":
            assert result.images is not None
            asked_B = exam.sound_groups_B
            judged_B = exam.judge_images(result.images, asked_B, gallery)
            ratio_G = exam.picture_diversity(result.images, asked_B, judged_B)
        else:
            assert result.images is not None
            assert result.audio is not None
            agree_B = exam.judge_images(result.images) == exam.judge_sounds(result.audio)
            figures["pairs_agree"] = scores.share(agree_B)
            continue
        figures[f"{target}_right"] = scores.share(judged_B == asked_B)
        figures[f"{target}_diversity"] = float(ratio_G.mean())
    return figures | _distances(exam, gallery), seconds / items


def measure_mislead(exam: Exam, work: Mislead, seed: int) -> tuple[Figures, float]:
    """How coherent the sounds for odd images are, and how sure the model is of them."""
    if work.pictures != "real":
        layout = exam.echoes.layout
        exam.pictures_BHWC = misleading_pictures(work.pictures, len(exam.pictures_BHWC), layout, seed)
    start = time.perf_counter()
    result = exam.echoes.image_to_audio(
        list(exam.pictures_BHWC), seed=seed * SEED_STRIDE, batch_size=exam.batch_size, confidence=True,
        **work.settings.model_dump(),
    )  # fmt: skip
    seconds = (time.perf_counter() - start) / len(result.seeds)
    assert result.audio is not None
    features_BD, probabilities_BG = exam.audio_judge.look(torch.from_numpy(exam.clips(result.audio)))
    distance = measure_distance(features_BD, exam.features["audio"])
    figures = {
        "information": float(condition_evidence(exam, "audio").information_B.mean()),
        "sound_certainty": float(probabilities_BG.amax(-1).mean()),
        "largest_share": float(scores.group_shares(probabilities_BG.argmax(-1), exam.groups).max()),
        "sound_frechet": distance.frechet_judge,
        "sound_kid": distance.kid_judge,
    }
    if result.confidence is not None:
        unlike_B = np.isnan(result.confidence)
        figures["confidence"] = float(np.where(unlike_B, 0.0, result.confidence).mean())
        figures["unlike"] = float(unlike_B.mean())
    return figures, seconds


def measure_reconstruct(exam: Exam, work: Reconstruct) -> tuple[Figures, float]:
    """Real items, or what tokenizers and vocoder leave of them; there is nothing random in it but the items."""
    if work.stage == "real":
        right = {
            "sound_right": scores.share(exam.judged_sounds_B == exam.sound_groups_B),
            "picture_right": scores.share(exam.judged_images_B == exam.image_groups_B),
        }
        return right, 0.0
    gallery = Gallery({})
    start = time.perf_counter()
    trip = measure_round_trip(exam, gallery)
    seconds = (time.perf_counter() - start) / (len(exam.pictures_BHWC) + len(exam.waves_BN))
    sounds = trip.vocoder if work.stage == "vocoder" else trip.sounds
    figures = {"sound_right": sounds.right, "sound_kept": sounds.kept, "mel_l1": sounds.mel_l1}
    if work.stage == "vocoder":
        return figures, seconds
    pictures, codes = trip.pictures, {"picture": trip.pictures.codebook, "sound": trip.audio_codebook}
    figures |= {"picture_right": pictures.right, "picture_kept": pictures.kept, "picture_psnr": pictures.psnr_db}
    figures |= {f"{name}_codes": codebook.usage for name, codebook in codes.items()}
    figures |= {f"{name}_perplexity": codebook.perplexity for name, codebook in codes.items()}
    return figures | _distances(exam, gallery), seconds


def measure_beside(exam: Exam, name: str, baseline: BaselineModel, seed: int) -> tuple[Figures, float]:
    """A baseline, both directions."""
    gallery = Gallery({})
    start = time.perf_counter()
    found = measure_baseline(exam, name, baseline, Amounts((seed,), 1, 1), 1, Meter(None, 0), gallery)
    seconds = (time.perf_counter() - start) / (len(exam.pictures_BHWC) + len(exam.waves_BN))
    figures = {
        "sound_right": found.picture_to_sound.judged.right.mean,
        "picture_right": found.sound_to_picture.judged.right.mean,
    }
    return figures | _distances(exam, gallery), seconds


def _distances(exam: Exam, gallery: Gallery) -> Figures:
    """Of what a gallery was shown, to all real test items."""
    figures = Figures()
    for modality in MODALITIES:
        if gallery.shown(modality):
            distance = gallery.look(modality, exam.features[modality]).distance
            figures[f"{SPOKEN[modality]}_frechet"] = distance.frechet_judge
            figures[f"{SPOKEN[modality]}_kid"] = distance.kid_judge
    return figures
