"""What VGGSound would take, worked out from what was measured: hours of preparation, disk, GPU hours, money.

Measured are a core's seconds a clip (`prepare_speed.py`), bytes a clip, and tokens a second of ViT-B on one GPU
(`gpu.py`). Steps and batch are the recipe's. ViT-L is taken to be slower by the parameters of its blocks, which holds
as long as the GPU computes and does not wait. Run from the repository's root:

    python benchmarks/plan.py --price 3 -o docs/measurements/plan.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measuring import add_output, show

from visual_echoes.evaluation.measurement import ONLY, Cell, Table, read_measurement
from visual_echoes.machine import without_memory
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.training.recipe import TransformerRecipe, read_recipe

MEASURED = Path("docs/measurements")
CLIPS, CORES, GPUS = 200_000, 64, 8
LARGE = {"width": 1024, "heads": 16, "encoder_layers": 24, "decoder_layers": 8}
HOUR = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--price", type=float, default=3.0, help="dollars for an hour of the GPU that was measured")
    add_output(parser)
    options = parser.parse_args()
    recipe = read_recipe(Path("recipes/paper/transformer.toml"))
    assert isinstance(recipe, TransformerRecipe)
    layout = recipe.get_layout()
    tokens = recipe.train.steps * recipe.train.batch_size * layout.tokens
    speed = measured("gpu", "steps", ("masked, full", "bf16"), "tokens a second")
    sizes = recipe.model.model_dump()
    small, large = (blocks(TransformerConfig.for_layout(layout, **sizes | more)) for more in ({}, LARGE))
    base = tokens / speed / HOUR
    rows: list[tuple[Cell, ...]] = []
    for kind in ("H.264 640x360, AAC", "H.264 1280x720, AAC"):
        hours = CLIPS * measured("prepare-speed", "clips", (kind,), "core seconds") / HOUR
        rows.append((f"prepare {CLIPS:,} clips, {kind}", hours, "core hours", hours / CORES, f"{CORES} cores"))
    size = measured("prepare-speed", "disk", ("tokens, `paper` layout, ten frames and three windows",), "GB of 200,000")
    rows.append(("their tokens", size, "GB", None, None))
    for name, hours in (("ViT-B", base), ("ViT-L", base * large / small)):
        rows.append((f"train {name}, {recipe.train.steps:,} steps", hours, "GPU hours", hours / GPUS, f"{GPUS} GPUs"))
        rows.append((f"{name} at {options.price:g} dollars an hour", hours * options.price, "dollars", None, None))
    columns = ("work", "in all", "", "hours", "on")
    show({ONLY: Table(columns=columns, rows=tuple(rows), formats={"in all": ",.3g", "hours": ".2g"})}, options.output)


def measured(name: str, table: str, first: tuple[str, ...], column: str) -> float:
    """A stored figure: the row that begins so, in a column."""
    found = read_measurement(MEASURED / f"{name}.json").tables[table]
    row = next(row for row in found.rows if row[: len(first)] == first)
    value = row[found.columns.index(column)]
    assert isinstance(value, float | int)
    return float(value)


def blocks(config: TransformerConfig) -> int:
    """Parameters of the encoder's and decoder's blocks."""
    with without_memory():
        model = EchoTransformer(config)
    return sum(p.numel() for part in (model.encoder, model.decoder) for p in part.parameters())


if __name__ == "__main__":
    main()
