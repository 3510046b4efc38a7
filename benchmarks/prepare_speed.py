"""How fast clips are prepared, and how fast the token store of 200,000 clips opens and is drawn from.

Usage: python benchmarks/prepare_speed.py [--workers 2] [--clips 100] [--stored 200000]
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
from PIL import Image

from visual_echoes.data.prepare import Engine, Settings, prepare
from visual_echoes.data.token_store import StoreDescription, TokenStore, TokenStoreWriter
from visual_echoes.layout import get_layout
from visual_echoes.media import write_wav

LAYOUT = get_layout("paper")
FRAMES, WINDOWS = 10, 3
BATCH = 64


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--clips", type=int, default=100)
    arguments.add_argument("--stored", type=int, default=200_000)
    options = arguments.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.workers} workers")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pairs(root / "pairs", options.clips)
        measure("WAV and JPEG, 10 s", root / "pairs", root, options)
        for width, height in ((640, 360), (1280, 720)):
            write_videos(root / f"{height}p", options.clips // 2, width, height)
            measure(f"H.264 and AAC, {width}x{height}, 25 frames/s, 10 s", root / f"{height}p", root, options)
        measure_store(root / "store", options.stored)


def measure(title: str, source: Path, root: Path, options: argparse.Namespace) -> None:
    output = root / "out"
    began, cpu_before = time.perf_counter(), cpu_seconds()
    summary = prepare(Settings(source, LAYOUT), output, Engine(workers=options.workers))
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu_before
    count = summary.splits.total() + summary.reasons.total()
    journal = (output / "journal.jsonl").stat().st_size / count
    manifest = (output / "manifest.jsonl").stat().st_size / max(1, summary.splits.total())
    print(f"{title}: {count / seconds:.1f} clips/s, {cpu / count:.3f} core seconds a clip, starting workers included; "
          f"{journal:.0f} B a clip in the journal, {manifest:.0f} B in the manifest")  # fmt: skip
    shutil.rmtree(output)


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


def measure_store(folder: Path, clips: int) -> None:
    folder.mkdir()
    plan = StoreDescription(
        format=1, tokenizers={"image_vqgan": "a", "audio_vqgan": "b"}, pairing="clip", clips=clips, manifest="",
        labels=[], places={"image": LAYOUT.image_tokens, "audio": LAYOUT.audio_tokens},
        codes={"image": LAYOUT.image_codes, "audio": LAYOUT.audio_codes},
    )  # fmt: skip
    noise = np.random.default_rng(0)
    image = noise.integers(0, LAYOUT.image_codes, (FRAMES, LAYOUT.image_tokens))
    audio = noise.integers(0, LAYOUT.audio_codes, (WINDOWS, LAYOUT.audio_tokens))
    writer = TokenStoreWriter(folder, plan)
    began = time.perf_counter()
    for clip in range(clips):
        writer.append((image + clip) % LAYOUT.image_codes, (audio + clip) % LAYOUT.audio_codes)
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
    print(
        f"token store of {clips:,} clips: {size / clips:.0f} B a clip, {size / 1e9:.2f} GB, written in {written:.0f} s,"
        f" opened in {opened:.3f} s, {rate:,.0f} pairs/s drawn"
    )


if __name__ == "__main__":
    main()
