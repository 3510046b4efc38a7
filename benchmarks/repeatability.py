"""What the same seed gives in other batches, with other threads and on other processors, and what one by one costs.

The models make the same pairs in a process of its own for each way to compute: one thread or two, and the kernels of
three kinds of processors, which torch, oneDNN and MKL are told to take. Real pictures and sounds are encoded, too. All
is compared with what the first way makes in its first batch size. Run from the repository's root:

    python benchmarks/repeatability.py --output docs/measurements/repeatability.json
"""

from __future__ import annotations

import argparse
import json
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
from torch import Tensor

from visual_echoes.files import write_text
from visual_echoes.inputs import picture_array, sound_array
from visual_echoes.mel import mel_to_unit
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.transformer import Pair
from visual_echoes.vocoder import vocode_in_stretches

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


WAYS = (Way("own", 1, BATCHES), Way("own", 2, (5,)), Way("AVX2", 1, (32,)), Way("SSE4", 1, (32,)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)  # threads, batch size, file: what a process makes
    arguments = parser.parse_args()
    if arguments.make is not None:
        threads, batch, path = arguments.make
        torch.set_num_threads(int(threads))
        np.savez(path, **make(arguments.items, int(batch)))
        return
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    about = {"kernels": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__, "items": arguments.items}
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as name:
        first: dict[str, np.ndarray] | None = None
        for way in WAYS:
            for batch in way.batches:
                made = make_apart(way, batch, arguments.items, Path(name) / "made.npz")
                first = made if first is None else first
                for model in MODELS:
                    rows.append({**way._asdict(), "batch": batch, "model": model, **compare(first, made, model)})
                    del rows[-1]["batches"]
                    print(rows[-1], flush=True)
            write_text(arguments.output, json.dumps({**about, "rows": rows}, indent=2) + "\n")  # as far as it is
    torch.set_num_threads(1)
    seconds = {model: costs(model, arguments.items) for model in MODELS}
    write_text(arguments.output, json.dumps({**about, "rows": rows, "cpu_seconds": seconds}, indent=2) + "\n")


def make_apart(way: Way, batch: int, items: int, path: Path) -> dict[str, np.ndarray]:
    """What a process of its own makes."""
    passive = {"OMP_NUM_THREADS": str(way.threads), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, __file__, "--output", path, "--items", items, "--make", way.threads, batch, path]
    subprocess.run(
        [str(part) for part in command], check=True, env={**os.environ, **PROCESSORS[way.processor], **passive}
    )
    with np.load(path) as content:
        return dict(content)


def make(items: int, batch: int) -> dict[str, np.ndarray]:
    """Tokens, images and sounds of pairs, and the tokens and confidence of packaged examples."""
    made = {}
    for model in MODELS:
        echoes = VisualEchoes.from_pretrained(model, device="cpu")
        states: dict[int, Pair] = {}
        pairs = echoes.generate_pair(
            items,
            batch_size=batch,
            progress=lambda done, _all, tokens, _open, states=states: states.update({done: tokens}),
        )
        assert pairs.settings is not None
        ends = [states[done] for done in sorted(states) if done % pairs.settings.steps == 0]
        pictures, sounds = examples(echoes, model, items)
        codec = echoes.codec
        encoded = Pair(
            torch.cat([codec.encode_images(part) for part in split(pictures, batch)]),
            torch.cat([codec.encode_mels(codec.mels(part)) for part in split(sounds, batch)]),
        )
        found = {
            "tokens": torch.cat([torch.cat(pair, 1) for pair in ends]).numpy(), "images": pairs.images,
            "audio": np.rint(np.asarray(pairs.audio, np.float64) * 32768), "encoded": torch.cat(encoded, 1).numpy(),
        }  # fmt: skip
        made |= {f"{model}/{name}": array for name, array in found.items()}
    return made


def examples(echoes: VisualEchoes, model: str, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Packaged pictures and sounds, fitted, over and over."""
    folder = Path(str(files("visual_echoes"))) / "examples" / model
    pictures, sounds = (sorted(folder.glob(f"*.{kind}")) for kind in ("png", "wav"))
    every = range(items)
    return (
        np.stack([picture_array(pictures[i % len(pictures)], echoes.layout) for i in every]),
        np.stack([sound_array(sounds[i % len(sounds)], echoes.layout) for i in every]),
    )


def split(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def compare(first: dict[str, np.ndarray], made: dict[str, np.ndarray], model: str) -> dict[str, Any]:
    """How far two ways are apart; images and sounds of those items alone whose tokens are the same."""
    (tokens, images, audio, encoded), others = (
        [each[f"{model}/{name}"] for name in ("tokens", "images", "audio", "encoded")] for each in (first, made)
    )
    same = (tokens == others[0]).all(1)
    levels, steps = (
        np.abs(one[same].astype(float) - other[same]) for one, other in ((images, others[1]), (audio, others[2]))
    )
    return {
        "items_with_other_tokens": int((~same).sum()), "other_encoded_tokens": int((encoded != others[3]).sum()),
        "images_with_other_bytes": int((levels.reshape(len(levels), -1) > 0).any(1).sum()),
        "most_levels": int(levels.max(initial=0)),
        "sounds_with_other_bytes": int((steps > 0).any(1).sum()), "most_16_bit_steps": int(steps.max(initial=0)),
        "least_snr_db": least_snr(audio[same], steps),
    }  # fmt: skip


def least_snr(audio: np.ndarray, steps: np.ndarray) -> float | None:
    """Level of a sound above its difference, of the item where it is least, in dB; None where all are equal."""
    signal, noise = np.square(audio).mean(1), np.square(steps).mean(1)
    return float((10 * np.log10(signal[noise > 0] / noise[noise > 0])).min()) if noise.any() else None


@torch.inference_mode()
def costs(model: str, items: int) -> dict[str, dict[str, float]]:
    """Processor seconds of each stage for all items: as the codec does it, and in float32 batches of several sizes."""
    echoes = VisualEchoes.from_pretrained(model, device="cpu")
    codec, layout = echoes.codec, echoes.layout
    pictures, sounds = examples(echoes, model, items)
    mels, pixels = codec.mels(sounds), codec._unit(pictures)
    image_BI, audio_BA = codec.encode_images(pictures), codec.encode_mels(mels)
    stages: dict[str, tuple[Callable[[], object], Callable[[Tensor], object], Tensor]] = {
        "encode images": (lambda: codec.encode_images(pictures), codec.image_vqgan.encode_unit, pixels),
        "encode mels": (lambda: codec.encode_mels(mels), codec.audio_vqgan.encode_unit, mel_to_unit(mels)),
        "decode images": (
            lambda: codec.decode_images(image_BI),
            codec.image_vqgan.decode_unit, image_BI.unflatten(1, layout.image_grid),
        ),
        "decode mels": (
            lambda: codec.decode_mels(audio_BA),
            codec.audio_vqgan.decode_unit, audio_BA.unflatten(1, layout.audio_grid),
        ),
        "vocode": (lambda: codec.vocode(mels), lambda part: vocode_in_stretches(codec.vocoder, part), mels),
    }  # fmt: skip
    found = {}
    for name, (own, batched, rows) in stages.items():
        found[name] = {"as it is": cpu_seconds(own)} | {
            f"batches of {size}": cpu_seconds(partial(in_batches, batched, rows, size)) for size in BATCHES
        }
    return found | {"generate a pair": {"as it is": cpu_seconds(lambda: echoes.generate_pair(items, batch_size=items))}}


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
