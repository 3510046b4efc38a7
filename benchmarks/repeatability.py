"""What the same seed gives in other batches, with other threads and on other processors, and what one by one costs.

The models make the same pairs in a process of its own for each way to compute: one thread or two, and the kernels of
three kinds of processors, which torch, oneDNN and MKL are told to take. Real images and sounds are encoded, too. All
is compared with what the first way makes in its first batch size. Run from the repository's root:

    python benchmarks/repeatability.py -o docs/measurements/repeatability.json
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from measuring import add_output, show
from torch import Tensor

from visual_echoes.audio import mel_to_unit
from visual_echoes.evaluation.measurement import Table
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.streams import Tokens
from visual_echoes.vocoders import vocode_in_stretches

MODELS = ("scenes", "digits")
BATCHES = (32, 5, 1)
# What torch, oneDNN and MKL are told to take the processor for.
PROCESSORS = {
    "own": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "SSE4": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}


class Way(NamedTuple):
    """A way to compute, and the sizes of its batches."""

    processor: str
    threads: int
    batches: tuple[int, ...]


WAYS = (Way("own", 1, BATCHES), Way("own", 2, BATCHES), Way("AVX2", 1, (32,)), Way("SSE4", 1, (32,)))
ASKED = 6  # times as many sounds for images as pairs, in the batches of the largest size
COLUMNS = (
    "model, processor, threads, batch", "pairs with other tokens", "sounds for images with other tokens",
    "files with other tokens",
    "images with other bytes", "most levels", "sounds with other bytes", "most 16-bit steps", "least ratio in dB",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)  # threads, batch size, file: what a process makes
    arguments = parser.parse_args()
    if arguments.make is not None:
        threads, batch, path = arguments.make
        torch.set_num_threads(int(threads))
        np.savez(path, **make(arguments.items, int(batch)))
        return
    rows: list[tuple[Any, ...]] = []
    own = torch.backends.cpu.get_cpu_capability()
    with TemporaryDirectory() as name:
        first: dict[str, np.ndarray] | None = None
        for way in WAYS:
            for batch in way.batches:
                made = make_apart(way, batch, arguments.items, Path(name) / "made.npz")
                if first is None:
                    first = made  # what all others are compared with
                    continue
                processor = f"own ({own})" if way.processor == "own" else way.processor
                for model in MODELS:
                    rows.append((f"{model}, {processor}, {way.threads}, {batch}", *compare(first, made, model)))
                    print(rows[-1], flush=True)
    torch.set_num_threads(1)
    seconds = [(f"{model}, {stage}", *row) for model in MODELS for stage, row in costs(model, arguments.items).items()]
    columns = ("model, stage", "as it is", *(f"float32, batches of {size}" for size in BATCHES))
    tables = {
        "ways": Table(columns=COLUMNS, rows=tuple(rows), formats={COLUMNS[-1]: ".0f"}),
        "costs": Table(columns=columns, rows=tuple(seconds), formats=dict.fromkeys(columns[1:], ".2f")),
    }
    show(tables, arguments.output)


def make_apart(way: Way, batch: int, items: int, path: Path) -> dict[str, np.ndarray]:
    """What a process of its own makes."""
    passive = {"OMP_NUM_THREADS": str(way.threads), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, __file__, "--items", items, "--make", way.threads, batch, path]
    subprocess.run(
        [str(part) for part in command], check=True, env={**os.environ, **PROCESSORS[way.processor], **passive}
    )
    with np.load(path) as content:
        return dict(content)


def make(items: int, batch: int) -> dict[str, np.ndarray]:
    """Tokens, images and sounds of pairs, and the tokens and confidence of packaged examples."""
    made: dict[str, Any] = {}
    for model in MODELS:
        echoes = VisualEchoes.from_pretrained(model, device="cpu")
        states: dict[int, Tokens] = {}
        note = lambda done, _all, tokens, _open, states=states: states.update({done: tokens})  # noqa: E731
        pairs = echoes.generate_pair(items, batch_size=batch, progress=note)
        assert pairs.settings is not None
        ends = [states[done] for done in sorted(states) if done % pairs.settings.steps == 0]
        pictures, sounds = examples(echoes, model, items)
        answers = np.zeros((0, 1))
        if batch == max(BATCHES):
            states.clear()
            echoes.image_to_audio(list(examples(echoes, model, ASKED * items)[0]), batch_size=batch, progress=note)
            answers = torch.cat([states[d]["audio"] for d in sorted(states) if d % pairs.settings.steps == 0]).numpy()
        codec = echoes.codec
        encoded = {
            "image": torch.cat([codec.encode_images(part) for part in split(pictures, batch)]),
            "audio": torch.cat([codec.encode_mels(codec.mels(part)) for part in split(sounds, batch)]),
        }
        found = {
            "tokens": torch.cat([joined(state) for state in ends]).numpy()[..., 0], "answers": answers,
            "images": pairs.images,
            "audio": np.rint(np.asarray(pairs.audio, np.float64) * 32768), "encoded": joined(encoded).numpy()[..., 0],
        }  # fmt: skip
        made |= {f"{model}/{name}": array for name, array in found.items()}
    return made


def examples(echoes: VisualEchoes, model: str, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Packaged images and sounds, fitted, over and over."""
    folder = Path(str(files("visual_echoes"))) / "examples" / model
    pictures, sounds = (sorted(folder.glob(f"*.{kind}")) for kind in ("png", "wav"))
    every = range(items)
    return (
        np.stack([image_array(pictures[i % len(pictures)], echoes.layout) for i in every]),
        np.stack([sound_array(sounds[i % len(sounds)], echoes.layout) for i in every]),
    )


def joined(tokens: Tokens) -> Tensor:
    """All streams of each item, (B, L, 1)."""
    return torch.cat(list(tokens.values()), 1)


def split(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def compare(first: dict[str, np.ndarray], made: dict[str, np.ndarray], model: str) -> tuple[Any, ...]:
    """How far two ways are apart, by `COLUMNS`; images and sounds of those items alone whose tokens are the same."""
    (tokens, images, audio, encoded, answers), others = (
        [each[f"{model}/{name}"] for name in ("tokens", "images", "audio", "encoded", "answers")]
        for each in (first, made)
    )
    same = (tokens == others[0]).all(1)
    levels, steps = (
        np.abs(one[same].astype(float) - other[same]) for one, other in ((images, others[1]), (audio, others[2]))
    )
    return (
        int((~same).sum()), int((answers != others[4]).any(1).sum()) if len(others[4]) else None,
        int((encoded != others[3]).any(1).sum()),
        int((levels.reshape(len(levels), -1) > 0).any(1).sum()), int(levels.max(initial=0)),
        int((steps > 0).any(1).sum()), int(steps.max(initial=0)), least_snr(audio[same], steps),
    )  # fmt: skip


def least_snr(audio: np.ndarray, steps: np.ndarray) -> float | None:
    """Level of a sound above its difference, of the item where it is least, in dB; None where all are equal."""
    signal, noise = np.square(audio).mean(1), np.square(steps).mean(1)
    return float((10 * np.log10(signal[noise > 0] / noise[noise > 0])).min()) if noise.any() else None


@torch.inference_mode()
def costs(model: str, items: int) -> dict[str, tuple[float | None, ...]]:
    """Processor seconds of each stage for all items: as the codec does it, and in float32 batches of several sizes."""
    echoes = VisualEchoes.from_pretrained(model, device="cpu")
    codec, layout = echoes.codec, echoes.layout
    pictures, sounds = examples(echoes, model, items)
    mels, pixels = codec.mels(sounds), codec._unit(pictures)
    image_BI1, audio_BA1 = codec.encode_images(pictures), codec.encode_mels(mels)
    stages: dict[str, tuple[Callable[[], object], Callable[[Tensor], object], Tensor]] = {
        "encode images": (lambda: codec.encode_images(pictures), codec.image_vqgan.encode_unit, pixels),
        "encode mels": (lambda: codec.encode_mels(mels), codec.audio_vqgan.encode_unit, mel_to_unit(mels)),
        "decode images": (
            lambda: codec.decode_images(image_BI1),
            codec.image_vqgan.decode_unit, image_BI1[..., 0].unflatten(1, layout.image_grid),
        ),
        "decode mels": (
            lambda: codec.decode_mels(audio_BA1),
            codec.audio_vqgan.decode_unit, audio_BA1[..., 0].unflatten(1, layout.audio_grid),
        ),
        "vocode": (lambda: codec.vocode(mels), lambda part: vocode_in_stretches(codec.vocoder, part), mels),
    }  # fmt: skip
    found: dict[str, tuple[float | None, ...]] = {}
    for name, (own, batched, rows) in stages.items():
        found[name] = cpu_seconds(own), *(cpu_seconds(partial(in_batches, batched, rows, size)) for size in BATCHES)
    whole = cpu_seconds(lambda: echoes.generate_pair(items, batch_size=items))
    return found | {"a request for pairs": (whole, *(None for _ in BATCHES))}


def in_batches(run: Callable[[Tensor], object], rows_B: Tensor, size: int) -> None:
    for part in rows_B.split(size):
        run(part)


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least of two goes."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


if __name__ == "__main__":
    main()
