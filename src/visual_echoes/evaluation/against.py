"""A baseline beside the model: the same conditions and seeds, the same decoders, the same judges.

Shapes: B items, I image places, A sound places.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.data.pairs import read_split
from visual_echoes.data.tokens import TokenCache
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.baselines.interface import Baseline
from visual_echoes.evaluation.baselines.retrieval import ClassMean, NearestNeighbour
from visual_echoes.evaluation.exam import Exam, measure_level
from visual_echoes.evaluation.gallery import Gallery
from visual_echoes.evaluation.generated import SEED_STRIDE, Amounts, Meter, mean_level, summarise_judged
from visual_echoes.evaluation.records import Against, JudgedImages, JudgedSounds
from visual_echoes.layout import Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.model.autoregressive import AutoregressiveBaseline, load_autoregressive
from visual_echoes.pipeline import VisualEchoes


def baseline_steps(exam: Exam, amounts: Amounts, steps: int) -> int:
    """Steps that `measure_baseline` reports to its meter: a batch counts as one of the model's does."""
    counts = len(exam.pictures_BHWC), len(exam.waves_BN) * amounts.sound_repeats
    return sum(len(list(exam.batches(count))) for count in counts) * len(amounts.seeds) * steps


def measure_baseline(
    exam: Exam, name: str, baseline: Baseline, amounts: Amounts, steps: int, meter: Meter, gallery: Gallery
) -> Against:
    """One sound for each test image and seed, and `sound_repeats` images for each test sound and seed.

    Args:
        name: what progress calls it.
        steps: that a batch counts as.
        gallery: is shown both directions.
    """
    return Against(
        picture_to_sound=_image_to_sound(exam, name, baseline, amounts, steps, meter, gallery),
        sound_to_picture=_sound_to_image(exam, name, baseline, amounts, steps, meter, gallery),
    )


def _image_to_sound(
    exam: Exam, name: str, baseline: Baseline, amounts: Amounts, steps: int, meter: Meter, gallery: Gallery
) -> JudgedSounds:
    codec, asked_B = exam.echoes.codec, exam.image_groups_B
    tokens_BI = torch.cat(
        [codec.encode_images(exam.pictures_BHWC[rows]).cpu() for rows in exam.batches(len(exam.pictures_BHWC))]
    )
    judged, levels = [], []
    for seed in amounts.seeds:
        waves = []
        for rows, seeds in _batches(exam, len(tokens_BI), seed):
            tokens_BA = baseline.image_to_audio(tokens_BI[rows], seeds)
            waves.append(codec.vocode(codec.decode_mels(tokens_BA.to(codec.device))))
            meter.advance(f"{name}: image to sound", steps)
        waves_BN = np.concatenate(waves)
        judged.append(exam.judge_sounds(waves_BN, asked_B, gallery))
        levels.append(measure_level(waves_BN))
    return JudgedSounds(judged=summarise_judged(asked_B, judged, exam.groups), level=mean_level(levels))


def _sound_to_image(
    exam: Exam, name: str, baseline: Baseline, amounts: Amounts, steps: int, meter: Meter, gallery: Gallery
) -> JudgedImages:
    codec, asked_B = exam.echoes.codec, exam.sound_groups_B.repeat(amounts.sound_repeats)
    encoded = [codec.encode_mels(exam.mels_BMT[rows].to(codec.device)) for rows in exam.batches(len(exam.mels_BMT))]
    tokens_BA: Tensor = torch.cat(encoded).cpu().repeat(amounts.sound_repeats, 1, 1)
    judged = []
    for seed in amounts.seeds:
        pictures = []
        for rows, seeds in _batches(exam, len(tokens_BA), seed):
            tokens_BI = baseline.audio_to_image(tokens_BA[rows], seeds)
            pictures.append(codec.decode_images(tokens_BI.to(codec.device)))
            meter.advance(f"{name}: sound to image", steps)
        judged.append(exam.judge_images(np.concatenate(pictures), asked_B, gallery))
    return JudgedImages(judged=summarise_judged(asked_B, judged, exam.groups))


def _batches(exam: Exam, items: int, seed: int) -> list[tuple[slice, list[int]]]:
    """Rows of each batch with the seeds of its items, which are those of the model's own items."""
    first = seed * SEED_STRIDE
    return [(rows, list(range(first, first + items))[rows]) for rows in exam.batches(items)]


def retrieval_baselines(
    echoes: VisualEchoes, data: Path, batch_size: int, report: Callable[[int, int], None] | None = None
) -> dict[str, Baseline]:
    """Baselines that look up the train split, through the model's own tokenizers: "retrieval" and "class mean".

    Args:
        report: called with items encoded and items in all.

    Raises:
        EchoesError: data that is missing or does not fit the model.
    """
    codec, train = echoes.codec, read_split(data, "train", echoes.layout)
    total, done = len(train.images) + len(train.sounds), 0

    def encoded(items: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        nonlocal done
        tokens = []
        for part in items.split(batch_size):
            tokens.append(encode(part).cpu().to(torch.int16))
            done += len(part)
            if report is not None:
                report(done, total)
        return torch.cat(tokens)

    pictures_BI1 = encoded(train.images, lambda part: codec.encode_images(part.movedim(1, -1).contiguous().numpy()))
    sounds_BA1 = encoded(train.sounds, lambda part: codec.encode_mels(codec.mels(pcm_to_wave(part).numpy())))
    cache = TokenCache(
        {"image": {"image": pictures_BI1}, "audio": {"audio": sounds_BA1}},
        {"image": train.image_groups, "audio": train.sound_groups},
    )
    codebooks: dict[Modality, Tensor] = {
        "image": codec.image_vqgan.quantize.embedding.weight.detach().cpu(),
        "audio": codec.audio_vqgan.quantize.embedding.weight.detach().cpu(),
    }
    return {"retrieval": NearestNeighbour(cache, codebooks), "class mean": ClassMean(cache, codebooks)}


def autoregressive_baseline(echoes: VisualEchoes, folder: Path) -> Baseline:
    """The autoregressive transformer in a folder; `EchoesError` if it is none, or not for the model's tokens."""
    network = load_autoregressive(folder)
    layout, config = echoes.layout, network.config
    if config.streams != layout.streams:
        raise EchoesError(f"{folder} was trained on tokens of another layout than {layout.name!r}; give one that fits.")
    return AutoregressiveBaseline(network.to(echoes.device))
