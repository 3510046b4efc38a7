"""How fast clips are prepared, and how fast the token store of 200,000 clips opens and is drawn from.

Usage: python benchmarks/prepare_speed.py [--workers 2] [--clips 100] [--stored 200000] [-o FILE]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from measuring import add_output, show
from PIL import Image

from visual_echoes.data.prepare.run import Engine, Settings, prepare
from visual_echoes.data.token_store import FORMAT, StoreDescription, TokenStore, TokenStoreWriter
from visual_echoes.evaluation.measurement import Cell, Table
from visual_echoes.layout import get_layout
from visual_echoes.media import write_wav

LAYOUT = get_layout("paper")
FRAMES, WINDOWS = 10, 3
BATCH = 64
MANY = {"200,000": 200_000, "ten million": 10_000_000}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--clips", type=int, default=100)
    arguments.add_argument("--stored", type=int, default=200_000)
    add_output(arguments)
    options = arguments.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {options.workers} workers")
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pairs(root / "pairs", options.clips)
        rows.append(("WAV and JPEG", *measure(root / "pairs", root, options)))
        for width, height in ((640, 360), (1280, 720)):
            write_videos(root / f"{height}p", options.clips // 2, width, height)
            rows.append((f"H.264 {width}x{height}, AAC", *measure(root / f"{height}p", root, options)))
        size, store = measure_store(root / "store", options.stored)
    listed = max(row[-1] for row in rows)
    disk = (("manifest and journal", listed), ("tokens, `paper` layout, ten frames and three windows", size))
    show(
        {
            "clips": Table(
                columns=(
                    "clip of ten seconds",
                    "core seconds",
                    "clips a second",
                    *(f"core hours of {n}" for n in MANY),
                ),
                rows=tuple((name, cpu, rate, *(cpu * n / 3600 for n in MANY.values())) for name, cpu, rate, _ in rows),
                formats={
                    "core seconds": ".3f",
                    "clips a second": ".0f",
                    **{f"core hours of {n}": ",.1f" for n in MANY},
                },
            ),
            "disk": Table(
                columns=("on the disk", "kB a clip", *(f"GB of {n}" for n in MANY)),
                rows=tuple((name, size / 1e3, *(size * n / 1e9 for n in MANY.values())) for name, size in disk),
                formats={"kB a clip": ".2f", **{f"GB of {n}": ".2f" for n in MANY}},
            ),
            "store": Table(columns=(f"token store of {options.stored:,} clips", ""), rows=store),
        },
        options.output,
    )


def measure(source: Path, root: Path, options: argparse.Namespace) -> tuple[float, float, float]:
    """Core seconds of a clip, clips a second, and bytes a clip in journal and manifest."""
    output = root / "out"
    began, cpu_before = time.perf_counter(), cpu_seconds()
    summary = prepare(Settings(source, LAYOUT), output, Engine(workers=options.workers))
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu_before
    count = summary.splits.total() + summary.reasons.total()
    journal = (output / "journal.jsonl").stat().st_size / count
    manifest = (output / "manifest.jsonl").stat().st_size / max(1, summary.splits.total())
    shutil.rmtree(output)
    return cpu / count, count / seconds, journal + manifest


def cpu_seconds() -> float:
    """What this process and the workers that have ended have used of the processor, whoever else uses it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def write_pairs(folder: Path, count: int) -> None:
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(count):
        wave = noise.uniform(-0.5, 0.5, LAYOUT.clip_samples).astype(np.float32)
        write_wav(folder / f"{number}.wav", wave, LAYOUT.sample_rate, {})
        pixels = noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((256, 256)).save(folder / f"{number}.jpg")


def write_videos(folder: Path, count: int, width: int, height: int) -> None:
    """One video and copies of it, which are told apart only after they have been decoded."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    backdrop = np.asarray(
        Image.fromarray(noise.integers(0, 256, (18, 32, 3), dtype=np.uint8)).resize((2 * width, height))
    )
    first = folder / "0.mp4"
    with av.open(str(first), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=44_100, layout="stereo")
        packets = []
        for index in range(250):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(backdrop[:, 2 * index : 2 * index + width]))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        sound = av.AudioFrame.from_ndarray(noise.uniform(-0.3, 0.3, (2, 441_000)).astype(np.float32), "fltp", "stereo")
        sound.sample_rate, sound.pts = 44_100, 0
        packets += [*audio.encode(sound), *audio.encode(None)]
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)
    for number in range(1, count):
        shutil.copy(first, folder / f"{number}.mp4")


def measure_store(folder: Path, clips: int) -> tuple[float, tuple[tuple[Cell, ...], ...]]:
    """Bytes a clip, and rows of what else there is to say."""
    folder.mkdir()
    plan = StoreDescription(
        format=FORMAT, tokenizers={"image_vqgan": "a", "audio_vqgan": "b"}, pairing="clip", clips=clips, manifest="",
        labels=[], streams=LAYOUT.streams,
    )  # fmt: skip
    noise = np.random.default_rng(0)
    rows = {"image": FRAMES, "audio": WINDOWS}
    tokens = {s.name: noise.integers(0, s.codes, (rows[s.source], s.positions, s.depth)) for s in LAYOUT.streams}
    writer = TokenStoreWriter(folder, plan)
    began = time.perf_counter()
    for clip in range(clips):
        writer.append({s.name: (tokens[s.name] + clip) % s.codes for s in LAYOUT.streams})
        if clip % 4096 == 4095:
            writer.commit()
    writer.finish(np.zeros(clips), np.arange(clips))
    written = time.perf_counter() - began
    size = sum(path.stat().st_size for path in (folder / "tokens").iterdir())
    began = time.perf_counter()
    store = TokenStore.open(folder, "train", plan.tokenizers)
    opened = time.perf_counter() - began
    generator = torch.Generator().manual_seed(0)
    store.draw(BATCH, generator)
    began = time.perf_counter()
    batches = 200
    for _ in range(batches):
        store.draw(BATCH, generator)
    rate = batches * BATCH / (time.perf_counter() - began)
    rows = (
        ("seconds to write", round(written)),
        ("seconds to open", round(opened, 2)),
        ("pairs a second", 1000 * round(rate / 1000)),
    )
    return size / clips, rows


if __name__ == "__main__":
    main()
