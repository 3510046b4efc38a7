"""How far the tokenizers' quality bounds what is generated: smaller codebooks, the same small transformer.

Both tokenizers get a codebook of fewer codes, fitted to what their encoders make of training items (k-means), and stay
as they are otherwise. For each size the transformer of recipes/scenes/quality.toml is trained on the tokens, and the
judges say which class they take the round trip and the generated items for; sounds are made by Griffin-Lim throughout.
Every training resumes. Run from the repository's root, after `echoes data scenes`:

    python benchmarks/tokenizer_quality.py --runs reports/tokenizer-quality [-o FILE]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import add_output, show
from scipy.cluster.vq import kmeans2

from visual_echoes import __version__
from visual_echoes.checkpoints.assemble import assemble
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.pairs import read_split
from visual_echoes.data.sources import ImageSource, MelSource, Source, WaveSource
from visual_echoes.evaluation.ceiling import measure_round_trip
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.generated import Amounts, Meter, measure_generated
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.evaluation.packaged import packaged_judge
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.tokenizers.base import Tokenizer, TokenizerName
from visual_echoes.tokenizers.vqgan import VQGAN
from visual_echoes.training.recipe import TransformerRecipe, read_recipe
from visual_echoes.training.run import train

RECIPE = Path("recipes/scenes/quality.toml")
ITEMS = 2000  # training items whose latents a codebook is fitted to
ROUNDS = 20  # of k-means
AMOUNTS = Amounts(seeds=(0, 1, 2), pairs=60, sound_repeats=3)
PICTURES = 120
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="scenes", help="whose tokenizers and sampling settings are used")
    parser.add_argument("--codes", type=int, nargs="+", default=[512, 64, 8])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings, and of the plot")
    add_output(parser)
    arguments = parser.parse_args()
    recipe = read_recipe(RECIPE)
    assert isinstance(recipe, TransformerRecipe)
    source, names = load_model(arguments.model), ("image_vqgan", "audio_vqgan")
    rows: list[dict[str, Any]] = []
    for codes in arguments.codes:
        folders = {name: fewer_codes(recipe, source, name, codes, arguments.runs / f"{codes}-{name}") for name in names}
        own = recipe.model_copy(update={**folders, "output": arguments.runs / f"{codes}-transformer"})
        parts = [*folders.values(), train(own)]
        model = assemble(parts, "quality", "", source.sampling)
        echoes = VisualEchoes(model, torch.device("cpu"))
        judges = packaged_judge("scenes-image"), packaged_judge("scenes-audio")
        exam = Exam(echoes, recipe.data, *judges, BATCH, PICTURES)
        trip = measure_round_trip(exam)
        made = measure_generated(exam, AMOUNTS, source.sampling, Meter(None, 0))
        rows.append(
            {
                "codes": codes,
                "round_trip": {"pictures": trip.pictures.right, "sounds": trip.sounds.right},
                "psnr_db": trip.pictures.psnr_db,
                "picture_to_sound": made.picture_to_sound.judged.right,
                "sound_to_picture": made.sound_to_picture.judged.right,
                "pairs_agree": made.pairs["together"].agree,
            }
        )
        print(rows[-1], flush=True)
    show({ONLY: as_table(rows)}, arguments.output)
    draw(rows, arguments.runs / "plot.png")


def as_table(rows: list[dict[str, Any]]) -> Table:
    spreads = ("picture_to_sound", "sound_to_picture", "pairs_agree")
    return Table(
        columns=("codes", "images, round trip", "sounds, round trip", "image PSNR, dB", "image to sound",
                 "sound to image", "pairs agree"),
        rows=tuple(
            (
                str(row["codes"]), row["round_trip"]["pictures"], row["round_trip"]["sounds"], row["psnr_db"],
                *(f"{row[name].mean:.3f} ± {row[name].deviation:.3f}" for name in spreads),
            )
            for row in rows
        ),
        formats={"images, round trip": ".3f", "sounds, round trip": ".3f", "image PSNR, dB": ".1f"},
    )  # fmt: skip


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """What is generated against what the round trip keeps, with the number of codes at each point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, trip, made in zip(
        figure.subplots(1, 2), ("pictures", "sounds"), ("sound_to_picture", "picture_to_sound"), strict=True
    ):
        kept, right = [row["round_trip"][trip] for row in rows], [row[made] for row in rows]
        means, deviations = [value.mean for value in right], [value.deviation for value in right]
        axes.errorbar(kept, means, deviations, marker="o", capsize=3)
        for row, x, y in zip(rows, kept, means, strict=True):
            axes.annotate(f"{row['codes']} codes", (x, y), (4, 6), textcoords="offset points")
        axes.set_xlabel(f"{trip} judged right after the round trip")
        axes.set_ylabel(f"{made.replace('_', ' ')}: judged right")
    figure.savefig(path, dpi=120)


def fewer_codes(recipe: TransformerRecipe, loaded: Model, name: TokenizerName, codes: int, folder: Path) -> Path:
    """A model folder with a tokenizer of the loaded model and a codebook of so many codes."""
    part = loaded.parts[name]
    assert isinstance(part, VQGAN)
    fewer = VQGAN(part.config.model_copy(update={"codes": codes}))
    weights = part.state_dict()
    if codes != part.config.codes:
        weights["quantize.embedding.weight"] = fitted_codebook(latents(recipe, name, part), codes)
    fewer.load_state_dict(weights)
    model = Model(
        name=folder.name, version=__version__, parts={name: fewer}, sampling=loaded.sampling,
        layout=replace(loaded.layout, image_codes=codes, audio_codes=codes),
    )  # fmt: skip
    save_model(folder, model, half=False)
    return folder


def latents(recipe: TransformerRecipe, name: TokenizerName, tokenizer: Tokenizer) -> torch.Tensor:
    """What the encoder makes of training items, (places, D)."""
    layout = recipe.get_layout()
    split = read_split(recipe.data, "train", layout)
    sounds = WaveSource(split, layout, Augmentation())
    source: Source = ImageSource(split, Augmentation()) if name == "image_vqgan" else MelSource(sounds, layout)
    index_B = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[:ITEMS]
    with torch.inference_mode():
        found = [tokenizer.features(source.take(part, None)) for part in index_B.split(BATCH)]
    return torch.cat([z_BDhw.movedim(1, -1).flatten(0, -2) for z_BDhw in found])


def fitted_codebook(z_ND: torch.Tensor, codes: int) -> torch.Tensor:
    centres_KD, _ = kmeans2(z_ND.numpy(), codes, iter=ROUNDS, minit="++", rng=0)
    return torch.from_numpy(centres_KD)


if __name__ == "__main__":
    main()
