"""What each kind of vocoder is trained against: its mel loss, its discriminator, and what both sides lose by it.

Shapes: B batch, N samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from visual_echoes.layout import Layout
from visual_echoes.training.hifigan_discriminators import (
    DRAW,
    HiFiGANDiscriminator,
    least_squares_adversarial_loss,
    least_squares_discriminator_loss,
    natural_mel_distance,
    summed_feature_loss,
)
from visual_echoes.training.vocoder_losses import (
    Judgement,
    MultiResolutionDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    log_mel_distance,
)


@dataclass(frozen=True)
class Critic:
    """What a kind of vocoder is trained against.

    Attributes:
        mel_name: what the log calls `mel_distance`.
        mel_distance: of two sounds (B, N); a scalar.
        build: makes the discriminator of a width.
        adversarial_loss: the vocoder's, of its judged sounds.
        feature_loss: the vocoder's, of real and of its own sounds.
        discriminator_loss: of a batch whose first half is real and second half made.
        draw: the discriminator's loss where it cannot tell them apart.
    """

    mel_name: str
    mel_distance: Callable[[Tensor, Tensor, Layout], Tensor]
    build: Callable[[Layout, int], nn.Module]
    adversarial_loss: Callable[[Judgement], Tensor]
    feature_loss: Callable[[Judgement, Judgement], Tensor]
    discriminator_loss: Callable[[Judgement], Tensor]
    draw: float


CRITICS = {
    "vocos": Critic(
        mel_name="mel_l1",
        mel_distance=log_mel_distance,
        build=MultiResolutionDiscriminator,
        adversarial_loss=adversarial_loss,
        feature_loss=feature_loss,
        discriminator_loss=discriminator_loss,
        draw=1.0,
    ),
    "hifigan": Critic(
        mel_name="natural_mel_l1",
        mel_distance=natural_mel_distance,
        build=lambda _, width: HiFiGANDiscriminator(width),
        adversarial_loss=least_squares_adversarial_loss,
        feature_loss=summed_feature_loss,
        discriminator_loss=least_squares_discriminator_loss,
        draw=DRAW,
    ),
}
