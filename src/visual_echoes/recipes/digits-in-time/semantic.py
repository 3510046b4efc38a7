"""Makes the semantic tokenizer of layout `digits-in-time`, alone and beside the tokenizers of `digits`.

A small network learns which digit is heard; its features are quantised. It has five speakers to learn from and must
understand others. So half of its clips are in voices of `voices.py`; every clip is varied as another voice would have
it (bands warped as by a vocal tract of another length (Jaitly and Hinton 2013), other levels of bands, noise); and the
network looks at normalised cepstra.

    python recipes/digits-in-time/semantic.py runs/digits-in-time --voices runs/digits-in-time/voices.npz

Shapes: B batch, N clips, P positions, M mel bands, T mel frames.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes import __version__
from visual_echoes.audio import mel_edges, mel_to_hz, mel_to_unit, wave_to_mel
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.data.digits_in_time import Material, digits_at, make_clip, read_material
from visual_echoes.layout import DIGITS, get_layout
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.streams import by_name
from visual_echoes.tokenizers.semantic import AudioSemanticConfig, AudioSemanticTokenizer

LAYOUT = get_layout("digits-in-time")
STREAM = by_name(LAYOUT.streams)["audio_semantic"]
CLIPS, STEPS, BATCH, RATE, DECAY, SMOOTHING = 6000, 2500, 48, 2e-3, 0.05, 0.05
PATCH, CEPSTRA = 16, 24  # mel frames; coefficients of each
WARP = 0.2  # at most, of the logarithm of a frequency
TILT, WAVES = 0.15, 4  # at most, of a log-mel's range of 2, for each wave along the bands
NOISE_FLOOR, NOISE = (-1.0, -0.5), 0.05  # of log-mels in [-1, 1]
SHARPNESS = 8.0  # of the scores that features of unit length give


def with_voices(material: Material, path: Path) -> Material:
    """The same images with the words of other voices."""
    words: dict[str, dict[int, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    with np.load(path, allow_pickle=False) as archive:
        waves = np.split(archive["wave"], archive["length"].cumsum()[:-1])
        for voice, digit, wave_N in zip(archive["voice"].tolist(), archive["digit"].tolist(), waves, strict=True):
            words[voice][digit].append(wave_N)
    return Material(material.images, words)


def heard(material: Material, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Log-mels in [-1, 1], float16 (N, M, T), and the digit at each position, (N, P)."""
    assert STREAM.time is not None
    times = LAYOUT.sound_start + STREAM.time.start + np.arange(STREAM.positions) * STREAM.time.step
    mels, digits = [], []
    for _ in range(count):
        events, _, wave_N = make_clip(material, LAYOUT, True, generator)
        mels.append(mel_to_unit(wave_to_mel(torch.from_numpy(wave_N)[None], LAYOUT))[0, 0].half())
        digits.append(torch.from_numpy(digits_at(events, times)))
    return torch.stack(mels), torch.stack(digits)


def warped(mel_BMT: Tensor, factor_B: Tensor) -> Tensor:
    """Each mel with what was at a frequency times its factor."""
    centres_M = mel_to_hz(mel_edges(LAYOUT.n_mels, LAYOUT.fmin, LAYOUT.fmax))[1:-1].numpy()
    place_BM = np.interp(factor_B[:, None].numpy() * centres_M, centres_M, np.arange(LAYOUT.n_mels))
    lower_BM = torch.from_numpy(np.minimum(place_BM.astype(np.int64), LAYOUT.n_mels - 2))
    share_BM1 = (torch.from_numpy(place_BM) - lower_BM).float()[..., None]
    below, above = (mel_BMT.gather(1, (lower_BM + step)[..., None].expand_as(mel_BMT)) for step in (0, 1))
    return torch.lerp(below, above, share_BM1)


def another_voice(mel_BMT: Tensor, generator: torch.Generator) -> Tensor:
    """Each mel as another speaker and another microphone would have made it."""

    def between(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(len(mel_BMT), *shape, generator=generator) * (high - low) + low

    mel_BMT = warped(mel_BMT, between(-WARP, WARP).exp())
    turns_WM = torch.arange(1, WAVES + 1)[:, None] * torch.linspace(0, math.pi, LAYOUT.n_mels)
    waves_BWM = between(-TILT, TILT, WAVES, 1) * torch.cos(turns_WM + between(0, 2 * math.pi, WAVES, 1))
    sounding_BMT = mel_BMT > -1.0
    mel_BMT = (mel_BMT + waves_BWM.sum(1)[..., None] * sounding_BMT).clamp(-1.0, 1.0)
    noise_BMT = NOISE * torch.randn(mel_BMT.shape, generator=generator)
    return torch.maximum(mel_BMT, between(*NOISE_FLOOR, 1, 1) + noise_BMT)


def trained(materials: Sequence[Material]) -> AudioSemanticTokenizer:
    """A network that tells digits apart, and codes of its features; it hears as many clips of each material."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    clips = [heard(material, CLIPS // len(materials), generator) for material in materials]
    mel_NMT, digit_NP = (torch.cat(parts) for parts in zip(*clips, strict=True))
    config = AudioSemanticConfig(codes=STREAM.codes, patch=PATCH, hop=PATCH, cepstra=CEPSTRA)
    tokenizer = AudioSemanticTokenizer(config)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(tokenizer.config.code_dim, len(DIGITS)))
    optimizer = torch.optim.AdamW([*tokenizer.parameters(), *head.parameters()], lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for step in range(STEPS):
        index_B = torch.randint(len(mel_NMT), (BATCH,), generator=generator)
        mel_B1MT = another_voice(mel_NMT[index_B].float(), generator)[:, None]
        scores_BPC = head(SHARPNESS * tokenizer.features(mel_B1MT))
        loss = F.cross_entropy(scores_BPC.mT, digit_NP[index_B], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: {loss.item():.3f}", flush=True)
    tokenizer.eval()
    with torch.inference_mode():  # codes of other voices, too, so that theirs are not far from any
        varied = (another_voice(part.float(), generator) for part in mel_NMT.split(BATCH))
        tokenizer.fit(torch.cat([tokenizer.features(mel_BMT[:, None]) for mel_BMT in varied]), generator)
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the model folders `semantic` and `tokenizers`")
    parser.add_argument("--source", type=Path, default=Path("data/digits"), help="what `echoes data digits` fetched")
    parser.add_argument("--voices", type=Path, required=True, help="what `voices.py` wrote")
    options = parser.parse_args()
    material = read_material(options.source, LAYOUT)["train"]
    own: dict[PartName, nn.Module] = {"audio_semantic": trained([material, with_voices(material, options.voices)])}
    digits = load_model("digits", wanted=["image_vqgan", "audio_vqgan"])
    for name, parts in {"semantic": own, "tokenizers": digits.parts | own}.items():
        model = Model(name=name, version=__version__, layout=LAYOUT, parts=parts, sampling=SamplingSettings())
        save_model(options.folder / name, model, half=True)


if __name__ == "__main__":
    main()
