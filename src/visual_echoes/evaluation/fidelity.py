"""How close the files of a round trip are to what went in: PSNR, SSIM, LPIPS, mel L1 and STFT distance.

Shapes: H rows, W columns, C channels, N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.features import Progress
from visual_echoes.evaluation.listing import Listing
from visual_echoes.evaluation.records import Figure
from visual_echoes.layout import Layout
from visual_echoes.media import fit_image, read_audio, read_image
from visual_echoes.metrics.fidelity import IMAGE_FIDELITY
from visual_echoes.training.vocoder_losses import log_mel_distance, stft_distance

SAME_LENGTH = 0.05  # seconds: encoders and vocoders add and drop that much at the ends of a sound

# A distance of two uint8 images (H, W, C) of one size.
ImageDistance = Callable[[np.ndarray, np.ndarray], float]


def image_fidelity(given: Listing, made: Listing, lpips: ImageDistance | None, progress: Progress) -> dict[str, Figure]:
    """All of `IMAGE_FIDELITY`, and LPIPS if its network is there."""
    found: dict[str, list[float]] = {}
    for first, second in _pairs(given, made):
        given_HWC, made_HWC = _image_pair(first, second)
        values = {name: measure(given_HWC, made_HWC) for name, measure in IMAGE_FIDELITY.items()}
        if lpips is not None:
            values["LPIPS"] = lpips(given_HWC, made_HWC)
        _add(found, values)
        progress(1)
    return {name: Figure.of_files(values) for name, values in found.items()}


def sound_fidelity(given: Listing, made: Listing, layout: Layout, progress: Progress) -> dict[str, Figure]:
    """L1 of the log-mels in [0, 1] and multi-resolution STFT distance, both with a layout's settings."""
    found: dict[str, list[float]] = {}
    for first, second in _pairs(given, made):
        given_1N, made_1N = _sound_pair(first, second, layout.sample_rate)
        values = {
            "mel L1": float(log_mel_distance(made_1N, given_1N, layout)),
            "STFT distance": float(stft_distance(made_1N, given_1N, layout)),
        }
        _add(found, values)
        progress(1)
    return {name: Figure.of_files(values) for name, values in found.items()}


def _pairs(given: Listing, made: Listing) -> Iterable[tuple[Path, Path]]:
    return ((given.files[id], made.files[id]) for id in made.files if id in given.files)


def _add(found: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        found.setdefault(name, []).append(value)


def _image_pair(first: Path, second: Path) -> tuple[np.ndarray, np.ndarray]:
    """Two images of one size: the given one is cropped and resized, as a tokenizer's input is, if it is larger."""
    given, made = read_image(first), read_image(second)
    mode = "L" if given.mode == made.mode == "L" else "RGB"
    made_HWC = np.atleast_3d(np.array(made.convert(mode)))
    if given.size == made.size:
        return np.atleast_3d(np.array(given.convert(mode))), made_HWC
    if made.width != made.height:
        raise EchoesError(
            f"{second} has {made.width}x{made.height} pixels and {first} {given.width}x{given.height}; a round trip is "
            "of one size, or square."
        )
    return fit_image(given, made.width, made_HWC.shape[2]), made_HWC


def _sound_pair(first: Path, second: Path, rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(read_audio(path, rate))[None] for path in (first, second)]
    lengths = [wave_1N.shape[1] for wave_1N in waves]
    if abs(lengths[0] - lengths[1]) > SAME_LENGTH * rate:
        raise EchoesError(
            f"{second} lasts {lengths[1] / rate:.2f} s and {first} {lengths[0] / rate:.2f} s; a round trip must be as "
            "long as what went in."
        )
    given_1N, made_1N = (wave_1N[:, : min(lengths)] for wave_1N in waves)
    return given_1N, made_1N
