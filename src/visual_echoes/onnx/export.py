"""Writing a model folder whose networks are also ONNX graphs, the transformer's dense layers in int8 if wanted."""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from visual_echoes import __version__
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.errors import EchoesError, first_line
from visual_echoes.files import atomic_path, write_text
from visual_echoes.onnx.graphs import (
    GRAPH_NAMES,
    GRAPHS_FOLDER,
    MANIFEST_FILE,
    MAX_GRAPH_BYTES,
    PART_OF,
    Manifest,
    Plan,
    graph_path,
    has_vnni,
    notes,
    plan,
)
from visual_echoes.onnx.runtime import Graph
from visual_echoes.vocoders import Vocoder

OPSET = 20
TOLERANCE = 1e-3  # of a graph against torch, absolute and relative
FEWEST_EQUAL = 0.9  # of the tokens of noise, of which some lie between two codes

# Called with the file that is written next.
ExportProgress = Callable[[str], None]


def export_model(
    model: Model, folder: Path, *, int8: bool = False, progress: ExportProgress = lambda _: None
) -> Manifest:
    """Write a model folder as `save_model` does, in half precision, and graphs of what it then holds.

    The manifest is taken away first and written last, so an interrupted export is a model folder without graphs.

    Args:
        int8: weights of the transformer's dense layers in 8 bits (7 where the processor would saturate), a scale for
            each output; activations are quantised as they come (onnxruntime's dynamic quantisation).

    Raises:
        EchoesError: a part is too large for ONNX or of a kind that torch cannot export, a graph does not compute what
            torch does, `int8` is asked of a model without a transformer, or a file cannot be written.
    """
    if int8 and "transformer" not in model.parts:
        raise EchoesError(f"Only a transformer is quantised, and the model {model.name!r} has none; leave int8 out.")
    (folder / GRAPHS_FOLDER / MANIFEST_FILE).unlink(missing_ok=True)
    save_model(folder, model, half=True)
    saved = load_model(folder)
    (folder / GRAPHS_FOLDER).mkdir(exist_ok=True)
    parts = {name: _exportable(name, part) for name, part in saved.parts.items()}
    reduce_range = int8 and not has_vnni()
    digests = {}
    for name in GRAPH_NAMES:
        path = graph_path(folder, name)
        path.unlink(missing_ok=True)
        planned = plan(name, parts[PART_OF[name]], saved.layout) if PART_OF[name] in parts else None
        if planned is not None:
            progress(path.name)
            quantised = int8 and name == "transformer"
            digests[name] = _write(planned, path, quantised, reduce_range)
    manifest = Manifest(
        version=__version__, opset=OPSET, int8=int8, reduce_range=reduce_range,
        weights={PART_OF[name]: saved.files[PART_OF[name]].sha256 for name in digests}, graphs=digests,
        notes=tuple(note for part in parts.values() for note in notes(part)),
    )  # fmt: skip
    write_text(folder / GRAPHS_FOLDER / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def _exportable(name: PartName, part: nn.Module) -> nn.Module:
    """The part as it runs, without what only training needs."""
    if isinstance(part, Vocoder):
        part = copy.deepcopy(part).fold()
    if sum(parameter.nbytes for parameter in part.parameters()) > MAX_GRAPH_BYTES:
        raise EchoesError(f"The {name} is larger than 2 GB, the most an ONNX file holds; run it with torch.")
    return part.eval().requires_grad_(False)


def _write(planned: Plan, path: Path, quantised: bool, reduce_range: bool) -> str:
    """Write a graph, after a look at whether it is right; returns the file's SHA-256."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with atomic_path(path) as temporary, _quietly():
        program = _program(planned, path)
        program.save(str(temporary), external_data=False)
        content = temporary.read_bytes()
        _compare(Graph(content, planned, path), planned, path)
        if quantised:
            quantize_dynamic(
                program.model_proto, temporary, per_channel=True, reduce_range=reduce_range,
                weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"],
            )  # fmt: skip
            content = temporary.read_bytes()
            Graph(content, planned, path)
    return hashlib.sha256(content).hexdigest()


def _program(planned: Plan, path: Path) -> torch.onnx.ONNXProgram:
    batch = torch.export.Dim("batch")
    try:
        program = torch.onnx.export(
            planned.network, tuple(_example(planned, 2)), dynamo=True, opset_version=OPSET, verbose=False,
            dynamic_shapes=(tuple({0: batch} for _ in planned.inputs),),
            input_names=[value.name for value in planned.inputs],
            output_names=[value.name for value in planned.outputs],
        )  # fmt: skip
    except RuntimeError as error:
        raise EchoesError(
            f"{path} cannot be made by torch's exporter ({first_line(error)}); run the model with torch."
        ) from error
    assert program is not None
    return program


def _example(planned: Plan, size: int) -> Iterator[Tensor]:
    """Inputs of this many samples."""
    noise = torch.Generator().manual_seed(size)
    for value in planned.inputs:
        random = torch.rand(size, *value.shape, generator=noise)
        if value.dtype == torch.bool:
            yield random < 0.5
        else:
            yield random if value.dtype == torch.float32 else (random * value.codes).to(value.dtype)


@torch.inference_mode()
def _compare(graph: Graph, planned: Plan, path: Path) -> None:
    """Refuse a graph that does not compute what its network does."""
    inputs = list(_example(planned, 3))
    expected = planned.network(*inputs)
    for found, wanted in zip(graph(*inputs), expected if isinstance(expected, tuple) else (expected,), strict=True):
        if wanted.is_floating_point():
            right = torch.allclose(found, wanted, atol=TOLERANCE, rtol=TOLERANCE)
        else:
            right = bool((found == wanted).double().mean() >= FEWEST_EQUAL)
        if not right:
            raise EchoesError(
                f"{path} would not compute what torch does and was not written; run the model with torch."
            )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's and the quantiser's remarks, on which a user cannot act."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
