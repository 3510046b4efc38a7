"""The tokens that a packaged model draws, stored: 16 seeds of every task, and what each task started from.

The network runs in float64, where processors agree far below what a draw can tell, so the same tokens come out
everywhere. Run as a program it stores them anew: `python golden_tokens.py`, with `src` and `tests` on the path. Do so
only for a change that is meant to alter what a seed gives, and say in the change why it does.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from visual_echoes.evaluation.samples import sample_material
from visual_echoes.model.fast import scorer
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import with_changes
from visual_echoes.pipeline import PAIR_ORDERS, Groups, VisualEchoes

MODELS = ("digits",)
SEEDS = 16
FOLDER = Path(__file__).parent / "golden"

# What each task fills, group by group, which share of each stream is unknown at its start, and other settings.
TASKS: dict[str, tuple[Groups, dict[str, float], dict[str, object]]] = {
    "image_to_audio": ((("audio",),), {"image": 0.0, "audio": 1.0}, {}),
    "audio_to_image": ((("image",),), {"image": 1.0, "audio": 0.0}, {}),
    **{f"pair_{name}": (stages, {"image": 1.0, "audio": 1.0}, {}) for name, stages in PAIR_ORDERS.items()},
    "inpaint": (PAIR_ORDERS["together"], {"image": 0.5, "audio": 0.5}, {}),
    "halton": ((("audio",),), {"image": 0.0, "audio": 1.0}, {"order": "halton"}),
    "unguided": ((("audio",),), {"image": 0.0, "audio": 1.0}, {"guidance": 1.0}),
    "rising": ((("image",),), {"image": 1.0, "audio": 0.0}, {"guidance_schedule": "rising"}),
    "quality": ((("audio",),), {"image": 0.0, "audio": 1.0}, {"preset": "quality"}),
    "fast": ((("audio",),), {"image": 0.0, "audio": 1.0}, {"preset": "fast"}),
}


def conditions(echoes: VisualEchoes) -> dict[str, Tensor]:
    """Tokens of the model's examples, one a seed, int64 (16, P, 1) by stream."""
    _, images, sounds = sample_material(echoes.layout)
    found = {
        "image": echoes.codec.encode_images(images),
        "audio": echoes.codec.encode_mels(echoes.codec.mels(sounds)),
    }
    return {name: tokens[torch.arange(SEEDS) % len(tokens)] for name, tokens in found.items()}


def draw(echoes: VisualEchoes, given: dict[str, Tensor], task: str, seeds: range = range(SEEDS)) -> dict[str, Tensor]:
    """The tokens of a task for some of the seeds, a row each, int64 (n, P, 1) by stream."""
    groups, unknown, changes = TASKS[task]
    model = echoes.codec.transformer.double()  # type: ignore[attr-defined]
    tokens = {name: values[list(seeds)] for name, values in given.items()}
    masked = {
        name: (torch.arange(values.shape[1], device=values.device) < unknown[name] * values.shape[1])[
            :, None
        ].expand_as(values)
        for name, values in tokens.items()
    }
    settings, streams = with_changes(echoes.defaults, changes), echoes.layout.streams
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    plan = settings.plan(streams, *groups)
    return generate(scorer(model, settings.kv_refresh_every), streams, tokens, masked, plan, settings, generators)


def stored(model: str) -> dict[str, Tensor]:
    """What is stored of a model: `given/NAME` and `TASK/NAME`, int64 (16, P, 1)."""
    return {key: value.long()[..., None] for key, value in load_file(FOLDER / f"{model}.safetensors").items()}


def _store() -> None:
    torch.set_num_threads(1)
    for name in MODELS:
        echoes = VisualEchoes.from_pretrained(name)
        given = conditions(echoes)
        found = {f"given/{key}": value for key, value in given.items()}
        for task in TASKS:
            found |= {f"{task}/{key}": value for key, value in draw(echoes, given, task).items()}
        save_file({key: value[..., 0].short() for key, value in found.items()}, FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    _store()
