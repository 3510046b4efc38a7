"""How far the field's figures move with conventions in which this project and others differ: `docs/evaluation.md`.

Published weights are not needed: networks have their true shape and random weights, so that a figure has no scale of
its own and only the two beside each other tell something.

    python benchmarks/metric_conventions.py [-o docs/measurements/metric-conventions.json]
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.files import write_text
from visual_echoes.metrics.distances import frechet_distance
from visual_echoes.metrics.networks import clip, inception, vggish, wav2clip
from visual_echoes.metrics.networks.weights import with_random_weights
from visual_echoes.metrics.scores import divergence

OUTPUT = Path("docs/measurements/metric-conventions.json")
PEAK, CLASSES, PAIRS = 40.0, 527, 100
SOUNDS, SECONDS = 12, 5
IMAGES, SIDE = 12, 64
SIZES = range(8, 1025, 3)  # pixels a side
PADDED = 163840  # samples, 10.24 s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    torch.manual_seed(0)
    with torch.inference_mode():
        rows = [kl_floor(), stereo(), resize(), padding(), crop()]
    report = {
        "command": "python benchmarks/metric_conventions.py",
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "date": date.today().isoformat(),
        "columns": ["figure", "of", "here", "otherwise", "who does otherwise"],
        "rows": rows,
        "formats": {"here": ".4g", "otherwise": ".4g"},
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    for row in rows:
        print(*row, sep=" | ")


def kl_floor() -> list[object]:
    """Sure answers that differ: the floor bounds what one of them can add."""
    real_BK, made_BK = (torch.randn(PAIRS, CLASSES, dtype=torch.float64) for _ in range(2))
    for logits_BK in (real_BK, made_BK):
        logits_BK[torch.arange(PAIRS), torch.randint(CLASSES, (PAIRS,))] += PEAK
    plain = F.kl_div(made_BK.log_softmax(-1), real_BK.log_softmax(-1), reduction="batchmean", log_target=True)
    of = f"{PAIRS} pairs of answers, one class {PEAK:g} above the others"
    return ["KL, softmax", of, divergence(real_BK, made_BK).softmax, float(plain), "av-benchmark: no floor"]


def stereo() -> list[object]:
    """Channels with nothing in common: their mean against the first of them."""
    network = with_random_weights(vggish.VGGish())
    sets = [[wide_stereo(0.02 * number) for _ in range(SOUNDS)] for number in (1, 2)]

    def fad(mono: Callable[[Tensor], Tensor]) -> float:
        seen = []
        for sounds in sets:
            waves = [mono(sound_CN) for sound_CN in sounds]
            seen.append(torch.cat([network(vggish.vggish_patches(wave_N - wave_N.mean())) for wave_N in waves]))
        return frechet_distance(*seen)

    here, first = fad(lambda sound_CN: sound_CN.mean(0)), fad(lambda sound_CN: sound_CN[0])
    of = f"two sets of {SOUNDS} stereo sounds without anything in common, random weights"
    return ["FAD", of, here, first, "audioldm_eval: first channel"]


def resize() -> list[object]:
    """Small images: pytorch-fid's bilinear resize against TensorFlow's of 2015, which is half a pixel off."""
    network = with_random_weights(inception.FidInception())
    sets = [blurred(shift) for shift in (0.0, 0.15)]

    def fid(resized: Callable[[Tensor], Tensor]) -> float:
        return frechet_distance(*(
            torch.cat([network.body(resized(image_3HW[None]) * 2.0 - 1.0)[0] for image_3HW in images])
            for images in sets
        ))  # fmt: skip

    size = (inception.SIDE, inception.SIDE)
    here = fid(lambda x: F.interpolate(x, size, mode="bilinear", align_corners=False))
    of = f"two sets of {IMAGES} images of {SIDE} pixels, random weights"
    return ["FID", of, here, fid(resize_as_tensorflow), "torch-fidelity: TensorFlow's resize"]


def resize_as_tensorflow(x_B3HW: Tensor) -> Tensor:
    """Bilinear, place i of n from place i * side / n, so that the first pixels meet instead of the centres."""
    for axis in (2, 3):
        side = x_B3HW.shape[axis]
        place = torch.arange(inception.SIDE) * side / inception.SIDE
        low = place.long()
        part = (place - low).view(-1, *(1,) * (3 - axis))
        high = (low + 1).clamp_max(side - 1)
        x_B3HW = x_B3HW.index_select(axis, low) * (1 - part) + x_B3HW.index_select(axis, high) * part
    return x_B3HW


def padding() -> list[object]:
    """Sounds to Wav2CLIP as they are, against followed by silence up to 10.24 s and less their mean."""
    hears, sees = with_random_weights(wav2clip.Wav2Clip()), with_random_weights(clip.ClipImages())
    images_BD = sees(F.interpolate(blurred(0.0), (clip.SIDE, clip.SIDE)) * 4.0 - 2.0)
    waves = [wide_stereo(0.02)[0] for _ in range(IMAGES)]

    def cs(given: Callable[[Tensor], Tensor]) -> float:
        sounds_BD = torch.stack([hears(given(wave_N)) for wave_N in waves])
        return 100 * float(F.cosine_similarity(images_BD, sounds_BD).mean())

    here = cs(lambda wave_N: wave_N)
    padded = cs(lambda wave_N: F.pad(wave_N - wave_N.mean(), (0, PADDED - len(wave_N))))
    of = f"{IMAGES} images with sounds of {SECONDS} s, random weights"
    return ["CS", of, here, padded, "SSV2A: padded to 10.24 s, less the mean"]


def crop() -> list[object]:
    """Image sizes whose square lies elsewhere than openai's transform puts it, when places are rounded down."""
    sizes = [clip.placement(width, height) for width in SIZES for height in SIZES]
    off = [place != tuple((side - clip.SIDE) // 2 for side in size) for size, place in sizes]
    of = f"{len(sizes):,} sizes from {SIZES[0]} to {SIZES[-1]} pixels a side"
    return ["% of squares for CLIP off by a pixel", of, 0.0, 100 * float(np.mean(off)), "transformers' processor"]


def wide_stereo(offset: float) -> Tensor:
    """Two channels of different tones under different noise, around an offset, (2, N)."""
    time_N = torch.arange(SECONDS * wav2clip.RATE) / wav2clip.RATE
    pitch_C1 = 200 + 1800 * torch.rand(2, 1)
    return 0.3 * torch.sin(2 * torch.pi * pitch_C1 * time_N) + 0.05 * torch.randn(2, len(time_N)) + offset


def blurred(shift: float) -> Tensor:
    """Images of soft blots, (B, 3, H, W) in [0, 1]."""
    blots = F.interpolate(torch.rand(IMAGES, 3, SIDE // 4, SIDE // 4), (SIDE, SIDE), mode="bicubic")
    return (blots + shift).clamp(0.0, 1.0)


if __name__ == "__main__":
    main()
