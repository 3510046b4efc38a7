"""Seconds per stage and peak memory of a model of the paper's shape: a ten-second sound for one image.

The weights are random: what is measured does not depend on them. The model is assembled from recipes/paper into a
temporary folder, in half precision as `echoes assemble` writes it; then a process of its own loads it, makes the sound
with guidance 3, and writes the WAV file. `--cross` takes an encoder of visible places and a decoder of open ones
instead of the recipe's. Run from the repository's root:

    python benchmarks/paper_shape.py [--threads 2] [--picture photo.jpg] [--preset fast] [--cross] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from measuring import add_output, show

from visual_echoes.evaluation.measurement import Table
from visual_echoes.model.settings import Preset

RECIPES = Path(__file__).parents[1] / "recipes" / "paper"
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--preset", choices=get_args(Preset), default="quality")
    parser.add_argument("--cross", action="store_true")
    add_output(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = arguments.picture or folder / "picture.jpg"
        # Each in its own process: a child's peak memory must not be its parent's.
        run_self("assemble", folder / "model", picture, arguments.cross)
        measured = ("measure", folder / "model", picture, folder / "sound.wav", arguments.threads, arguments.preset)
        report = json.loads(run_self(*measured))
    stages = Table(columns=("stage", "seconds"), rows=tuple(report["seconds"].items()), formats={"seconds": ".1f"})
    peak = report["peak"]
    facts = (
        ("samples", report["samples"]),
        ("Hz", report["rate"]),
        ("million parameters", round(report["parameters"] / 1e6)),
        ("GB of memory at most", None if peak is None else round(peak / 1e9, 2)),
    )
    show({"stages": stages, "facts": Table(columns=("of the run", ""), rows=facts)}, arguments.output)


def run_self(*arguments: object) -> str:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def assemble(folder: Path, picture: Path, cross: bool) -> None:
    """Write the model with random weights, and an image if there is none."""
    import numpy as np
    from PIL import Image

    from visual_echoes.checkpoints.model import Model
    from visual_echoes.checkpoints.model_folder import save_model
    from visual_echoes.layout import LAYOUTS
    from visual_echoes.model.config import TransformerConfig
    from visual_echoes.model.fast import FastTransformer
    from visual_echoes.model.settings import SamplingSettings
    from visual_echoes.tokenizers.vqgan import VQGAN
    from visual_echoes.training.build import vqgan_config
    from visual_echoes.training.recipe import (
        AudioVQGANRecipe,
        ImageVQGANRecipe,
        TransformerRecipe,
        VocoderRecipe,
        read_recipe,
    )
    from visual_echoes.vocoders import build_vocoder

    layout = LAYOUTS["paper"]
    recipes = [
        read_recipe(RECIPES / f"{name}.toml") for name in ("image-vqgan", "audio-vqgan", "transformer", "vocoder")
    ]
    image, audio, transformer, vocoder = recipes
    assert isinstance(image, ImageVQGANRecipe)
    assert isinstance(audio, AudioVQGANRecipe)
    assert isinstance(transformer, TransformerRecipe)
    assert isinstance(vocoder, VocoderRecipe)
    choices = {"encoder_input": "visible", "decoder": "cross"} if cross else {}
    config = TransformerConfig.for_layout(layout, **{**transformer.model.model_dump(), **choices})
    made = build_vocoder(vocoder.model.kind, vocoder.model.model, layout)
    model = Model(
        name="paper-shape", version="0", layout=layout, sampling=SamplingSettings(),
        parts={
            "image_vqgan": VQGAN(vqgan_config(image)), "audio_vqgan": VQGAN(vqgan_config(audio)),
            "transformer": FastTransformer(config), "vocoder": made,
        },
    )  # fmt: skip
    save_model(folder, model, half=True)
    if not picture.exists():
        pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
        Image.fromarray(pixels).save(picture, quality=90)


def measure(folder: Path, picture: Path, target: Path, threads: int, preset: str) -> None:
    """Make the sound, stage by stage as `VisualEchoes.image_to_audio` does, and print a report as JSON."""
    import torch

    from visual_echoes.inputs import image_array
    from visual_echoes.machine import hand_back_freed_memory, peak_memory
    from visual_echoes.media import write_wav
    from visual_echoes.model.fast import scorer
    from visual_echoes.model.sampling import generate
    from visual_echoes.model.settings import with_changes
    from visual_echoes.pipeline import VisualEchoes
    from visual_echoes.streams import empty_tokens

    torch.set_num_threads(threads)
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - begin

    with stage("load"):
        echoes = VisualEchoes.from_pretrained(folder, device="cpu")
    codec, layout = echoes.codec, echoes.layout
    with stage("encode"):
        image_tokens = codec.encode_images(image_array(picture, layout)[None])
    with stage("sample"):
        given = {**empty_tokens(layout.streams, 1), "image": image_tokens}
        masked = {name: torch.full_like(own, name == "audio", dtype=torch.bool) for name, own in given.items()}
        settings = with_changes(echoes.defaults, {"preset": preset})
        generators = [torch.Generator().manual_seed(SEED)]
        tokens = generate(
            scorer(codec.transformer, settings.kv_refresh_every), layout.streams, given, masked,
            settings.plan(layout.streams, ["audio"]), settings, generators,
        )  # fmt: skip
    with stage("decode"):
        hand_back_freed_memory()
        mel = codec.decode_mels(tokens["audio"])
    with stage("vocode"):
        wave = codec.vocode(mel)[0]
    with stage("write"):
        write_wav(target, wave, layout.sample_rate, {})
    parameters = sum(p.numel() for part in echoes.model.parts.values() for p in part.parameters())
    report = {"seconds": seconds, "samples": len(wave), "rate": layout.sample_rate, "parameters": parameters}
    print(json.dumps({**report, "peak": peak_memory()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["assemble"]:
        assemble(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "True")
    elif sys.argv[1:2] == ["measure"]:
        measure(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
    else:
        main()
