"""Settings of the training loop, the same for every part; a recipe's `[train]` table."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import ConfigDict, Field
from torch import nn

from visual_echoes.model.upgrade import LaterFields

# What may change between one half of a run and the other: it alters no result beyond rounding.
FREE_TO_CHANGE = frozenset(
    {"log_every", "validate_every", "checkpoint_every", "keep_last", "keep_every", "accumulate", "deterministic"}
)


class TrainSettings(LaterFields):
    """How long, how fast, how often to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER = ("decay_embeddings",)

    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)  # items a step, on all processes together
    accumulate: int = Field(default=1, gt=0)  # pieces that a process takes its share of the batch in, to save memory
    learning_rate: float = Field(gt=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    muon_learning_rate: float = Field(default=0.02, gt=0)  # for hidden matrices, when optimizer is "muon"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.05, ge=0)  # of matrices and kernels, never of biases and norms
    # Whether weight decay falls on the tables of token embeddings and on single embeddings, too, such as those of the
    # CLS token and of masked positions (MAGE: yes).
    decay_embeddings: bool = False
    warmup_steps: int = Field(default=0, ge=0)
    final_rate: float = Field(default=0.0, ge=0, le=1)  # share of the learning rate left at the last step
    clip_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0
    log_every: int = Field(default=20, gt=0)
    validate_every: int = Field(default=500, gt=0)
    checkpoint_every: int = Field(default=500, gt=0)
    keep_last: int = Field(default=2, gt=0)  # newest checkpoints that are kept
    keep_every: int | None = Field(default=None, gt=0)  # the checkpoints of every so many steps stay for good
    deterministic: bool = False  # only operations whose results repeat to the bit; slower on a GPU

    def rate(self, step: int) -> float:
        """Share of the learning rate at a step: linear warm-up, then half a cosine to `final_rate`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def mixed_precision(precision: str, on_gpu: bool) -> Literal["no", "bf16"]:
    """Accelerate's name for a precision; "auto" takes bfloat16 only where the hardware multiplies it natively."""
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if on_gpu else torch.cpu._is_amx_tile_supported()
        return "bf16" if native else "no"
    return "bf16" if precision == "bf16" else "no"


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Let torch use only operations whose results repeat to the bit, as long as the block lasts, if wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS does not repeat its results
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def build_optimizers(networks: list[nn.Module], settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """The optimisers of some networks.

    Weight decay falls on matrices and kernels, and on embeddings where the settings say so; never on biases and norms.
    With Muon (Jordan 2024) the 2-D hidden matrices go to Muon and all else (embeddings, norms, biases, convolutions)
    stays with AdamW.
    """
    hidden, decayed, undecayed = [], [], []
    for network in networks:
        tables = {module.weight for module in network.modules() if isinstance(module, nn.Embedding)}
        embeddings = tables | _single_embeddings(network) if settings.decay_embeddings else set()
        for parameter in network.parameters():
            if parameter in embeddings:
                decayed.append(parameter)
            elif parameter.dim() < 2 or parameter in tables:
                undecayed.append(parameter)
            elif settings.optimizer == "muon" and parameter.dim() == 2:
                hidden.append(parameter)
            else:
                decayed.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
        )
    ]
    if hidden:
        optimizers.append(torch.optim.Muon(hidden, lr=settings.muon_learning_rate, weight_decay=settings.weight_decay))
    return optimizers


def _single_embeddings(network: nn.Module) -> set[nn.Parameter]:
    """Vectors that are neither biases nor a norm's weights."""
    norms = {module.weight for module in network.modules() if isinstance(module, nn.LayerNorm | nn.GroupNorm)}
    return {
        parameter
        for name, parameter in network.named_parameters()
        if parameter.dim() < 2 and not name.endswith("bias") and parameter not in norms
    }
