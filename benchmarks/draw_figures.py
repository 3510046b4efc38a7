"""Draw the figures of docs/how-it-works.md from what the packaged model does with packaged examples, and pairs of all
its kinds.

Usage: python benchmarks/draw_figures.py [-o docs/figures] [--pairs docs/scenes/pairs.png]

Needs the extra `eval` (matplotlib). Takes a minute.

Shapes: P token positions, Q codes of each, M mel bands, T mel frames.
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
from visual_echoes.outputs import export_item
from visual_echoes.streams import empty_tokens

EXAMPLE = "dog"
SEED = 3
RATIOS = 20_000
COLUMNS = 7  # of pairs
HEARD = ("bird", "dog", "fire", "frog", "rain", "siren")  # pairs that are written to listen to, beside the sheet


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-o", "--output", type=Path, default=Path("docs/figures"))
    arguments.add_argument("--pairs", type=Path, default=Path("docs/scenes/pairs.png"))
    options = arguments.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    echoes = VisualEchoes.from_pretrained("scenes", device="cpu")
    examples = Path(str(resources.files("visual_echoes") / "examples" / "scenes"))
    picture = image_array(examples / f"{EXAMPLE}.png", echoes.layout)
    wave = sound_array(examples / f"{EXAMPLE}.wav", echoes.layout)
    draw_tokens(echoes, picture, wave, options.output / "tokens.png")
    draw_unmasking(echoes, picture, options.output / "unmasking.png")
    draw_masks(options.output / "masks.png")
    (options.pairs.parent / "examples").mkdir(parents=True, exist_ok=True)
    draw_pairs(echoes, options.pairs)


def draw_tokens(echoes: VisualEchoes, picture: np.ndarray, wave: np.ndarray, path: Path) -> None:
    """What goes in, its tokens, and what comes back: an image above, the mel of a sound below."""
    codec, layout = echoes.codec, echoes.layout
    image_1PQ = codec.encode_images(picture[None])
    mel_1MT = codec.mels(wave[None])
    audio_1PQ = codec.encode_mels(mel_1MT)
    figure, axes = plt.subplots(2, 3, figsize=(9, 5), width_ratios=(1, 1, 1))
    rows = (
        (picture, image_1PQ[..., 0].view(layout.image_grid), codec.decode_images(image_1PQ)[0], "image"),
        (mel_1MT[0], audio_1PQ[..., 0].view(layout.audio_grid), codec.decode_mels(audio_1PQ)[0], "mel of a sound"),
    )
    for row, (given, grid, back, name) in zip(axes, rows, strict=True):
        depth = layout.image_depth if name == "image" else layout.audio_depth
        flip = "upper" if name == "image" else "lower"
        titles = (name, f"first of {depth} codes at {grid.shape[0]} x {grid.shape[1]}", "decoded again")
        for axis, values, title in zip(row, (given, grid, back), titles, strict=True):
            aspect: Literal["auto", "equal"] = "equal" if name == "image" else "auto"
            axis.imshow(values, origin=flip, aspect=aspect, cmap="magma" if title != titles[1] else "nipy_spectral")
            axis.set_title(title, fontsize=9)
    _save(figure, axes, path)


def draw_unmasking(echoes: VisualEchoes, picture: np.ndarray, path: Path) -> None:
    """The mel of a sound as it is unmasked for an image, stage by stage; pale positions have codes to come."""
    layout, codec = echoes.layout, echoes.codec
    states: list[tuple[torch.Tensor, torch.Tensor]] = []
    streams, settings = layout.streams, echoes.defaults
    tokens = {**empty_tokens(streams, 1), "image": codec.encode_images(picture[None])}
    tokens["image_semantic"] = codec.encode_views(picture[None])
    masked = {s.name: torch.full_like(tokens[s.name], s.source != "image", dtype=torch.bool) for s in streams}
    generate(
        scorer(codec.transformer, settings.kv_refresh_every), streams, tokens, masked,
        settings.plan(streams, ["label"], ["audio"], by_depth=codec.by_depth), settings,
        [torch.Generator().manual_seed(SEED)],
        lambda _done, _steps, now, still: states.append((now["audio"].clone(), still["audio"].clone())),
    )  # fmt: skip
    left = [int(still.sum()) for _, still in states]
    total = left[0]
    shown = [min(range(len(left)), key=lambda n: abs(left[n] - share * total)) for share in (0.97, 0.9, 0.8, 0.4, 0)]
    figure, axes = plt.subplots(1, 1 + len(shown), figsize=(11, 2.2))
    axes[0].imshow(picture)
    axes[0].set_title("given", fontsize=9)
    for axis, step in zip(axes[1:], shown, strict=True):
        audio_1PQ, still_1PQ = states[step]
        mel_MT = codec.decode_mels(audio_1PQ)[0]
        known = (~still_1PQ).float().mean(-1).view(layout.audio_grid)
        known_MT = torch.kron(known, torch.ones(layout.audio_factor)).numpy()
        axis.imshow(mel_MT, origin="lower", aspect="auto", cmap="magma", alpha=0.15 + 0.85 * known_MT)
        axis.set_title(f"step {step + 1}:\n{left[step]:,} of {total:,} masked", fontsize=9)
    _save(figure, axes, path)


def draw_pairs(echoes: VisualEchoes, path: Path) -> None:
    """A pair of every kind, made from its label alone: the image, and the mel of the sound; some to listen to."""
    stream = next(stream for stream in echoes.layout.streams if stream.names)
    made = echoes.generate_pair(len(stream.names), label=stream.names, seed=SEED, preset="quality")  # pairs gain by it
    assert made.images is not None
    assert made.mels is not None
    rows = -(-len(stream.names) // COLUMNS)
    figure, axes = plt.subplots(2 * rows, COLUMNS, figsize=(1.5 * COLUMNS, 2.4 * rows), height_ratios=(3, 1) * rows)
    for number, name in enumerate(stream.names):
        row, column = divmod(number, COLUMNS)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        above.imshow(made.images[number])
        above.set_title(name.replace("_", " "), fontsize=9)
        below.imshow(made.mels[number], origin="lower", aspect="auto", cmap="magma")
        if name in HEARD:
            export_item(echoes.model, made, number, path.with_name("examples") / name, [".png", ".wav"], task="pair")
    _save(figure, axes, path)


def draw_masks(path: Path) -> None:
    """How much of a sample training masks: the paper's two means, drawn by the code's own sampler."""
    figure, axis = plt.subplots(figsize=(5, 2.4))
    for mean in (0.55, 0.7):
        ratios = MaskRatio(mean=mean).sample(RATIOS, torch.Generator().manual_seed(SEED))
        axis.hist(ratios.numpy(), bins=50, density=True, histtype="step", label=f"mean {mean}")
    axis.set_xlabel("share of masked positions", fontsize=9)
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
