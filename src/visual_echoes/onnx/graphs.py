"""What an exported model folder holds beside its weights: ONNX graphs of its networks, and a manifest of them.

Every axis of a graph but the first, the batch, is fixed by the model's layout.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, P positions of a stream, Q codes a position, K codes,
M mel bands, T mel frames, N samples, E = 2 F of F STFT bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from visual_echoes.checkpoints.model import PartName, reason
from visual_echoes.errors import EchoesError
from visual_echoes.files import read_limited
from visual_echoes.layout import Layout
from visual_echoes.model.fast import dense
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.streams import Tokens
from visual_echoes.tokenizers.base import TokenizerName
from visual_echoes.tokenizers.residual import ResidualTokenizer
from visual_echoes.vocoders import GriffinLim, Vocoder, Vocos

GRAPHS_FOLDER, MANIFEST_FILE = "onnx", "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_GRAPH_BYTES = (1 << 31) - 1  # protobuf's own

GraphName = Literal["transformer", "image_encoder", "image_decoder", "audio_encoder", "audio_decoder", "vocoder"]
GRAPH_NAMES: tuple[GraphName, ...] = get_args(GraphName)
PART_OF: dict[GraphName, PartName] = {
    "transformer": "transformer", "image_encoder": "image_vqgan", "image_decoder": "image_vqgan",
    "audio_encoder": "audio_vqgan", "audio_decoder": "audio_vqgan", "vocoder": "vocoder",
}  # fmt: skip
# Of instructions that multiply int8 without saturating on the way: /proc/cpuinfo's names.
VNNI_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}


class Manifest(BaseModel):
    """The content of `onnx/manifest.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    version: str  # of this package
    opset: int
    int8: bool  # weights of the transformer's dense layers
    reduce_range: bool  # to 7 bits, for processors whose int8 products saturate
    weights: dict[PartName, str]  # SHA-256 of the files the graphs were made from
    graphs: dict[GraphName, str]  # SHA-256 of each file
    notes: tuple[str, ...]  # what stays with torch, a sentence each


def graph_path(folder: Path, name: GraphName) -> Path:
    """Where the graph lies in an exported model folder."""
    return folder / GRAPHS_FOLDER / f"{name}.onnx"


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an exported model folder; None for one without graphs.

    Raises:
        EchoesError: it is too large or not valid.
    """
    path = folder / GRAPHS_FOLDER / MANIFEST_FILE
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(read_limited(path, MAX_MANIFEST_BYTES))
    except (OSError, ValueError) as error:
        raise EchoesError(
            f"{path} is no valid manifest of graphs ({reason(error)}); export the model again."
        ) from error


def has_vnni() -> bool:
    """Whether the processor multiplies int8 without saturating; False where that cannot be told."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(VNNI_FLAGS & set(line.split()) for line in lines if line.startswith("flags"))


@dataclass(frozen=True)
class Value:
    """An input or output of a graph; the shape is without the batch axis."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    codes: int = 0  # that its numbers lie below, if they are tokens


@dataclass(frozen=True)
class Plan:
    """What a graph computes, as a network of torch, and what goes in and out."""

    network: nn.Module
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def plan(name: GraphName, part: nn.Module, layout: Layout) -> Plan | None:
    """How the part of a model is a graph; None if there is nothing in it to export."""
    if name == "transformer":
        return _plan_transformer(cast(EchoTransformer, part))
    if name == "vocoder":
        return _plan_vocoder(cast(Vocoder, part), layout)
    kind, way = name.split("_")
    levels = (part.config.depth,) if isinstance(part, ResidualTokenizer) else ()
    if kind == "image":
        image = Value("image_BCHW", torch.float32, (layout.image_channels, layout.image_size, layout.image_size))
        grid = Value("tokens_Bhw", torch.int64, layout.image_grid + levels, layout.image_codes)
    else:
        image = Value("image_BCHW", torch.float32, (1, layout.n_mels, layout.mel_frames))
        grid = Value("tokens_Bhw", torch.int64, layout.audio_grid + levels, layout.audio_codes)
    if way == "encoder":
        return Plan(_Calls(part, "encode_unit"), (image,), (grid,))
    return Plan(_Calls(part, "decode_unit"), (grid,), (image,))


def tokenizer_graphs(name: TokenizerName) -> tuple[GraphName, GraphName]:
    """The graphs of a tokenizer: encoder, decoder."""
    return ("image_encoder", "image_decoder") if name == "image_vqgan" else ("audio_encoder", "audio_decoder")


def notes(part: nn.Module) -> list[str]:
    """What of a part stays with torch, a sentence each."""
    if isinstance(part, EchoTransformer) and part.config.residual == "depth":
        return ["The transformer's heads, which score each code of a position after those before it, stay with torch."]
    if isinstance(part, GriffinLim):
        return ["The vocoder is Griffin-Lim, which has no weights: it stays with torch."]
    if isinstance(part, Vocos):
        start = "" if part.griffin_lim is None else ", and the Griffin-Lim it starts from,"
        return [f"The vocoder's network is a graph; its inverse Fourier transform{start} stays with torch."]
    return []


class _Calls(nn.Module):
    """A method of a network as a network of its own, whose inputs are one tuple to the exporter."""

    def __init__(self, network: nn.Module, method: str = "forward") -> None:
        super().__init__()
        self.network, self.method = network, method

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.network, self.method)(*inputs)


class _Transformer(nn.Module):
    """From tokens and masks of every stream the dense model's logits of every level, or where codes go by depth the
    features that its heads score them by."""

    def __init__(self, model: EchoTransformer) -> None:
        super().__init__()
        self.model = dense(model)

    def forward(self, *values_BPQ: Tensor) -> tuple[Tensor, ...]:
        streams = self.model.config.streams
        tokens: Tokens = {stream.name: value for stream, value in zip(streams, values_BPQ, strict=False)}
        masked: Tokens = {s.name: value for s, value in zip(streams, values_BPQ[len(streams) :], strict=True)}
        features = self.model(tokens, masked)
        if self.model.config.residual == "depth":
            return tuple(features[stream.name] for stream in streams)
        return tuple(self.model.logits(level, features[level[0]]) for stream in streams for level in stream.levels)


def _plan_transformer(model: EchoTransformer) -> Plan:
    streams = model.config.streams
    shapes = {stream.name: (stream.positions, stream.depth) for stream in streams}
    logits = (
        Value(f"{name}_{level}_BPK", torch.float32, (stream.positions, stream.codes))
        for stream in streams
        for name, level in stream.levels
    )
    features = (Value(f"{s.name}_BPD", torch.float32, (s.positions, model.config.width)) for s in streams)
    return Plan(
        _Transformer(model),
        (
            *(Value(f"{s.name}_BPQ", torch.int64, shapes[s.name], s.codes) for s in streams),
            *(Value(f"{s.name}_masked_BPQ", torch.bool, shapes[s.name]) for s in streams),
        ),
        tuple(features if model.config.residual == "depth" else logits),
    )


def _plan_vocoder(vocoder: Vocoder, layout: Layout) -> Plan | None:
    if isinstance(vocoder, GriffinLim):
        return None
    frames = layout.mel_frames
    mel = Value("mel_BMT", torch.float32, (layout.n_mels, frames))
    if not isinstance(vocoder, Vocos):
        return Plan(_Calls(vocoder), (mel,), (Value("wave_BN", torch.float32, (frames * layout.hop,)),))
    start = Value("start_BET", torch.float32, (vocoder.n_fft + 2, frames + 1))
    predicted = Value("predicted_BET", torch.float32, start.shape)
    inputs = (mel,) if vocoder.griffin_lim is None else (mel, start)
    return Plan(_Calls(vocoder, "predict"), inputs, (predicted,))
