"""Running the graphs of an exported model folder by onnxruntime on the CPU, in place of the model's parts.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, P positions of a stream, Q codes a position, K codes,
M mel bands, T mel frames, N samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from visual_echoes.checkpoints.model import Model, reason
from visual_echoes.errors import EchoesError
from visual_echoes.files import read_checked
from visual_echoes.model.interface import Draw
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.onnx.graphs import (
    MAX_GRAPH_BYTES,
    PART_OF,
    GraphName,
    Manifest,
    Plan,
    Value,
    graph_path,
    has_vnni,
    plan,
    read_manifest,
    tokenizer_graphs,
)
from visual_echoes.streams import Level, Tokens
from visual_echoes.tokenizers.base import TokenizerName
from visual_echoes.vocoders import Vocos

_ONNX_TYPES = {torch.float32: "tensor(float)", torch.int64: "tensor(int64)", torch.bool: "tensor(bool)"}


class Graph:
    """A graph that onnxruntime has loaded, with as many threads as torch has; may be called from any thread.

    Args:
        content: the file.
        plan: what it must be.
        path: its name, for messages.

    Raises:
        EchoesError: onnxruntime cannot load it, or its inputs and outputs are not those of the plan; also when it is
            called, if it fails.
    """

    def __init__(self, content: bytes, plan: Plan, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 4  # what goes wrong is raised, too
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own exceptions share no base
            raise EchoesError(
                f"{path} cannot be loaded by onnxruntime ({reason(error)}); export the model again."
            ) from error
        found = (self._session.get_inputs(), self._session.get_outputs())
        for values, wanted in zip(found, (plan.inputs, plan.outputs), strict=True):
            if [(v.name, v.type, tuple(v.shape[1:])) for v in values] != [_described(value) for value in wanted] or any(
                isinstance(v.shape[0], int) for v in values
            ):
                raise EchoesError(f"{path} is no graph of this model; export the model again.")
        self._path = path
        self._inputs, self._outputs = ([value.name for value in side] for side in (plan.inputs, plan.outputs))
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True

    def __call__(self, *inputs: Tensor, only: Sequence[int] | None = None) -> list[Tensor]:
        """The outputs, or only those of these numbers, on the CPU."""
        names = self._outputs if only is None else [self._outputs[number] for number in only]
        fed = {name: value.numpy() for name, value in zip(self._inputs, inputs, strict=True)}
        try:
            return [torch.from_numpy(array) for array in self._session.run(names, fed, self._options)]
        except Exception as error:  # as above
            raise EchoesError(f"{self._path} cannot be run ({reason(error)}); export the model again.") from error


class OnnxTransformer:
    """Logits as `EchoTransformer.score` gives them, by a graph that works on all positions.

    Args:
        model: has the heads where the graph gives features.
        separately: run samples one by one, as int8 needs: the scale of its activations is that of the whole batch, and
            what a sample becomes must not depend on its neighbours.
    """

    def __init__(self, graph: Graph, model: EchoTransformer, separately: bool) -> None:
        self.graph, self.model, self.config, self.separately = graph, model, model.config, separately
        self.precision = "int8" if separately else "float32"
        self._names = [stream.name for stream in model.config.streams]
        self._levels = [level for stream in model.config.streams for level in stream.levels]

    def score(
        self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> dict[Level, Tensor]:
        """Of every level that is asked for, (B, P, K), float32."""
        values_BPQ = [side[stream.name] for side in (tokens, masked) for stream in self.config.streams]
        size = len(values_BPQ[0])
        rows = [slice(row, row + 1) for row in range(size)] if self.separately else [slice(0, size)]
        by_depth = self.config.residual == "depth"
        names = list(dict.fromkeys(name for name, _ in asked))
        wanted = [self._names.index(name) for name in names] if by_depth else [self._levels.index(a) for a in asked]
        found = [self.graph(*(value[r] for value in values_BPQ), only=wanted) for r in rows]
        outputs = [torch.cat(parts) for parts in zip(*found, strict=True)]
        if by_depth:
            return self.model.scored(dict(zip(names, outputs, strict=True)), tokens, asked, draw)
        return dict(zip(asked, outputs, strict=True))


class OnnxTokenizer:
    """Encodes and decodes as a `Tokenizer`."""

    def __init__(self, encoder: Graph, decoder: Graph) -> None:
        self._encoder, self._decoder = encoder, decoder

    def encode_unit(self, x_BCHW: Tensor) -> Tensor:
        """Token grid (B, h, w) of an image in [-1, 1]."""
        return self._encoder(x_BCHW)[0]

    def decode_unit(self, indices_Bhw: Tensor) -> Tensor:
        """Image (B, C, H, W) of a token grid, about in [-1, 1], not clipped."""
        return self._decoder(indices_Bhw)[0]


class OnnxVocoder:
    """Makes sounds as a `Vocoder`, (B, M, T) to (B, N)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __call__(self, mel_BMT: Tensor) -> Tensor:
        return self._graph(mel_BMT)[0]


class OnnxVocos(OnnxVocoder):
    """A Vocos whose network is a graph; what has complex numbers in it stays with torch."""

    def __init__(self, graph: Graph, vocos: Vocos) -> None:
        super().__init__(graph)
        self._vocos = vocos

    def __call__(self, mel_BMT: Tensor) -> Tensor:
        start_BFT = self._vocos.find_start(mel_BMT)
        seen_BET = self._vocos.as_seen(start_BFT)
        given = [x for x in (mel_BMT.float(), seen_BET) if x is not None]
        return self._vocos.invert(self._graph(*given)[0], start_BFT)


@dataclass(frozen=True)
class Graphs:
    """What runs in place of a model's parts; a part that is not here runs itself.

    Attributes:
        checksums: SHA-256 of each graph's file.
    """

    transformer: OnnxTransformer | None = None
    tokenizers: dict[TokenizerName, OnnxTokenizer] = field(default_factory=dict)
    vocoder: OnnxVocoder | None = None
    checksums: dict[GraphName, str] = field(default_factory=dict)


def load_graphs(model: Model, device: torch.device) -> Graphs:
    """The graphs that lie beside the weights of a model; none where there are none.

    Without onnxruntime, or on another device than the CPU, a warning says that torch runs the model.

    Raises:
        EchoesError: a manifest or graph is damaged, missing, too large, or of other weights.
    """
    folders = {file.path.parent for file in model.files.values()}
    folder = folders.pop() if len(folders) == 1 else None
    manifest = None if folder is None else read_manifest(folder)
    if folder is None or manifest is None or not _can_run(folder, device):
        return Graphs()
    if manifest.int8 and not manifest.reduce_range and not has_vnni():
        warnings.warn(
            f"{folder} was exported for processors with VNNI, which this one is not known to have, so its int8 results "
            "may be off; export it on this machine.",
            stacklevel=3,
        )
    for part, digest in manifest.weights.items():
        if part not in model.files or model.files[part].sha256 != digest:
            raise EchoesError(f"The graphs in {folder} are not of its {part}; export the model again.")
    graphs = {name: _load(folder, manifest, name, model) for name in manifest.graphs}
    return _assemble(graphs, model, manifest)


def _can_run(folder: Path, device: torch.device) -> bool:
    """Whether graphs can be run here; a warning if not."""
    obstacle = None if device.type == "cpu" else f"the device is {device}, and they are for the CPU"
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        obstacle = "onnxruntime is not installed (pip install 'visual-echoes[speed]')"
    if obstacle is not None:
        warnings.warn(f"The graphs in {folder} are not used, as {obstacle}; torch runs the model.", stacklevel=4)
    return obstacle is None


def _load(folder: Path, manifest: Manifest, name: GraphName, model: Model) -> Graph:
    path, part = graph_path(folder, name), PART_OF[name]
    wanted = plan(name, model.parts[part], model.layout) if part in model.parts else None
    if wanted is None:
        raise EchoesError(f"{path} belongs to no network of this model; export the model again.")
    content = read_checked(path, MAX_GRAPH_BYTES, manifest.graphs[name], "export the model again")
    return Graph(content, wanted, path)


def _assemble(graphs: dict[GraphName, Graph], model: Model, manifest: Manifest) -> Graphs:
    transformer = vocoder = None
    if "transformer" in graphs:
        network = cast(EchoTransformer, model.parts["transformer"])
        transformer = OnnxTransformer(graphs["transformer"], network, separately=manifest.int8)
    tokenizers = {}
    for name in get_args(TokenizerName):
        if all(graph in graphs for graph in tokenizer_graphs(name)):
            tokenizers[name] = OnnxTokenizer(*(graphs[graph] for graph in tokenizer_graphs(name)))
    if "vocoder" in graphs:
        part = model.parts["vocoder"]
        vocoder = OnnxVocos(graphs["vocoder"], part) if isinstance(part, Vocos) else OnnxVocoder(graphs["vocoder"])
    return Graphs(transformer, tokenizers, vocoder, manifest.graphs)


def _described(value: Value) -> tuple[str, str, tuple[int, ...]]:
    return value.name, _ONNX_TYPES[value.dtype], value.shape
