"""Networks in float32, bfloat16 and int8: how fast each is in one run, and whether what it makes is as good.

Sounds for test images, named by the classifier; sampling alone at the paper's shape (random weights); and decoders:
what the trained ones of `digits` lose of their output, and the seconds of the paper's (random weights). Data first
(`echoes data digits`); run from the repository's root:

    python benchmarks/precisions.py --images 200 -o docs/measurements/precisions.json
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import torch
from measuring import add_output, of_records, show
from paper_kinds import LAYOUT, config_of

from visual_echoes import VisualEchoes
from visual_echoes.data.pairs import first_of_groups, read_groups, read_split
from visual_echoes.evaluation.measurement import Cell
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.precision import PRECISIONS, in_precision
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.studies.speed import Sampling, Seconds, take_turns
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.tokenizers.vqgan import VQGAN
from visual_echoes.training.build import vqgan_config
from visual_echoes.training.recipe import AudioVQGANRecipe, ImageVQGANRecipe, VocoderRecipe, read_recipe
from visual_echoes.vocoders import build_vocoder, vocode_in_stretches

RECIPES = Path(__file__).parents[1] / "recipes" / "paper"
BATCH, REPEATS, MADE = 20, 2, 16
KINDS = ("masked, full", "visible, cross")
FORMATS = {"seconds": ".2f", "times float32": ".2f", "right": ".3f"}


def of_model(data: Path, count: int) -> list[dict[str, Cell]]:
    """Seconds of a batch of sounds for images, by turns, and the share of all that the classifier names rightly."""
    models = {p: VisualEchoes.from_pretrained("digits", device="cpu", precision=p) for p in PRECISIONS}
    layout = models["float32"].layout
    groups, test = read_groups(data), read_split(data, "test", layout)
    chosen = first_of_groups(test.image_groups, count // len(groups))
    images, groups_B = [image.movedim(0, -1).numpy() for image in test.images[chosen]], test.image_groups[chosen]
    classifier = packaged_classifier("digits-audio").restricted(groups)
    works = {name: partial(echoes.image_to_audio, images[:BATCH], batch_size=BATCH) for name, echoes in models.items()}
    seconds = take_turns(works, REPEATS)
    right: dict[str, float] = {}
    for name, echoes in models.items():
        made = echoes.image_to_audio(images, batch_size=BATCH).audio
        assert made is not None
        found_B = classifier.classes([torch.from_numpy(wave) for wave in made])
        right[name] = float((found_B == groups_B).double().mean())
    return _rows(f"digits, {BATCH} sounds", seconds, right)


def of_paper(kind: str) -> list[dict[str, Cell]]:
    """Seconds of sampling a sound of ten seconds for an image at the paper's shape, twelve steps, guided."""
    exact, settings = FastTransformer(config_of(kind)).eval(), SamplingSettings(steps=12)
    works = {name: Sampling(in_precision(exact, name), settings).fast for name in PRECISIONS}
    return _rows(f"the paper's shape, {kind}", take_turns(works, REPEATS), {})


def signal_over_loss(exact: torch.Tensor, rounded: torch.Tensor) -> float:
    """In dB."""
    return float(10 * ((exact - exact.mean()).square().mean() / (exact - rounded.float()).square().mean()).log10())


@torch.inference_mode()
def of_trained_decoders() -> list[dict[str, Cell]]:
    """Signal over what bfloat16 changes."""
    digits = VisualEchoes.from_pretrained("digits", device="cpu", precision="float32")
    made = digits.generate_pair(MADE, seed=0)
    assert made.images is not None
    assert made.mels is not None
    mel_BMT = torch.from_numpy(made.mels)
    codec = digits.codec
    grids = {
        "image_vqgan": codec.encode_images(made.images).unflatten(1, digits.layout.image_grid)[..., 0],
        "audio_vqgan": codec.encode_mels(mel_BMT).unflatten(1, digits.layout.audio_grid)[..., 0],
    }
    trained: dict[str, Callable[[], torch.Tensor]] = {
        f"digits, {name}": partial(cast(Tokenizer, codec.part(name)).decode, grid)
        for name, grid in grids.items()  # type: ignore[arg-type]
    }
    trained["digits, vocoder"] = partial(codec.vocoder, mel_BMT)
    rows: list[dict[str, Cell]] = []
    for name, decode in trained.items():
        exact = decode()
        with torch.autocast("cpu", torch.bfloat16):
            signal = signal_over_loss(exact, decode())
        rows.append({"decoder": name, "float32": None, "bfloat16": None, "times": None, "dB": signal})
    return rows


@torch.inference_mode()
def of_paper_decoders() -> list[dict[str, Cell]]:
    """Seconds in both precisions."""
    rows: list[dict[str, Cell]] = []
    for name in ("image-vqgan", "audio-vqgan"):
        recipe = read_recipe(RECIPES / f"{name}.toml")
        assert isinstance(recipe, ImageVQGANRecipe | AudioVQGANRecipe)
        network = VQGAN(vqgan_config(recipe)).eval()
        grid = torch.zeros(1, *(LAYOUT.image_grid if name == "image-vqgan" else LAYOUT.audio_grid), dtype=torch.int64)
        works = {precision: partial(_decode, network, grid, precision) for precision in ("float32", "bfloat16")}
        found = {precision: taken.median for precision, taken in take_turns(works, REPEATS).items()}
        times = found["float32"] / found["bfloat16"]
        rows.append({"decoder": f"the paper's {name}", **found, "times": times, "dB": None})
    return rows


@torch.inference_mode()
def of_paper_vocoder() -> dict[str, Cell]:
    """Seconds in both precisions, and signal over what bfloat16 changes."""
    recipe = read_recipe(RECIPES / "vocoder.toml")
    assert isinstance(recipe, VocoderRecipe)
    exact = build_vocoder(recipe.model.kind, recipe.model.model, LAYOUT).eval().fold()
    mel_BMT = torch.rand(1, LAYOUT.n_mels, LAYOUT.mel_frames, generator=torch.Generator().manual_seed(0))
    vocoders = {"float32": exact, "bfloat16": copy.deepcopy(exact).rounded()}
    works = {name: partial(vocode_in_stretches, vocoder, mel_BMT) for name, vocoder in vocoders.items()}
    found = {name: taken.median for name, taken in take_turns(works, REPEATS).items()}
    signal = signal_over_loss(works["float32"](), works["bfloat16"]())
    times = found["float32"] / found["bfloat16"]
    return {"decoder": f"the paper's vocoder, {recipe.model.kind}", **found, "times": times, "dB": signal}


def _decode(network: VQGAN, grid: torch.Tensor, precision: str) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        network.decode(grid)


def _rows(what: str, seconds: dict[str, Seconds], right: dict[str, float]) -> list[dict[str, Cell]]:
    medians = {name: taken.median for name, taken in seconds.items()}
    return [
        {
            "what": what, "precision": name, "seconds": median, "times float32": medians["float32"] / median,
            "right": right.get(name),
        }
        for name, median in medians.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/digits"))
    parser.add_argument("--images", type=int, default=200, help="test images, as many of each class")
    add_output(parser)
    options = parser.parse_args()
    rows = of_model(options.data, options.images)
    for kind in KINDS:
        rows += of_paper(kind)
    rows_of_decoders = [*of_trained_decoders(), *of_paper_decoders(), of_paper_vocoder()]
    decoders = of_records(rows_of_decoders, {"float32": ".2f", "bfloat16": ".2f", "times": ".2f", "dB": ".0f"})
    show({"transformers": of_records(rows, FORMATS), "decoders": decoders}, options.output)


if __name__ == "__main__":
    main()
