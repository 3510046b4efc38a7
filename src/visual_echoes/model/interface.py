"""What sampling asks of others: of a model its logits, of settings guidance and order.

Shapes: B batch, P positions of a stream, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from visual_echoes.streams import Level, Stream, Tokens

# Draws the codes of a level by its logits, (B, P), before those that follow at the same positions are scored, and says
# where those are asked for, bool (B, P).
Draw = Callable[[Level, Tensor], tuple[Tensor, Tensor]]
# Logits (B, P, K) for tokens and masks, of the levels that are asked for at positions that are, bool (B, P).
Score = Callable[[Tokens, Tokens, Mapping[Level, Tensor], Draw], Mapping[Level, Tensor]]


class SequenceShape(Protocol):
    """What is asked of a model's config."""

    @property
    def streams(self) -> tuple[Stream, ...]: ...

    @property
    def residual(self) -> str:
        """ "depth" where all codes of a position are filled at once, each after those before it."""
        ...


class ScoringModel(Protocol):
    """What sampling asks of a model, whoever runs it."""

    @property
    def config(self) -> SequenceShape: ...

    def score(
        self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> Mapping[Level, Tensor]: ...


# Called after each step with the steps done, the steps in all, tokens and masks; what it raises ends the loop.
Progress = Callable[[int, int, Tokens, Tokens], None]


class Settings(Protocol):
    """What the loop asks of the settings."""

    @property
    def label_choice(self) -> str:
        """ "likeliest" where labels of what is given are not drawn."""
        ...

    def token_temperature(self, source: str) -> float:
        """What the logits of a source's tokens are divided by before a draw; 1 draws as the model says (MAGE)."""
        ...

    def min_p(self, stream: Stream) -> float:
        """Below which share of the likeliest code's probability no code of a stream is drawn; 0 draws of all."""
        ...

    def scale(self, step: int, steps: int) -> float:
        """How far from the unconditional logits towards the conditional ones a step from 0 goes; 1 is no guidance."""
        ...

    def order_of(self, shape: tuple[int, ...]) -> Order:
        """The order in which the positions of a grid are unmasked."""
        ...


class Order(Protocol):
    """Which tokens are unmasked first."""

    def __call__(self, log_probability_BP: Tensor, noise_BP: Tensor, done: float) -> Tensor:
        """A score for each position, (B, P): the highest are unmasked first.

        Args:
            log_probability_BP: of the tokens that were drawn.
            noise_BP: Gumbel noise.
            done: share of the steps that are over once this one is.
        """
        ...
