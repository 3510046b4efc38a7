"""Real files through a model's tokenizers and vocoder, as files beside what exactly went in.

Shapes: B items, H rows, W columns, C channels, N samples, I and A token positions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.evaluation.case import Reconstruction
from visual_echoes.evaluation.evaluation_set import plain
from visual_echoes.evaluation.features import Progress
from visual_echoes.evaluation.listing import Listing
from visual_echoes.evaluation.measures import WORDS
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.media import write_png, write_wav
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.tokenizers.vqgan import code_usage

GIVEN, MADE = "given", "made"


def reconstruct_files(
    echoes: VisualEchoes, real: Listing, folder: Path, source: str, batch_size: int, progress: Progress
) -> Reconstruction:
    """What went into the tokenizer, what came out, and the codes that were used.

    Args:
        folder: where both are written.
        source: what reports call the model.
    """
    suffix = ".png" if real.modality == "image" else ".wav"
    files = {  # numbered, since an id may be no possible name, or lead out of the folder
        side: {id: folder / real.modality / side / f"{number}{suffix}" for number, id in enumerate(real.files)}
        for side in (GIVEN, MADE)
    }
    for side in files:
        (folder / real.modality / side).mkdir(parents=True, exist_ok=True)
    ids, tokens, reconstruct = list(real.files), [], _images if real.modality == "image" else _sounds
    for first in range(0, len(ids), batch_size):
        part = ids[first : first + batch_size]
        sides = ([side[id] for id in part] for side in files.values())
        tokens.append(reconstruct(echoes, [real.files[id] for id in part], *sides))
        progress(len(part))
    network = echoes.codec.image_vqgan if real.modality == "image" else echoes.codec.audio_vqgan
    usage, perplexity = code_usage(torch.cat(tokens), network.config.codes)
    given, made = (Listing(f"{source} ({side})", real.modality, files[side]) for side in (GIVEN, MADE))
    word = WORDS[real.modality]
    return Reconstruction(given, made, plain({f"{word}_codes": usage, f"{word}_perplexity": perplexity}))


def _images(echoes: VisualEchoes, files: list[Path], given: list[Path], made: list[Path]) -> Tensor:
    images_BHWC = np.stack([image_array(path, echoes.layout) for path in files])
    tokens_BI = echoes.codec.encode_images(images_BHWC)
    for paths, arrays in ((given, images_BHWC), (made, echoes.codec.decode_images(tokens_BI))):
        for path, image_HWC in zip(paths, arrays, strict=True):
            write_png(path, image_HWC, {})
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
