"""An encoder of the paper's shape by torch, onnxruntime and OpenVINO: seconds in each precision, and what it changes.

Twelve blocks of ViT-B widths over two sequences of 522 tokens, random weights. In 8 bits the weights are rounded for
each channel and inputs as they come. `pip install openvino` first, which nothing else here needs:

    python benchmarks/runtimes.py --threads 1 -o docs/measurements/runtimes.json
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import openvino
import torch
from measuring import add_output, of_records, show
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from visual_echoes.evaluation.measurement import ONLY
from visual_echoes.model.blocks import Block, BlockSize
from visual_echoes.studies.speed import take_turns

LAYERS, SIZE, SHAPE = 12, BlockSize(width=768, heads=12), (2, 522, 768)
REPEATS, OPSET = 4, 17
FORMATS = {"seconds": ".2f", "relative error": ".4f"}


class Encoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(*(Block(SIZE) for _ in range(LAYERS)))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    add_output(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    exact, x_BSD = Encoder().eval(), torch.randn(SHAPE)
    rounded, rounded_BSD = copy.deepcopy(exact).bfloat16(), x_BSD.bfloat16()
    with TemporaryDirectory() as folder:
        graph, small = Path(folder) / "graph.onnx", Path(folder) / "int8.onnx"
        torch.onnx.export(exact, (x_BSD,), str(graph), opset_version=OPSET, dynamo=False)
        quantize_dynamic(graph, small, weight_type=QuantType.QInt8, per_channel=True)
        inputs = x_BSD.numpy()
        works: dict[str, Callable[[], np.ndarray]] = {
            "torch, float32": lambda: exact(x_BSD).numpy(),
            "torch, bfloat16": lambda: rounded(rounded_BSD).float().numpy(),
            "onnxruntime, float32": by_onnxruntime(graph, options.threads, inputs),
            "onnxruntime, int8": by_onnxruntime(small, options.threads, inputs),
            "OpenVINO, float32": by_openvino(graph, options.threads, inputs, "f32"),
            "OpenVINO, bfloat16": by_openvino(graph, options.threads, inputs, "bf16"),
            "OpenVINO, int8": by_openvino(small, options.threads, inputs, "f32"),
        }
        taken = take_turns(works, REPEATS)
        truth = exact(x_BSD).numpy()
        rows = [
            {
                "runtime": name, "seconds": taken[name].median,
                "relative error": float(np.linalg.norm(work() - truth) / np.linalg.norm(truth)),
            }
            for name, work in works.items()
        ]  # fmt: skip
    show({ONLY: of_records(rows, FORMATS)}, options.output)


def by_onnxruntime(graph: Path, threads: int, inputs: np.ndarray) -> Callable[[], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: inputs})[0]


def by_openvino(graph: Path, threads: int, inputs: np.ndarray, precision: str) -> Callable[[], np.ndarray]:
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(graph, "CPU", settings)
    request = model.create_infer_request()
    return lambda: np.array(request.infer([inputs])[model.output(0)])


if __name__ == "__main__":
    main()
