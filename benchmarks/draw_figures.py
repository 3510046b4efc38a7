"""Draw the figures of docs/how-it-works.md from what the packaged model does with packaged examples.

Usage: python benchmarks/draw_figures.py [-o docs/figures]

Needs the extra `eval` (matplotlib). Takes half a minute.

Shapes: I and A token places of an image and a sound, M mel bands, T mel frames.
"""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path
from typing import Literal

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from visual_echoes import VisualEchoes
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.model.fast import scorer
from visual_echoes.model.masking import MaskRatio
from visual_echoes.model.sampling import generate
from visual_echoes.streams import empty_tokens

EXAMPLE = "dog"
SEED = 3
RATIOS = 20_000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-o", "--output", type=Path, default=Path("docs/figures"))
    options = arguments.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    echoes = VisualEchoes.from_pretrained("scenes", device="cpu")
    examples = Path(str(resources.files("visual_echoes") / "examples" / "scenes"))
    picture = image_array(examples / f"{EXAMPLE}.png", echoes.layout)
    wave = sound_array(examples / f"{EXAMPLE}.wav", echoes.layout)
    draw_tokens(echoes, picture, wave, options.output / "tokens.png")
    draw_unmasking(echoes, picture, options.output / "unmasking.png")
    draw_masks(options.output / "masks.png")


def draw_tokens(echoes: VisualEchoes, picture: np.ndarray, wave: np.ndarray, path: Path) -> None:
    """What goes in, its tokens, and what comes back: an image above, the mel of a sound below."""
    codec, layout = echoes.codec, echoes.layout
    tokens_1I = codec.encode_images(picture[None])
    mel_1MT = codec.mels(wave[None])
    tokens_1A = codec.encode_mels(mel_1MT)
    figure, axes = plt.subplots(2, 3, figsize=(9, 5), width_ratios=(1, 1, 1))
    rows = (
        (picture, tokens_1I.view(layout.image_grid), codec.decode_images(tokens_1I)[0], "picture"),
        (mel_1MT[0], tokens_1A.view(layout.audio_grid), codec.decode_mels(tokens_1A)[0], "mel of a sound"),
    )
    for row, (given, grid, back, name) in zip(axes, rows, strict=True):
        flip = "upper" if name == "picture" else "lower"
        titles = (name, f"{grid.shape[0]} x {grid.shape[1]} tokens", "decoded again")
        for axis, values, title in zip(row, (given, grid, back), titles, strict=True):
            aspect: Literal["auto", "equal"] = "equal" if name == "picture" else "auto"
            axis.imshow(values, origin=flip, aspect=aspect, cmap="magma" if title != titles[1] else "nipy_spectral")
            axis.set_title(title, fontsize=9)
    _save(figure, axes, path)


def draw_unmasking(echoes: VisualEchoes, picture: np.ndarray, path: Path) -> None:
    """The mel of a sound as it is settled for an image, step by step; white frames are places still open."""
    layout, codec = echoes.layout, echoes.codec
    states: list[tuple[torch.Tensor, torch.Tensor]] = []
    streams, settings = layout.streams, echoes.defaults
    tokens = {**empty_tokens(streams, 1), "image": codec.encode_images(picture[None])}
    masked = {name: torch.full_like(own, name == "audio", dtype=torch.bool) for name, own in tokens.items()}
    generate(
        scorer(codec.transformer, settings.kv_refresh_every), streams, tokens, masked,
        settings.plan(streams, ["audio"]), settings, [torch.Generator().manual_seed(SEED)],
        lambda _done, _steps, now, still: states.append((now["audio"].clone(), still["audio"].clone())),
    )  # fmt: skip
    shown = sorted({0, len(states) // 4, len(states) // 2, 3 * len(states) // 4, len(states) - 1})
    figure, axes = plt.subplots(1, 1 + len(shown), figsize=(11, 2.2))
    axes[0].imshow(picture)
    axes[0].set_title("given", fontsize=9)
    for axis, step in zip(axes[1:], shown, strict=True):
        tokens_1A1, open_1A1 = states[step]
        mel_MT = codec.decode_mels(tokens_1A1)[0]
        known_MT = torch.kron((~open_1A1).view(layout.audio_grid).float(), torch.ones(layout.audio_factor))
        axis.imshow(mel_MT, origin="lower", aspect="auto", cmap="magma", alpha=0.15 + 0.85 * known_MT.numpy())
        axis.set_title(f"step {step + 1}: {int(open_1A1.sum())} of {layout.audio_tokens} open", fontsize=9)
    _save(figure, axes, path)


def draw_masks(path: Path) -> None:
    """How much of a sample training masks: the paper's two means, drawn by the code's own sampler."""
    figure, axis = plt.subplots(figsize=(5, 2.4))
    for mean in (0.55, 0.7):
        ratios = MaskRatio(mean=mean).sample(RATIOS, torch.Generator().manual_seed(SEED))
        axis.hist(ratios.numpy(), bins=50, density=True, histtype="step", label=f"mean {mean}")
    axis.set_xlabel("share of masked places", fontsize=9)
    axis.legend(fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def _save(figure: Figure, axes: np.ndarray, path: Path) -> None:
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
