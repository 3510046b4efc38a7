"""Measuring a model: seconds of each stage, the plain way beside the fast one, and the share of the machine in use.

Repeats of what is compared take turns, so that a busy moment falls on all of them; figures are medians with the least
and the most beside them.

Shapes: B batch, I image positions, A sound positions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from visual_echoes.evaluation.records import Record
from visual_echoes.model.fast import dense, scorer
from visual_echoes.model.int8 import product
from visual_echoes.model.interface import Score, ScoringModel
from visual_echoes.model.precision import Precision
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.streams import masked_but

MATMUL_SIDE = 2048  # of the square matrices whose product says what the machine can do
MATMULS = 4


class Seconds(Record):
    """Repeated measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Seconds:
        return cls(median=statistics.median(values), least=min(values), most=max(values))


def take_turns(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Seconds]:
    """Seconds of each work, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: Seconds.of(values) for name, values in taken.items()}


def multiply_matrices(precision: Precision = "float32") -> None:
    """The work whose speed a machine is measured by: `MATMULS` products."""
    matrix = torch.ones(MATMUL_SIDE, MATMUL_SIDE, dtype=getattr(torch, precision))
    for _ in range(MATMULS):
        if precision == "int8":
            product(matrix, matrix)
        else:
            matrix @ matrix


MATMUL_OPERATIONS = MATMULS * 2 * MATMUL_SIDE**3


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions in some work."""
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # whose products the counter knows on every device
        work()
    return counter.get_total_flops()


class Sampling:
    """Sounds for images with a transformer, the fast way and the plain way, from random tokens.

    Args:
        model: in eval mode, on the CPU, without gradients; the plain way needs an `EchoTransformer`.
        count: sounds made at once.
    """

    def __init__(self, model: ScoringModel, settings: SamplingSettings, count: int = 1) -> None:
        self.model, self.settings, self.count = model, settings, count
        streams, noise = model.config.streams, torch.Generator().manual_seed(0)
        self.tokens = {s.name: torch.randint(s.codes, (count, s.positions, s.depth), generator=noise) for s in streams}
        self.masked = masked_but(streams, self.tokens, ["image"])

    def fast(self) -> Tensor:
        """Tokens of sounds, (B, A, Q)."""
        return self._generate(scorer(self.model, self.settings.kv_refresh_every))

    def slow(self) -> Tensor:
        """The same, by the dense model: every layer on the whole sequence, at every step."""
        plain = dense(cast(EchoTransformer, self.model))
        return self._generate(lambda: plain.score)

    def _generate(self, scores: Callable[[], Score]) -> Tensor:
        streams = self.model.config.streams
        plan = self.settings.plan(streams, ["audio"], by_depth=self.model.config.residual == "depth")
        return generate(scores, streams, self.tokens, self.masked, plan, self.settings, self._generators())["audio"]

    def _generators(self) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in range(self.count)]


def stages(echoes: VisualEchoes, repeats: int) -> dict[str, Seconds]:
    """Seconds of each stage of one request, sampling by the model's own settings."""
    codec, layout = echoes.codec, echoes.layout
    images = torch.zeros(1, layout.image_size, layout.image_size, layout.image_channels, dtype=torch.uint8).numpy()
    waves = torch.zeros(1, layout.clip_samples).numpy()
    mel_BMT = codec.mels(waves)
    image_BI, audio_BA = codec.encode_images(images), codec.encode_mels(mel_BMT)
    works: dict[str, Callable[[], Any]] = {
        "encode an image": lambda: codec.encode_images(images),
        "mel of a sound": lambda: codec.mels(waves),
        "encode a sound": lambda: codec.encode_mels(mel_BMT),
        "sample a sound": Sampling(codec.transformer, echoes.defaults).fast,
        "decode an image": lambda: codec.decode_images(image_BI),
        "decode a sound": lambda: codec.decode_mels(audio_BA),
        "vocoder": lambda: codec.vocode(mel_BMT),
    }
    return take_turns(works, repeats)
