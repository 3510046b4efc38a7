"""Models of one part or all, exported and loaded again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

import tiny
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.onnx.export import export_model
from visual_echoes.onnx.graphs import GRAPHS_FOLDER, MANIFEST_FILE, GraphName, graph_path
from visual_echoes.onnx.runtime import Graphs, load_graphs
from visual_echoes.vocoders import Vocoder

CPU = torch.device("cpu")


def transformer_model(config: TransformerConfig) -> Model:
    return Model(
        name="tiny", version="1.0", layout=tiny.LAYOUT, parts={"transformer": tiny.transformer(config)},
        sampling=SamplingSettings(steps=4),
    )  # fmt: skip


def vocoder_model(vocoder: Vocoder) -> Model:
    return Model(
        name="tiny", version="1.0", layout=tiny.LAYOUT, parts={"vocoder": vocoder}, sampling=SamplingSettings(),
    )  # fmt: skip


def through(model: Model, folder: Path, int8: bool = False) -> tuple[Model, Graphs]:
    """What comes out of a folder that the model was exported to: the torch model and its graphs."""
    export_model(model, folder, int8=int8)
    loaded = load_model(folder)
    return loaded, load_graphs(loaded, CPU)


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / GRAPHS_FOLDER / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def put_graph(folder: Path, name: GraphName, content: bytes) -> None:
    """A graph in another's place, with a checksum to match."""
    graph_path(folder, name).write_bytes(content)
    graphs = json.loads((folder / GRAPHS_FOLDER / MANIFEST_FILE).read_text(encoding="utf-8"))["graphs"]
    change_manifest(folder, graphs={**graphs, name: hashlib.sha256(content).hexdigest()})
