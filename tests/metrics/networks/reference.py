"""Weights and inputs that follow from a rule, for which `expected.json` holds what the reference implementations gave.

They were torchvggish 0.2, panns_inference 0.1.1, wav2clip 0.1.0, torch-fidelity 0.4.0, transformers 5.23.0 and lpips
0.1.4, each with these weights under its own names; for Synchformer its modules as published, with the AST of
transformers 5.24.0 and the spectrogram of torchaudio 2.11.0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from parity_weights import parity_tensor

EXPECTED: dict[str, list[float]] = json.loads((Path(__file__).parent / "expected.json").read_text())
SHOWN = 8  # values of each output that are compared
GAIN = 2.0**0.5  # keeps the size of activations through ReLUs
Build = Callable[[], nn.Module]


def state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A tensor for each name: of unit gain, with variances above 0."""
    return {name: _tensor(name, list(shape)) for name, shape in shapes.items()}


def ruled_state(build: Build) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = build()
    return state({name: tuple(value.shape) for name, value in network.state_dict().items()})


@torch.no_grad()
def ruled(build: Build) -> nn.Module:
    """A network with the weights that follow from the rule."""
    with torch.device("meta"):
        network = build()
    network.load_state_dict(ruled_state(build), assign=True)
    return network.eval().requires_grad_(False)


def _tensor(name: str, shape: list[int]) -> Tensor:
    tensor = parity_tensor(name, shape)
    if name.endswith("running_var"):
        return 1.0 + tensor.abs()
    return tensor * GAIN if tensor.dim() == 4 else tensor


def sound(samples: int = 40000) -> Tensor:
    """Noise under a tone, (samples,)."""
    tone = torch.sin(torch.arange(samples) * 0.05 * torch.linspace(1.0, 2.0, samples))
    return 0.2 * tone + 0.05 * parity_tensor("sound", [samples])


def picture(side: int, seed: str = "picture") -> Tensor:
    """(1, 3, side, side) in [0, 1]."""
    return parity_tensor(seed, [1, 3, side, side]).mul(side).sigmoid()
