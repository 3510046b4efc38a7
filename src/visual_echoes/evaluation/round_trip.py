"""Real data and its round trip through tokenizers and vocoder: the ceiling of everything that is made.

"Kept" is the share of items whose class after the round trip is that which the classifier takes the original for, so
that its own mistakes on real data do not count against the tokenizer. "Right" compares with the true group.

Shapes: B items, H rows, W columns, C channels, N samples, M mel bands, T mel frames.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from visual_echoes.evaluation.evaluation_set import EvaluationSet, images_of, level_figures, plain
from visual_echoes.evaluation.features import see_items
from visual_echoes.evaluation.making import measure_made, nearest_figures
from visual_echoes.evaluation.measures import WORDS
from visual_echoes.evaluation.measuring import distances
from visual_echoes.evaluation.probes import SecondOpinion
from visual_echoes.evaluation.records import Column
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics import scores
from visual_echoes.metrics.fidelity import HIGHEST_PSNR, psnr
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.tokenizers.vqgan import code_usage

HALF_SEED = 0  # draws the half of the training split that stands for real items


def measure_real(
    test: EvaluationSet, opinions: Mapping[Modality, SecondOpinion], most: Mapping[Modality, int]
) -> Column:
    """The classifiers on real test data, and the variety, novelty and level of it.

    Distances are those of training items: half of the split, or `most` of them.
    """
    figures = plain(
        nearest_figures(test, test.sides["image"].items)
        | level_figures(test.sides["audio"].items)
        | {f"{word}_diversity": 1.0 for word in WORDS.values()}
    )
    training = {"image": test.training.images, "audio": test.training.sounds}
    for modality in MODALITIES:
        side, word = test.sides[modality], WORDS[modality]
        inputs = images_of(side.items) if modality == "image" else torch.from_numpy(side.items)
        right = {f"{word}_right": scores.share(side.classes_B == side.groups_B)}
        if modality in opinions:
            right[f"{word}_opinion"] = scores.share(opinions[modality].classes(inputs) == side.groups_B)
        items = _half(training[modality], most[modality])
        seen = see_items(side.classifier, items if modality == "image" else pcm_to_wave(items))
        figures |= plain(right) | distances(word, seen, side.seen, False)
    return Column(figures=figures)


def measure_round_trip(test: EvaluationSet, opinions: Mapping[Modality, SecondOpinion] | None = None) -> Column:
    """The test split through the tokenizers, and its sounds through the vocoder with and without theirs."""
    codec, opinions = test.echoes.codec, opinions or {}
    images, sounds = test.sides["image"], test.sides["audio"]
    tokens: dict[Modality, list[Tensor]] = {"image": [], "audio": []}
    pixels, mels, decoded, vocoded = [], [], [], []
    for rows in test.batches(len(images.items)):
        tokens["image"].append(codec.encode_images(images.items[rows]).cpu())
        pixels.append(codec.decode_images(tokens["image"][-1].to(codec.device)))
    for rows in test.batches(len(sounds.items)):
        mel_BMT = test.mels_BMT[rows].to(codec.device)
        tokens["audio"].append(codec.encode_mels(mel_BMT).cpu())
        decoded_BMT = codec.decode_mels(tokens["audio"][-1].to(codec.device))
        mels.append(decoded_BMT.cpu())
        decoded.append(codec.vocode(decoded_BMT))
        vocoded.append(codec.vocode(mel_BMT))
    images_BHWC, mels_BMT = np.concatenate(pixels), torch.cat(mels)
    waves_BN, vocoded_BN = np.concatenate(decoded), np.concatenate(vocoded)
    classes_B = test.classes("audio", vocoded_BN)
    values = {
        "vocoder_right": scores.share(classes_B == sounds.groups_B),
        "vocoder_kept": scores.share(classes_B == sounds.classes_B),
        "image_psnr": min(psnr(images.items, images_BHWC), HIGHEST_PSNR),
        "mel_l1": test.mel_l1(waves_BN),
        "vocoder_mel_l1": test.mel_l1(vocoded_BN),
        "tokenizer_mel_l1": float((mels_BMT - test.mels_BMT).abs().mean()),
    }
    tokenizers: dict[Modality, Tokenizer] = {"image": codec.image_vqgan, "audio": codec.audio_vqgan}
    for modality, tokenizer in tokenizers.items():
        usage, perplexity = code_usage(torch.cat(tokens[modality]), tokenizer.config.codes)
        values |= {f"{WORDS[modality]}_codes": usage, f"{WORDS[modality]}_perplexity": perplexity}
    made = {"image": (images_BHWC, None), "audio": (waves_BN, mels_BMT.numpy())}
    found = Column(figures=plain(values))
    for modality in MODALITIES:
        groups_B = test.sides[modality].groups_B
        found |= measure_made(test, modality, [made[modality]], groups_B, opinions.get(modality), reconstructed=True)
    return found


def _half(items: Tensor, most: int) -> Tensor:
    """Items of a random half, at most so many."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(HALF_SEED))
    return items[order[: min(len(items) // 2, most)]]
