"""The published networks as judges of files, with the preprocessing of the toolkits that the field's figures come from.

Shapes: B batch, N samples, P patches, C channels, H rows, W columns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.checkpoints.convert.reading import read_tensors
from visual_echoes.checkpoints.convert.sizes import fit
from visual_echoes.errors import EchoesError
from visual_echoes.media import read_audio, read_image
from visual_echoes.metrics.networks import clip, inception, lpips, panns, vggish, wav2clip
from visual_echoes.metrics.networks.base import FileJudge, Look
from visual_echoes.metrics.networks.offline import checked_digest, package_folder
from visual_echoes.metrics.networks.published import PUBLISHED, find_weights, load_published, read_published

MONO = "mean of the channels"
LPIPS_LAYERS = "functional/image/lpips_models/alex.pth"
LPIPS_LAYERS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
PICTURES_AT_ONCE = 16


class PublishedJudge(FileJudge):
    """A judge with published weights.

    Args:
        source: their file, or where it is on the hub; None for where it is known to be.
        sha256: what the user says it must be, instead of the published one.
    """

    def __init__(self, source: str | None = None, sha256: str | None = None) -> None:
        weights = find_weights(self.name, source, sha256)
        self.title, self.sha256, self.pin = PUBLISHED[self.name].title, weights.sha256, weights.pin
        self.network = self.load(weights.path)

    @abstractmethod
    def load(self, weights: Path) -> nn.Module:
        """The network with its weights."""


class _Sounds(PublishedJudge):
    """Sounds one at a time, whole, followed by silence up to `least` samples.

    Attributes:
        rate: that the network hears, in Hz.
        least: samples.
        centred: the sound's mean is taken from it first, as audioldm_eval does.
    """

    modality = "audio"
    rate: int
    least: int
    centred = True

    def read(self, path: Path) -> Tensor:
        wave_N = torch.from_numpy(read_audio(path, self.rate))
        if self.centred:
            wave_N = wave_N - wave_N.mean()
        return F.pad(wave_N, (0, max(0, self.least - len(wave_N))))

    @torch.inference_mode()
    def look(self, items: Sequence[Tensor]) -> list[Look]:
        return [self.one(wave_N) for wave_N in items]

    @abstractmethod
    def one(self, wave_N: Tensor) -> Look:
        """What it sees in a sound."""


class PannsJudge(_Sounds):
    """FD, KL and the inception score of sounds, as audioldm_eval computes them at the rate that the weights are for."""

    name = "panns"
    labels = tuple(f"AudioSet class {index}" for index in range(panns.CLASSES))
    least = panns.LEAST

    def load(self, weights: Path) -> panns.Cnn14:
        tensors = read_published(weights)
        front = panns.front_end(tensors, weights)
        self.rate, kilohertz = front.rate, f"{front.rate / 1000:g} kHz"
        self.title = f"{self.title}, {kilohertz}"
        other = "" if front == panns.FRONT_ENDS[0] else f", {kilohertz}"  # the field's FD is that at 16 kHz
        self.frechet, self.kernel = f"FD{other}", f"kernel distance (PANNs{other})"
        self.preprocessing = (
            f"{MONO}, {kilohertz}, less its mean, padded to {panns.LEAST} samples or more, whole length"
        )
        network = fit(lambda: panns.Cnn14(front), panns.own_names(tensors), weights, self.title)
        return network.requires_grad_(False)

    def one(self, wave_N: Tensor) -> Look:
        features_1D, logits_1K = self.network(wave_N[None])
        return Look(features_1D, logits_1K[0])


class VGGishJudge(_Sounds):
    """FAD: all frames of all files pooled, as audioldm_eval computes it."""

    name, unit = "vggish", "frame"
    frechet, kernel = "FAD", "kernel distance (VGGish)"
    rate, least = vggish.RATE, vggish.LEAST
    preprocessing = (
        f"{MONO}, 16 kHz, less its mean, padded to {vggish.LEAST} samples or more, patches of 0.96 s; no PCA, no last "
        "ReLU"
    )

    def load(self, weights: Path) -> vggish.VGGish:
        return load_published(vggish.VGGish, weights, self.title)

    def one(self, wave_N: Tensor) -> Look:
        return Look(self.network(vggish.vggish_patches(wave_N)), None)


class Wav2ClipJudge(_Sounds):
    """The sound's side of CS, as wav2clip embeds a sound: as it is."""

    name = "wav2clip"
    frechet, kernel = "Fréchet distance (Wav2CLIP)", "kernel distance (Wav2CLIP)"
    rate, least, centred = wav2clip.RATE, wav2clip.LEAST, False
    preprocessing = f"{MONO}, 16 kHz, padded to {wav2clip.LEAST} samples or more, whole length"

    def load(self, weights: Path) -> wav2clip.Wav2Clip:
        return load_published(wav2clip.Wav2Clip, weights, self.title, wav2clip.own_names)

    def one(self, wave_N: Tensor) -> Look:
        return Look(F.normalize(self.network(wave_N), dim=0)[None], None)


class ClipJudge(PublishedJudge):
    """The image's side of CS."""

    name = "clip"
    modality = "image"
    batch = PICTURES_AT_ONCE
    frechet, kernel = "Fréchet distance (CLIP)", "kernel distance (CLIP)"
    preprocessing = f"shorter side to {clip.SIDE} pixels (bicubic), centre square, rounded as openai's CLIP does"

    def load(self, weights: Path) -> clip.ClipImages:
        return load_published(clip.ClipImages, weights, self.title, clip.own_names)

    def read(self, path: Path) -> Tensor:
        image = read_image(path)
        if max(image.size) > clip.NARROWEST * min(image.size):
            raise EchoesError(f"{path} has {image.width}x{image.height} pixels, too narrow for CLIP; leave it out.")
        return clip.clip_input(image)

    @torch.inference_mode()
    def look(self, items: Sequence[Tensor]) -> list[Look]:
        features_BD = F.normalize(self.network(torch.stack(list(items))), dim=-1)
        return [Look(features_D[None], None) for features_D in features_BD]


class InceptionJudge(PublishedJudge):
    """FID, KID and the inception score of images, as pytorch-fid resizes them."""

    name = "inception"
    modality = "image"
    frechet, kernel = "FID", "KID"
    labels = tuple(f"Inception class {index}" for index in range(inception.CLASSES))
    preprocessing = f"whole image, bilinear to {inception.SIDE} pixels without smoothing, in [-1, 1]"

    def load(self, weights: Path) -> inception.FidInception:
        return load_published(inception.FidInception, weights, self.title)

    def read(self, path: Path) -> Tensor:
        return torch.from_numpy(np.array(read_image(path).convert("RGB"))).movedim(-1, 0)

    @torch.inference_mode()
    def look(self, items: Sequence[Tensor]) -> list[Look]:
        seen = [self.network(picture_3HW[None] / 255.0) for picture_3HW in items]
        return [Look(features_1D, logits_1K[0]) for features_1D, logits_1K in seen]


def load_lpips(source: str | None = None, sha256: str | None = None) -> lpips.Lpips:
    """LPIPS with AlexNet's weights from a file and the layers' from the package torchmetrics."""
    weights = find_weights("lpips", source, sha256)
    layers = package_folder("torchmetrics", extra="eval") / LPIPS_LAYERS
    checked_digest(layers, LPIPS_LAYERS_SHA256, "eval")
    own = read_tensors(layers)
    return load_published(lpips.Lpips, weights.path, "LPIPS", lambda alexnet: lpips.own_names(alexnet, own))
