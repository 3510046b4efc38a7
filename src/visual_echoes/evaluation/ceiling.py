"""Real data and the round trip through tokenizers and vocoder: the ceiling of everything generated.

"Kept" is the share of items whose judged group after the round trip is the judged group of the original, so that a
judge's own mistakes on real data do not count against the tokenizer. "Right" compares with the true group.

Shapes: B items, H rows, W columns, C channels, N samples, M mel bands, T mel frames, I and A token places.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from visual_echoes.evaluation.exam import Exam, measure_level
from visual_echoes.evaluation.gallery import Gallery
from visual_echoes.evaluation.records import Codebook, ImageRoundTrip, RealData, RoundTrip, SoundRoundTrip
from visual_echoes.metrics import scores
from visual_echoes.tokenizers.vqgan import code_usage


def measure_real(exam: Exam) -> RealData:
    """The judges on real test data, and the variety, novelty and level of it."""
    return RealData(
        picture_accuracy=scores.share(exam.judged_images_B == exam.image_groups_B),
        sound_accuracy=scores.share(exam.judged_sounds_B == exam.sound_groups_B),
        picture_distance=tuple(exam.image_distance_G.tolist()),
        mel_distance=tuple(exam.mel_distance_G.tolist()),
        nearest=exam.nearest(exam.pictures_BHWC),
        level=measure_level(exam.waves_BN),
    )


def measure_round_trip(exam: Exam, gallery: Gallery | None = None) -> RoundTrip:
    """The test split through the tokenizers, and its sounds through the vocoder with and without theirs.

    A gallery is shown what went through both.
    """
    codec = exam.echoes.codec
    tokens, mels, decoded, vocoded = [], [], [], []
    for rows in exam.batches(len(exam.mels_BMT)):
        mel_BMT = exam.mels_BMT[rows].to(codec.device)
        tokens_BA = codec.encode_mels(mel_BMT)
        decoded_BMT = codec.decode_mels(tokens_BA)
        tokens.append(tokens_BA.cpu())
        mels.append(decoded_BMT.cpu())
        decoded.append(codec.vocode(decoded_BMT))
        vocoded.append(codec.vocode(mel_BMT))
    waves_BN, mels_BMT = np.concatenate(decoded), torch.cat(mels)
    judged_B = exam.judge_sounds(waves_BN, exam.sound_groups_B, gallery)
    return RoundTrip(
        pictures=_image_round_trip(exam, gallery),
        sounds=_sound_round_trip(exam, waves_BN),
        vocoder=_sound_round_trip(exam, np.concatenate(vocoded)),
        mel_l1=float((mels_BMT - exam.mels_BMT).abs().mean()),
        mel_diversity=float(exam.mel_diversity(mels_BMT, exam.sound_groups_B, judged_B).mean()),
        audio_codebook=_codebook(torch.cat(tokens), codec.audio_vqgan.config.codes),
    )


def _image_round_trip(exam: Exam, gallery: Gallery | None) -> ImageRoundTrip:
    codec = exam.echoes.codec
    tokens, pictures = [], []
    for rows in exam.batches(len(exam.pictures_BHWC)):
        tokens_BI = codec.encode_images(exam.pictures_BHWC[rows])
        tokens.append(tokens_BI.cpu())
        pictures.append(codec.decode_images(tokens_BI))
    pictures_BHWC = np.concatenate(pictures)
    judged_B = exam.judge_images(pictures_BHWC, exam.image_groups_B, gallery)
    return ImageRoundTrip(
        kept=scores.share(judged_B == exam.judged_images_B),
        right=scores.share(judged_B == exam.image_groups_B),
        psnr_db=scores.psnr(torch.from_numpy(pictures_BHWC), torch.from_numpy(exam.pictures_BHWC)),
        diversity=float(exam.picture_diversity(pictures_BHWC, exam.image_groups_B, judged_B).mean()),
        nearest=exam.nearest(pictures_BHWC),
        codebook=_codebook(torch.cat(tokens), codec.image_vqgan.config.codes),
    )


def _sound_round_trip(exam: Exam, waves_BN: np.ndarray) -> SoundRoundTrip:
    judged_B = exam.judge_sounds(waves_BN)
    return SoundRoundTrip(
        kept=scores.share(judged_B == exam.judged_sounds_B),
        right=scores.share(judged_B == exam.sound_groups_B),
        mel_l1=exam.mel_l1(waves_BN),
        level=measure_level(waves_BN),
    )


def _codebook(tokens: Tensor, codes: int) -> Codebook:
    usage, perplexity = code_usage(tokens, codes)
    return Codebook(usage=usage, perplexity=perplexity, codes=codes, tokens=tokens.numel())
