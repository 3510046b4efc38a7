"""A demonstration to look at and listen to: real held-out digits through the model, both ways, and pairs from nothing.

The pictures and sounds that go in are packaged; none of them is in the training data of the packaged models.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np

from visual_echoes.data.digits import GROUPS
from visual_echoes.demo.page import Card, Section, View, render_page
from visual_echoes.exports import export_item
from visual_echoes.fidelity import log_mel_l1, psnr
from visual_echoes.files import write_text
from visual_echoes.inputs import picture_array, sound_array
from visual_echoes.pipeline import Result, VisualEchoes
from visual_echoes.provenance import SOFTWARE

PAGE = "index.html"
EXAMPLES = "examples/digits"
PAIRS = 10
ROUND_TRIPS = ("3", "7")  # the digits whose round trip is shown

_SOUND, _PICTURE, _PAIR, _ROUND_TRIP = "sound-of-picture-{}", "picture-of-sound-{}", "pair-{}", "round-trip-{}"


def demo_files() -> list[str]:
    """Names of the files that `make_demo` writes, the page last."""
    names = [
        *(_SOUND.format(digit) + suffix for digit in GROUPS for suffix in (".wav", ".mp4")),
        *(_PICTURE.format(digit) + suffix for digit in GROUPS for suffix in (".png", ".mp4")),
        *(_PAIR.format(number) + suffix for number in range(1, PAIRS + 1) for suffix in (".png", ".wav", ".mp4")),
        *(_ROUND_TRIP.format(digit) + suffix for digit in ROUND_TRIPS for suffix in (".png", ".wav")),
    ]
    return [*names, PAGE]


def make_demo(
    echoes: VisualEchoes, output: Path, seed: int = 0, report: Callable[[str], None] = lambda title: None
) -> Path:
    """Write WAV, PNG and MP4 files and a page that shows them all.

    Args:
        output: an existing folder.
        seed: the first seed of each section.
        report: called with what is being done.

    Returns:
        The page's path.

    Raises:
        EchoesError: the model lacks a part, or a file cannot be written.
    """
    sections = []
    for title, make in (
        ("Making sounds for pictures", _sounds_of_pictures),
        ("Making pictures for sounds", _pictures_of_sounds),
        ("Making pairs from nothing", _pairs),
        ("Making round trips", _round_trips),
    ):
        report(title)
        sections.append(make(echoes, output, seed))
    page = output / PAGE
    write_text(page, render_page("Visual Echoes", _lead(echoes), sections, _footer(echoes)))
    return page


def _example(name: str) -> Path:
    return Path(str(resources.files("visual_echoes") / EXAMPLES / name))


def _given_picture(digit: str) -> View:
    return View(f"handwritten {digit}", True, _example(f"{digit}.png").read_bytes())


def _given_sound(digit: str, mel: np.ndarray) -> View:
    return View(f"spoken {digit}", True, _example(f"{digit}.wav").read_bytes(), mel)


def _sounds_of_pictures(echoes: VisualEchoes, output: Path, seed: int) -> Section:
    result = echoes.image_to_audio([_example(f"{digit}.png") for digit in GROUPS], seed=seed)
    assert result.mels is not None
    cards = []
    for row, digit in enumerate(GROUPS):
        stem, details = output / _SOUND.format(digit), {"task": "sound", "source": f"{digit}.png"}
        wav, _ = export_item(echoes.model, result, row, stem, (".wav", ".mp4"), **details)
        sound = View(f"sound for a handwritten {digit}", False, wav.read_bytes(), result.mels[row])
        cards.append(Card(f"Picture of {digit}", [_given_picture(digit), sound], _note(result, row)))
    return Section("sounds", "A picture makes its sound", "Handwritten digits the model has never seen.", cards)


def _pictures_of_sounds(echoes: VisualEchoes, output: Path, seed: int) -> Section:
    result = echoes.audio_to_image([_example(f"{digit}.wav") for digit in GROUPS], seed=seed)
    assert result.mels is not None
    cards = []
    for row, digit in enumerate(GROUPS):
        stem, details = output / _PICTURE.format(digit), {"task": "picture", "source": f"{digit}.wav"}
        png, _ = export_item(echoes.model, result, row, stem, (".png", ".mp4"), **details)
        picture = View(f"picture for a spoken {digit}", False, png.read_bytes())
        cards.append(Card(f"Sound of {digit}", [_given_sound(digit, result.mels[row]), picture], _note(result, row)))
    return Section("pictures", "A sound makes its picture", "Spoken digits the model has never heard.", cards)


def _pairs(echoes: VisualEchoes, output: Path, seed: int) -> Section:
    result = echoes.generate_pair(PAIRS, seed=seed)
    assert result.mels is not None
    cards = []
    for row in range(PAIRS):
        number = row + 1
        stem, details = output / _PAIR.format(number), {"task": "pair", "pair_order": "together"}
        png, wav, _ = export_item(echoes.model, result, row, stem, (".png", ".wav", ".mp4"), **details)
        views = [
            View(f"picture of pair {number}", False, png.read_bytes()),
            View(f"sound of pair {number}", False, wav.read_bytes(), result.mels[row]),
        ]
        cards.append(Card(f"Pair {number}", views, _note(result, row)))
    return Section("pairs", "Both from nothing", "Picture and sound made together, from noise alone.", cards)


def _round_trips(echoes: VisualEchoes, output: Path, seed: int) -> Section:
    pictures, sounds = ([_example(digit + suffix) for digit in ROUND_TRIPS] for suffix in (".png", ".wav"))
    result = echoes.reconstruct(pictures, sounds)
    given = echoes.codec.mels(np.stack([sound_array(sound, echoes.layout) for sound in sounds])).cpu().numpy()
    assert result.images is not None
    assert result.audio is not None
    assert result.mels is not None
    cards = []
    for row, digit in enumerate(ROUND_TRIPS):
        png, wav = export_item(
            echoes.model, result, row, output / _ROUND_TRIP.format(digit), (".png", ".wav"), task="reconstruct"
        )
        figures = (
            f"picture {psnr(picture_array(pictures[row], echoes.layout), result.images[row]):.1f} dB PSNR",
            f"log-mel off by {log_mel_l1(given[row], result.audio[row], echoes.layout):.3f} of its range",
        )
        views = [
            _given_picture(digit),
            View(f"handwritten {digit} after the round trip", False, png.read_bytes()),
            _given_sound(digit, given[row]),
            View(f"spoken {digit} after the round trip", False, wav.read_bytes(), result.mels[row]),
        ]
        cards.append(Card(f"Round trip of {digit}", views, ", ".join(figures)))
    text = "Real digits through tokenizers and vocoder and back: no generated item can be better than this."
    return Section("round-trips", "What tokenizers and vocoder keep", text, cards)


def _note(result: Result, row: int) -> str:
    return f"seed {result.seeds[row]}"


def _lead(echoes: VisualEchoes) -> str:
    low, high = echoes.layout.fmin, echoes.layout.fmax
    return (
        "One masked transformer over the tokens of pictures and sounds turns each into the other, or makes both from "
        f"nothing. Spectrograms run from left to right in time and from {low:g} Hz at the bottom to {high:g} Hz at the "
        "top; brighter is louder. All files lie beside this page."
    )


def _footer(echoes: VisualEchoes) -> list[str]:
    model, sampling = echoes.model, echoes.defaults
    return [
        f"Everything marked \u201cmade\u201d is synthetic: it comes from {SOFTWARE} and the model {model.name} "
        f"{model.version}, with {sampling.steps} steps, temperature {sampling.temperature:g} and guidance "
        f"{sampling.guidance:g}.",
        "What is given was held out of training: handwritten digits from MNIST, spoken digits from the Free Spoken "
        "Digit Dataset (CC BY-SA 4.0).",
    ]
