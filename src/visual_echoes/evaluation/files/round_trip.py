"""Real files through a model's tokenizers and vocoder, as files beside what exactly went in.

Shapes: B items, H rows, W columns, C channels, N samples, I and A token places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.evaluation.files.features import Progress
from visual_echoes.evaluation.files.listing import Listing
from visual_echoes.evaluation.records import Codebook
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.media import write_png, write_wav
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.tokenizers.vqgan import code_usage

GIVEN, MADE = "given", "made"


def model_round_trip(
    echoes: VisualEchoes, real: Listing, folder: Path, source: str, batch_size: int, progress: Progress
) -> tuple[Listing, Listing, Codebook]:
    """What went into the tokenizer, what came out, and the codes that were used.

    Args:
        folder: where both are written.
        source: what reports call the model.
    """
    suffix = ".png" if real.modality == "image" else ".wav"
    places = {  # numbered, since an id may be no possible name, or lead out of the folder
        side: {id: folder / real.modality / side / f"{number}{suffix}" for number, id in enumerate(real.files)}
        for side in (GIVEN, MADE)
    }
    for side in places:
        (folder / real.modality / side).mkdir(parents=True, exist_ok=True)
    tokens, trip = [], _pictures if real.modality == "image" else _sounds
    for ids in _batches(list(real.files), batch_size):
        sides = ([side[id] for id in ids] for side in places.values())
        tokens.append(trip(echoes, [real.files[id] for id in ids], *sides))
        progress(len(ids))
    network = echoes.codec.image_vqgan if real.modality == "image" else echoes.codec.audio_vqgan
    counted = torch.cat(tokens)
    usage, perplexity = code_usage(counted, network.config.codes)
    codebook = Codebook(usage=usage, perplexity=perplexity, codes=network.config.codes, tokens=counted.numel())
    given, made = (Listing(f"{source} ({side})", real.modality, places[side]) for side in (GIVEN, MADE))
    return given, made, codebook


def _pictures(echoes: VisualEchoes, files: list[Path], given: list[Path], made: list[Path]) -> Tensor:
    pictures_BHWC = np.stack([image_array(path, echoes.layout) for path in files])
    tokens_BI = echoes.codec.encode_images(pictures_BHWC)
    for paths, arrays in ((given, pictures_BHWC), (made, echoes.codec.decode_images(tokens_BI))):
        for path, picture_HWC in zip(paths, arrays, strict=True):
            write_png(path, picture_HWC, {})
    return tokens_BI.cpu()


def _sounds(echoes: VisualEchoes, files: list[Path], given: list[Path], made: list[Path]) -> Tensor:
    layout = echoes.layout
    clips_BN = np.stack([sound_array(path, layout) for path in files])
    tokens_BA = echoes.codec.encode_mels(echoes.codec.mels(clips_BN))
    waves_BN = echoes.codec.vocode(echoes.codec.decode_mels(tokens_BA))
    first = layout.mel_offset * layout.hop  # a made sound stands for this stretch of its clip
    for paths, arrays in ((given, clips_BN[:, first : first + waves_BN.shape[1]]), (made, waves_BN)):
        for path, wave_N in zip(paths, arrays, strict=True):
            write_wav(path, wave_N, layout.sample_rate, {})
    return tokens_BA.cpu()


def _batches(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[first : first + size] for first in range(0, len(ids), size))
