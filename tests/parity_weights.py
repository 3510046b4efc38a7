"""The weights of the parity fixtures, which follow from a rule instead of being stored.

Each tensor is drawn from its own name, so a reader of published checkpoints can be held to numbers that the reference
implementations gave for these very weights.
"""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parent / "parity"


def parity_tensor(name: str, shape: list[int]) -> Tensor:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("embedding.weight"):
        return noise
    last = name.rsplit(".", 1)[-1]
    if last == "weight_g":
        return 1 + 0.1 * noise.abs()
    if noise.dim() >= 2:
        return noise / math.sqrt(noise[0].numel())
    return 1 + 0.1 * noise if last == "weight" else 0.1 * noise


def load_parity(name: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Config, state dict and recorded arrays of one fixture."""
    config = json.loads((FOLDER / f"{name}.json").read_text())
    state = {}
    for key, facts in config["tensors"].items():
        state[key] = parity_tensor(key, facts["shape"])
        assert math.isclose(float(state[key].double().sum()), facts["sum"], abs_tol=1e-3, rel_tol=1e-5), key
    return config, state, load_file(FOLDER / f"{name}.safetensors")
