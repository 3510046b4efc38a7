"""Seconds of one sound by torch, by onnxruntime, and by onnxruntime with an int8 transformer; and what files weigh.

All take turns in one thread. A request is a whole one from the picture to the waveform, with how sure the model is;
sampling is the transformer's part of it. Divergence is that of the first step's probabilities from torch's, in nats a
place, on the packaged example pictures; beside it, for scale, what those pictures tell the model. Prints JSON.

Usage: python benchmarks/export_speed.py [--model digits scenes] [--repeats 10]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from debug_recipes import ROOT
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.confidence import information
from visual_echoes.inputs import picture_array
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.speed.export import export_model
from visual_echoes.speed.graphs import graph_path, has_vnni
from visual_echoes.speed.measure import Sampling, Seconds, take_turns
from visual_echoes.transformer import Pair
from visual_echoes.weights import find_model, load_model

EXAMPLES = ROOT / "src/visual_echoes/examples"
TORCH, ONNX, INT8 = "torch", "onnx", "onnx, int8 transformer"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--model", nargs="*", default=["digits", "scenes"], help="packaged models")
    arguments.add_argument("--repeats", type=int, default=10)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    found = {name: measure(name, options.repeats) for name in options.model}
    print(json.dumps({"vnni": has_vnni(), "threads": 1, "repeats": options.repeats, "models": found}, indent=2))


def measure(name: str, repeats: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as temporary:
        folders = {TORCH: find_model(name), ONNX: Path(temporary) / "float", INT8: Path(temporary) / "int8"}
        manifests = {way: export_model(load_model(name), folders[way], int8=way == INT8) for way in (ONNX, INT8)}
        loaded = {way: VisualEchoes.from_pretrained(folder, device="cpu") for way, folder in folders.items()}
        pictures = [picture_array(path, loaded[TORCH].layout) for path in sorted((EXAMPLES / name).glob("*.png"))]
        tokens = conditions(loaded[TORCH], pictures)
        scores_BAK = {way: first_scores(echoes, tokens) for way, echoes in loaded.items()}
        requests = {way: partial(echoes.image_to_audio, pictures[:1]) for way, echoes in loaded.items()}
        samplings = {way: Sampling(echoes.codec.transformer, echoes.defaults) for way, echoes in loaded.items()}
        drawn_BA = {way: sampling.fast() for way, sampling in samplings.items()}
        return {
            "request, seconds": rounded(take_turns(requests, repeats)),
            "sampling, seconds": rounded(take_turns({way: s.fast for way, s in samplings.items()}, repeats)),
            "same tokens as torch": torch.equal(drawn_BA[ONNX], drawn_BA[TORCH]),
            "divergence": {way: divergence(scores_BAK[TORCH], scores_BAK[way]) for way in (ONNX, INT8)},
            "information": float(information(loaded[TORCH].codec.transformer, tokens, "audio").mean()),
            "bytes of weights": {path.name: path.stat().st_size for path in folders[ONNX].glob("*.safetensors")},
            "bytes of graphs": {
                way: {graph: graph_path(folders[way], graph).stat().st_size for graph in manifest.graphs}
                for way, manifest in manifests.items()
            },
        }


def conditions(echoes: VisualEchoes, pictures: list[np.ndarray]) -> Pair:
    image_BI = echoes.codec.encode_images(np.stack(pictures))
    return Pair(image_BI, image_BI.new_zeros(len(pictures), echoes.layout.audio_tokens))


@torch.inference_mode()
def first_scores(echoes: VisualEchoes, tokens: Pair) -> Tensor:
    """Scores of an empty sound's codes, (B, A, K)."""
    masked = Pair(torch.zeros_like(tokens.image, dtype=torch.bool), torch.ones_like(tokens.audio, dtype=torch.bool))
    size = len(tokens.image)
    return echoes.codec.transformer.scores(tokens, masked, [(0, tokens.audio.shape[1])] * size, [["audio"]] * size)[1]


def divergence(expected_BAK: Tensor, found_BAK: Tensor) -> float:
    """Kullback-Leibler divergence, mean over places."""
    expected_BAK, found_BAK = (scores.double().log_softmax(-1) for scores in (expected_BAK, found_BAK))
    return float(F.kl_div(found_BAK, expected_BAK, reduction="none", log_target=True).sum(-1).mean())


def rounded(seconds: Mapping[str, Seconds]) -> dict[str, dict[str, float]]:
    return {way: {key: round(value, 4) for key, value in figures} for way, figures in seconds.items()}


if __name__ == "__main__":
    main()
