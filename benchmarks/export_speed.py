"""Seconds of one sound by torch, by onnxruntime, and by onnxruntime with an int8 transformer; and what files weigh.

All take turns in one thread. A request is a whole one from the image to the waveform, with how sure the model is;
sampling is the transformer's part of it. Divergence is that of the first step's probabilities from torch's, in nats a
place, on the packaged example images; beside it, for scale, what those images tell the model.

Usage: python benchmarks/export_speed.py [--model digits scenes] [--repeats 10] [-o FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from debug_recipes import ROOT
from measuring import add_output, show
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.checkpoints.loading import find_model, load_model
from visual_echoes.evaluation.measurement import ONLY, Cell, Table
from visual_echoes.inputs import image_array
from visual_echoes.model.confidence import information
from visual_echoes.onnx.export import export_model
from visual_echoes.onnx.graphs import graph_path, has_vnni
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.streams import empty_tokens
from visual_echoes.studies.speed import Sampling, take_turns

EXAMPLES = ROOT / "src/visual_echoes/examples"
TORCH, ONNX, INT8 = "torch", "graphs", "graphs, int8"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--model", nargs="*", default=["digits", "scenes"], help="packaged models")
    arguments.add_argument("--repeats", type=int, default=10)
    add_output(arguments)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    print("with VNNI" if has_vnni() else "without VNNI", flush=True)
    rows = tuple(row for name in options.model for row in measure(name, options.repeats))
    show({ONLY: Table(columns=("", TORCH, ONNX, INT8), rows=rows)}, options.output)


def measure(name: str, repeats: int) -> list[tuple[Cell, ...]]:
    """Rows of the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {TORCH: find_model(name), ONNX: Path(temporary) / "float", INT8: Path(temporary) / "int8"}
        manifests = {way: export_model(load_model(name), folders[way], int8=way == INT8) for way in (ONNX, INT8)}
        loaded = {way: VisualEchoes.from_pretrained(folder, device="cpu") for way, folder in folders.items()}
        pictures = [image_array(path, loaded[TORCH].layout) for path in sorted((EXAMPLES / name).glob("*.png"))]
        tokens = conditions(loaded[TORCH], pictures)
        scores_BAK = {way: first_scores(echoes, tokens) for way, echoes in loaded.items()}
        requests = {way: partial(echoes.image_to_audio, pictures[:1]) for way, echoes in loaded.items()}
        samplings = {way: Sampling(echoes.codec.transformer, echoes.defaults) for way, echoes in loaded.items()}
        drawn_BA = {way: sampling.fast() for way, sampling in samplings.items()}
        same = torch.equal(drawn_BA[ONNX], drawn_BA[TORCH])
        print(f"{name}: graphs draw {'the same tokens as' if same else 'OTHER TOKENS THAN'} torch", flush=True)
        request = take_turns(requests, repeats)
        sampling = take_turns({way: sampling.fast for way, sampling in samplings.items()}, repeats)
        apart = [f"{divergence(scores_BAK[TORCH], scores_BAK[way]):.0e}" for way in (ONNX, INT8)]
        told = float(information(loaded[TORCH].codec.transformer, tokens, ["image"], "audio").mean())
        files = [folders[ONNX] / "transformer.safetensors", *(graph_path(folders[w], "transformer") for w in manifests)]
        return [
            (f"{name}: a request, seconds", *(f"{seconds.median:.3f}" for seconds in request.values())),
            (f"{name}: its sampling, seconds", *(f"{seconds.median:.3f}" for seconds in sampling.values())),
            (f"{name}: divergence, nats a place", None, *apart),
            (f"{name}: what the image tells, nats a place", f"{told:.2f}", None, None),
            (f"{name}: the transformer's file, MB", *(f"{file.stat().st_size / 1e6:.1f}" for file in files)),
        ]


def conditions(echoes: VisualEchoes, pictures: list[np.ndarray]) -> dict[str, Tensor]:
    return {
        **empty_tokens(echoes.layout.streams, len(pictures)),
        "image": echoes.codec.encode_images(np.stack(pictures)),
    }


@torch.inference_mode()
def first_scores(echoes: VisualEchoes, tokens: dict[str, Tensor]) -> Tensor:
    """Scores of an empty sound's codes, (B, A, K)."""
    masked = {name: torch.full_like(own, name == "audio", dtype=torch.bool) for name, own in tokens.items()}
    level = ("audio", 0)
    return echoes.codec.transformer.score(tokens, masked, {level: masked["audio"][..., 0]})[level]


def divergence(expected_BAK: Tensor, found_BAK: Tensor) -> float:
    """Kullback-Leibler divergence, mean over places."""
    expected_BAK, found_BAK = (scores.double().log_softmax(-1) for scores in (expected_BAK, found_BAK))
    return float(F.kl_div(found_BAK, expected_BAK, reduction="none", log_target=True).sum(-1).mean())


if __name__ == "__main__":
    main()
