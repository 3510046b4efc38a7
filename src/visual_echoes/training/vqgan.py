"""Training a VQGAN (Esser et al. 2021): reconstruction, commitment and codebook losses, then a discriminator.

Codes that fall out of use are put back among the encoder's outputs; usage and perplexity are logged and a low usage is
warned about, because a collapsed codebook looks like a slow training.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, D code dimension, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.data.sources import Source
from visual_echoes.media.tensors import unit_to_pixels
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig, code_usage
from visual_echoes.training.perceptual import build_perceptual, classifier_distance
from visual_echoes.training.ranks import from_main, gather_rows, mean_over_ranks
from visual_echoes.training.task import Phase, Task, Validation

USAGE_ALARM = 0.5  # share of the codebook
VALIDATION_BATCH = 64
SHOWN = 16


class VQGANLoss(BaseModel):
    """Weights and start of each loss; a recipe's `[loss]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codebook_weight: float = 1.0
    commitment_weight: float = 0.25
    squared_weight: float = Field(default=0.0, ge=0)  # of the squared error, beside the absolute error's 1
    perceptual: Literal["none", "edges", "efficientnet"] = "none"
    perceptual_weight: float = Field(default=1.0, ge=0)
    classifier: Path | None = None  # a classifier trained here whose features are compared as well
    classifier_weight: float = Field(default=1.0, ge=0)
    adversarial_from: int | None = None  # step at which the discriminator starts; None: never
    adversarial_weight: float = 0.8
    adversarial_limit: float = Field(default=1e4, gt=0)  # bound of the adaptive weight; taming's 1e4
    discriminator_width: int = Field(default=64, gt=0, multiple_of=8)
    restart_every: int = Field(default=50, gt=0)  # steps between revivals of dead codes
    restart_until: int | None = None  # last step with revivals; None: no end
    restart_below: float = 0.1  # a code is dead below this share of its fair use


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017): real or not, per patch."""

    def __init__(self, channels: int, width: int, layers: int = 2) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for layer in range(1, layers + 1):
            stride = 2 if layer < layers else 1
            stages += [nn.Conv2d(width * layer, width * (layer + 1), 4, stride, 1, bias=False)]
            stages += [nn.GroupNorm(8, width * (layer + 1)), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*stages, nn.Conv2d(width * (layers + 1), 1, 4, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW)


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss."""
    return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())


class CodeTracker(nn.Module):
    """Running use of each code, and the encoder outputs of a step to revive dead codes with. Part of the checkpoint.

    All ranks hold the same: codes are gathered from them and revivals are the main one's.
    """

    use_K: Tensor

    def __init__(self, config: VQGANConfig, decay: float = 0.98) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("use_K", torch.ones(config.codes))
        self._seen: list[tuple[Tensor, Tensor]] = []  # codes and encoder outputs of the step's pieces
        self._outputs_ND = torch.zeros(0, config.code_dim)

    @torch.no_grad()
    def observe(self, indices_Bhw: Tensor, z_BDhw: Tensor) -> None:
        """Take in one piece of a step's batch."""
        self._seen.append((indices_Bhw.flatten(), z_BDhw.movedim(1, -1).flatten(0, -2).float()))

    @torch.no_grad()
    def tally(self) -> dict[str, float]:
        """Count what was observed since the last call, into `use_K` (1 is a fair share); returns figures to log."""
        if not self._seen:
            return {}
        codes = len(self.use_K)
        own_N, self._outputs_ND = (torch.cat(pieces) for pieces in zip(*self._seen, strict=True))
        self._seen = []
        indices_N = gather_rows(own_N)
        counts_K = torch.bincount(indices_N, minlength=codes).float()
        self.use_K.lerp_(counts_K * codes / counts_K.sum(), 1.0 - self.decay)
        usage, perplexity = code_usage(indices_N.cpu(), codes)
        return {"usage": usage, "perplexity": perplexity}

    @torch.no_grad()
    def revive(self, codebook_KD: Tensor, below: float) -> int:
        """Move dead codes onto encoder outputs of the last step that was tallied; returns how many."""
        z_ND = gather_rows(self._outputs_ND)
        # Each row of the pool is a draw from the step's outputs (with repeats where they are few).
        pool_KD = from_main(z_ND[torch.randint(len(z_ND), (len(self.use_K),), device=z_ND.device)])
        dead_K = self.use_K < below
        codebook_KD[dead_K] = pool_KD[dead_K]
        self.use_K[dead_K] = 1.0
        return int(dead_K.sum())


class VQGANTask(Task):
    """Trains one VQGAN on images or on mels."""

    train: Source
    valid: Source

    def __init__(self, config: VQGANConfig, loss: VQGANLoss, train: Source, valid: Source) -> None:
        self.config, self.loss_config, self.train, self.valid = config, loss, train, valid
        self.model = VQGAN(config)
        self.tracker = CodeTracker(config)
        self.perceptual = build_perceptual(loss.perceptual)
        self.classified = classifier_distance(loss.classifier, config.channels)
        self.modules = nn.ModuleDict({"model": self.model, "tracker": self.tracker})
        self.optimizers = {"model": ("model",)}
        if loss.adversarial_from is not None:
            self.discriminator = PatchDiscriminator(config.channels, loss.discriminator_width)
            self.modules["discriminator"] = self.discriminator
            self.optimizers = {"model": ("model",), "discriminator": ("discriminator",)}

    def batch(self, size: int, generator: torch.Generator) -> Tensor:
        return self.train.take(self.items(size, generator), generator)

    def survey(self, batch: Tensor, step: int) -> Tensor | None:
        """The gradients that the adaptive weight follows from, (2, ...); None before the discriminator joins."""
        if not self._adversarial(step):
            return None
        reconstruction = self.modules["model"](batch).reconstruction_BCHW.float()
        fidelity, _ = self._fidelity(reconstruction, batch)
        return self._last_gradients(fidelity, self._judged(reconstruction))

    def phases(self, batch: Tensor, step: int) -> Iterator[Phase]:
        loss = self.loss_config
        x_BCHW = batch
        output = self.modules["model"](x_BCHW)
        reconstruction = output.reconstruction_BCHW.float()
        z_BDhw, codes_BDhw = output.z_BDhw.float(), output.codes_BDhw.float()
        self.tracker.observe(output.indices_Bhw, z_BDhw.detach())
        fidelity, metrics = self._fidelity(reconstruction, x_BCHW)
        codebook = F.mse_loss(codes_BDhw, z_BDhw.detach())
        metrics["commitment"] = commitment = F.mse_loss(z_BDhw, codes_BDhw.detach())
        adversarial = self._adversarial(step)
        if adversarial:
            judged = self._judged(reconstruction)
            fidelity, judged = (_followed_back(value, reconstruction) for value in (fidelity, judged))
            found = self.surveyed
            weight = self._adaptive_weight(
                mean_over_ranks(self._last_gradients(fidelity, judged)) if found is None else found
            )
            fidelity = fidelity + weight * loss.adversarial_weight * judged
            metrics["adversarial"], metrics["adaptive_weight"] = judged, weight
        total = fidelity + loss.codebook_weight * codebook + loss.commitment_weight * commitment
        yield Phase("model", total, metrics)
        if adversarial:
            real = self.modules["discriminator"](x_BCHW).float()
            fake = self.modules["discriminator"](reconstruction.detach()).float()
            yield Phase("discriminator", hinge_loss(real, fake), {"real": real.mean(), "fake": fake.mean()})

    def _adversarial(self, step: int) -> bool:
        """Whether the discriminator takes part."""
        return self.loss_config.adversarial_from is not None and step >= self.loss_config.adversarial_from

    def _fidelity(self, reconstruction_BCHW: Tensor, x_BCHW: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """How far a reconstruction is from its original: the weighted sum, and what it is made of."""
        loss = self.loss_config
        absolute = F.l1_loss(reconstruction_BCHW, x_BCHW)
        squared = F.mse_loss(reconstruction_BCHW, x_BCHW)
        perceptual = self.perceptual(reconstruction_BCHW, x_BCHW)
        total = absolute + loss.squared_weight * squared + loss.perceptual_weight * perceptual
        metrics = {"l1": absolute, "squared": squared, "perceptual": perceptual}
        if loss.classifier is not None:
            metrics["classified"] = classified = self.classified(reconstruction_BCHW, x_BCHW)
            total = total + loss.classifier_weight * classified
        return total, metrics

    def _judged(self, reconstruction_BCHW: Tensor) -> Tensor:
        """The generator's side of the hinge loss."""
        return -self.modules["discriminator"](reconstruction_BCHW).float().mean()

    def _last_gradients(self, fidelity: Tensor, judged: Tensor) -> Tensor:
        """The gradients of both losses at the decoder's last layer, (2, ...)."""
        last = self.model.decoder.last_layer
        losses = (fidelity, judged)
        return torch.stack([torch.autograd.grad(loss, last, retain_graph=True)[0] for loss in losses])

    def _adaptive_weight(self, gradients: Tensor) -> Tensor:
        """Balances both losses by the norms of their gradients over the whole batch (taming, eq. 7)."""
        from_fidelity, from_judged = gradients
        weight = from_fidelity.norm() / (from_judged.norm() + 1e-4)
        return weight.clamp(0.0, self.loss_config.adversarial_limit)

    def after_step(self, step: int) -> Mapping[str, float]:
        loss = self.loss_config
        codebook_KD = self.model.quantize.embedding.weight
        figures = self.tracker.tally()
        ended = loss.restart_until is not None and step > loss.restart_until
        if (step + 1) % loss.restart_every == 0 and codebook_KD.requires_grad and not ended:
            self.tracker.revive(codebook_KD.data, loss.restart_below)
        return figures

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        assert isinstance(model, VQGAN)
        errors, indices = Reconstructions(), []
        for index_B in torch.arange(len(self.valid)).split(VALIDATION_BATCH):
            x_BCHW = self.valid.take(index_B, None).to(device)
            indices_Bhw = model.encode(x_BCHW).indices
            indices.append(indices_Bhw.cpu())
            errors.add(x_BCHW, model.decode(indices_Bhw))
        usage, perplexity = code_usage(torch.cat(indices), self.config.codes)
        low = f"only {usage:.0%} of the codebook is in use; lower restart_every, codes or learning_rate"
        metrics = {**errors.metrics(), "usage": usage, "perplexity": perplexity}
        return Validation(metrics, images=errors.shown, alarms=[low] if usage < USAGE_ALARM else [])

    def export_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def _followed_back(value: Tensor, point: Tensor) -> Tensor:
    """The same value and gradient, its way back to `point` gone through already.

    The networks between the two are then traversed once, however often the gradient is asked for before `point`.
    """
    (gradient,) = torch.autograd.grad(value, point)
    return value.detach() + ((point - point.detach()) * gradient).sum()


class Reconstructions:
    """Adds up how far reconstructions are from their originals, and shows the first of them.

    Attributes:
        shown: two rows of images, originals above, uint8 (2H, B * W, C), by name.
    """

    def __init__(self) -> None:
        self.absolute = self.squared = 0.0
        self.count = 0
        self.shown: dict[str, np.ndarray] = {}

    def add(self, x_BCHW: Tensor, made_BCHW: Tensor) -> None:
        """Take in a batch in [-1, 1] and what was made of it."""
        made_BCHW = made_BCHW.float().clamp(-1.0, 1.0)
        self.count += len(x_BCHW)
        self.absolute += float((made_BCHW - x_BCHW).abs().mean((1, 2, 3)).sum())
        self.squared += float((made_BCHW - x_BCHW).square().mean((1, 2, 3)).sum())
        if not self.shown:
            rows = [torch.cat(list(images[:SHOWN].cpu()), dim=-1) for images in (x_BCHW, made_BCHW)]
            pixels_HWC = unit_to_pixels(torch.cat(rows, dim=-2)).movedim(0, -1)
            self.shown = {"original_and_reconstruction": pixels_HWC.numpy()}

    def metrics(self) -> dict[str, float]:
        # Values span [-1, 1], so the peak of the signal-to-noise ratio is 2.
        psnr = 10.0 * math.log10(4.0 * self.count / max(self.squared, 1e-12))
        return {"l1": self.absolute / self.count, "psnr_db": psnr}
