"""Mutated files for `fuzz_files.py`: whole ones of every kind, what is done to them, and how they are read.

Everything follows from the seed and the number of an input, so any input can be made again alone.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

from visual_echoes.media import write_mp4, write_png, write_wav

ROOT = Path(__file__).parents[1]
FOLDERS = ROOT / "tests" / "formats"
RECIPES = ROOT / "recipes"
PICTURES = ("png", "jpg", "webp", "gif", "bmp", "tif")
SOUNDS = ("wav", "flac", "ogg", "mp3", "m4a", "aac", "opus")
VIDEOS = ("mp4", "mov", "mkv", "webm", "avi")
KINDS = ("picture", "sound", "video", "model", "recipe")
RATE = 16_000  # Hz
# Bytes that lengths, counts and offsets break at, and values that settings do.
NUMBERS = (b"\0", b"\xff", b"\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
VALUES: tuple[object, ...] = (
    0, -1, 1, 2, 3, 7, 1e9, 10**12, 2**63, 1e308, -1e-300, True, None, "", "x" * 300, "\0", "nan", [], {}, [0], [[1]],
)  # fmt: skip
WORDS = (
    "0", "-1", "1e9", "nan", "inf", "true", "[]", "{}", '""', "[[", "]]", "=", "9" * 400, "\0", "'''", "\N{SNOWMAN}",
)  # fmt: skip


def write_originals(folder: Path) -> None:
    """One small whole file of each format, each signed and unsigned where that is possible."""
    from visual_echoes.provenance.certificate import write_local_certificate
    from visual_echoes.provenance.credentials import Signer

    noise = np.random.default_rng(0)
    pixels = noise.integers(0, 256, (40, 48, 3), np.uint8)
    wave = (0.3 * np.sin(np.arange(RATE // 2) / 6) + 0.01 * noise.standard_normal(RATE // 2)).astype(np.float32)
    mark = {"model": "fuzz", "seed": "1", "synthetic": "true"}
    for name in PICTURES:
        Image.fromarray(pixels).save(folder / f"a.{name}")
    write_wav(folder / "a.wav", wave, RATE, mark)
    for name in ("flac", "ogg"):
        soundfile.write(folder / f"a.{name}", wave, RATE)
    for name, codec in (("mp3", "libmp3lame"), ("m4a", "aac"), ("aac", "aac"), ("opus", "libopus")):
        _encode(folder / f"a.{name}", wave, codec)
    for name, codec, sound in (("mov", "mjpeg", "aac"), ("mkv", "libx264", "flac"), ("webm", "libvpx", "libopus"),
                               ("avi", "mpeg4", "libmp3lame")):  # fmt: skip
        _encode(folder / f"a.{name}", wave, sound, codec, pixels)
    write_mp4(folder / "a.mp4", pixels, wave, RATE, mark)
    write_local_certificate(folder / "identity", "fuzz")
    signer = Signer(folder / "identity")
    write_png(folder / "signed.png", pixels, mark)
    shutil.copy(folder / "a.wav", folder / "signed.wav")
    shutil.copy(folder / "a.mp4", folder / "signed.mp4")
    for name in ("png", "wav", "mp4"):
        signer.sign(folder / f"signed.{name}")


def _encode(
    path: Path, wave: np.ndarray, sound: str, codec: str | None = None, pixels: np.ndarray | None = None
) -> None:
    with av.open(str(path), "w", format="adts" if path.suffix == ".aac" else None) as container:
        packets: list[Any] = []
        video = container.add_stream(codec, rate=10) if codec else None
        audio = container.add_stream(sound, rate=48_000, layout="mono")
        if video is not None and pixels is not None:
            video.width, video.height = pixels.shape[1], pixels.shape[0]
            video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for index in range(5):
                frame = av.VideoFrame.from_ndarray(np.roll(pixels, index, axis=1)).reformat(format=video.pix_fmt)
                frame.pts, frame.time_base = index, Fraction(1, 10)
                packets += video.encode(frame)
            packets += video.encode(None)
        heard = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = RATE, 0, Fraction(1, RATE)
        for converted in av.AudioResampler(format=audio.format, layout="mono", rate=48_000).resample(heard):
            packets += audio.encode(converted)
        packets += audio.encode(None)
        container.mux(packets)


def make_input(kind: str, number: int, seed: int, originals: Path, folder: Path) -> Path:
    """Write input `number` of a kind into the empty `folder`; returns the file, or the model folder."""
    chance = random.Random(f"{seed} {kind} {number}")
    if kind == "model":
        return _mutated_model(chance, folder)
    if kind == "recipe":
        source = chance.choice(sorted(RECIPES.glob("*/*.toml")))
        content = source.read_bytes()
        path = folder / "recipe.toml"
        path.write_bytes(mutated_text(content, chance) if chance.random() < 0.7 else mutated(content, content, chance))
        return path
    suffixes = {"picture": PICTURES, "sound": SOUNDS, "video": VIDEOS}[kind]
    sources = sorted(path for path in originals.iterdir() if path.suffix[1:] in suffixes)
    source, other = chance.choice(sources), chance.choice(sources)
    path = folder / f"input{source.suffix}"
    path.write_bytes(mutated(source.read_bytes(), other.read_bytes(), chance))
    return path


def mutated(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Bytes changed in one place or a few, more often near their beginning, where headers are."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        if not changed:
            break
        reach = len(changed) if chance.random() < 0.5 else min(len(changed), 256)
        place = chance.randrange(reach)
        length = chance.randint(1, 64)
        match chance.randrange(7):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                number = chance.choice(NUMBERS)
                changed[place : place + len(number)] = number
            case 2:
                changed[place : place + length] = chance.randbytes(length)
            case 3:
                del changed[place : place + length]
            case 4:
                changed[place:place] = changed[place : place + length]
            case 5:
                start = chance.randrange(len(other))
                changed[place:place] = other[start : start + length]
            case _:
                if chance.random() < 0.3:
                    del changed[chance.randrange(len(changed)) :]
    return bytes(changed)


def mutated_text(content: bytes, chance: random.Random) -> bytes:
    """Lines of a text dropped, doubled, swapped, or one of their words replaced."""
    lines = content.decode().splitlines()
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(lines))
        match chance.randrange(4):
            case 0:
                lines[place] = ""
            case 1:
                lines.insert(place, chance.choice(lines))
            case 2:
                key, _, _ = lines[place].partition("=")
                lines[place] = f"{key}= {chance.choice(WORDS)}"
            case _:
                words = lines[place].split(" ")
                words[chance.randrange(len(words))] = chance.choice(WORDS)
                lines[place] = " ".join(words)
    return "\n".join(lines).encode()


def _mutated_model(chance: random.Random, folder: Path) -> Path:
    model = Path(shutil.copytree(chance.choice(sorted(FOLDERS.iterdir())), folder / "model"))
    config = model / "config.json"
    match chance.randrange(4):
        case 0:
            content = config.read_bytes()
            config.write_bytes(mutated(content, content, chance))
        case 1 | 2:
            description = json.loads(config.read_text())
            for _ in range(chance.randint(1, 2)):
                _replace_leaf(description, chance)
            config.write_text(json.dumps(description))
        case _:
            weights = chance.choice(sorted(model.glob("*.safetensors")))
            content = mutated(weights.read_bytes(), weights.read_bytes(), chance)
            weights.write_bytes(content)
            if chance.random() < 0.8:  # as one who alters a model on purpose would
                description = json.loads(config.read_text())
                description["parts"][weights.stem]["sha256"] = hashlib.sha256(content).hexdigest()
                config.write_text(json.dumps(description))
    return model


def _replace_leaf(tree: Any, chance: random.Random) -> None:
    while True:
        key = chance.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        if isinstance(tree[key], dict | list) and tree[key] and chance.random() < 0.9:
            tree = tree[key]
            continue
        if isinstance(tree, dict) and chance.random() < 0.2:
            del tree[key]
        else:
            value = tree[key]
            near = isinstance(value, int | float) and chance.random() < 0.5
            tree[key] = value * chance.choice((0.5, 2, -1, 1000)) if near else chance.choice(VALUES)
        return


def readers(kind: str) -> list[Callable[[Path], object]]:
    """Every way in which the project reads what claims to be of a kind."""
    if kind == "model":
        return [_generate_with]
    if kind == "recipe":
        return [_read_recipe]
    from visual_echoes.media import read_audio, read_frames, read_image, read_metadata, read_tracks
    from visual_echoes.provenance.credentials import read_credentials

    of_any: list[Callable[[Path], object]] = [read_metadata, read_credentials]
    if kind == "picture":
        return [read_image, *of_any]
    if kind == "sound":
        return [lambda path: read_audio(path, RATE), read_tracks, *of_any]
    return [lambda path: read_frames(path, 3), read_image, lambda path: read_audio(path, RATE), read_tracks, *of_any]


def _generate_with(folder: Path) -> object:
    from visual_echoes import VisualEchoes

    return VisualEchoes.from_pretrained(folder, device="cpu").generate_pair(1, steps=1)


def _read_recipe(path: Path) -> object:
    from visual_echoes.cli.training import toml_lines
    from visual_echoes.training.recipe import read_recipe

    recipe = read_recipe(path)
    return recipe.get_layout(), list(toml_lines(recipe.model_dump(mode="json")))
