"""A demonstration to look at and listen to: held-out examples through the model, both ways, and pairs from nothing.

The model's layout decides which of the packaged examples go in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from visual_echoes.demo.examples import Examples, examples_for
from visual_echoes.demo.page import Card, Section, View, render_page
from visual_echoes.files import write_text
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.metrics.fidelity import log_mel_l1, psnr
from visual_echoes.model.confidence import in_words
from visual_echoes.outputs import export_item
from visual_echoes.pipeline import Result, VisualEchoes
from visual_echoes.provenance.mark import SOFTWARE

PAGE = "index.html"
PAIRS = 10

# Names of the files of an item, without suffix.
_SOUND, _IMAGE, _PAIR, _ROUND_TRIP = "sound-of-image-{}", "image-of-sound-{}", "pair-{}", "round-trip-{}"


def demo_files(examples: Examples) -> list[str]:
    """Names of the files that `make_demo` writes for a model with these examples, the page last."""
    names = [
        *(_SOUND.format(item) + suffix for item in examples.items for suffix in (".wav", ".mp4")),
        *(_IMAGE.format(item) + suffix for item in examples.items for suffix in (".png", ".mp4")),
        *(_PAIR.format(number) + suffix for number in range(1, PAIRS + 1) for suffix in (".png", ".wav", ".mp4")),
        *(_ROUND_TRIP.format(item) + suffix for item in examples.round_trips for suffix in (".png", ".wav")),
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
        EchoesError: there are no examples for the model's layout, the model lacks a part, or a file cannot be written.
    """
    examples = examples_for(echoes.model)
    sections = []
    for title, make in (
        ("Making sounds for images", _sounds_of_images),
        ("Making images for sounds", _images_of_sounds),
        ("Making pairs from nothing", _pairs),
        ("Making round trips", _round_trips),
    ):
        report(title)
        sections.append(make(echoes, examples, output, seed))
    page = output / PAGE
    write_text(page, render_page("Visual Echoes", _lead(echoes), sections, _footer(echoes, examples)))
    return page


def _given_image(examples: Examples, item: str) -> View:
    return View(examples.image_of(item), True, examples.file(item, ".png").read_bytes())


def _given_sound(examples: Examples, item: str, mel: np.ndarray) -> View:
    return View(examples.sound_of(item), True, examples.file(item, ".wav").read_bytes(), mel)


def _sounds_of_images(echoes: VisualEchoes, examples: Examples, output: Path, seed: int) -> Section:
    result = echoes.image_to_audio([examples.file(item, ".png") for item in examples.items], seed=seed, confidence=True)
    assert result.mels is not None
    cards = []
    for row, (item, words) in enumerate(examples.items.items()):
        stem, details = output / _SOUND.format(item), {"task": "sound", "source": f"{item}.png"}
        wav, _ = export_item(echoes.model, result, row, stem, (".wav", ".mp4"), **details)
        sound = View(f"sound for a {examples.image_of(item)}", False, wav.read_bytes(), result.mels[row])
        cards.append(Card(f"Image of {words}", [_given_image(examples, item), sound], _note(result, row)))
    text = f"{examples.images.capitalize()} the model has never seen."
    return Section("sounds", "An image makes its sound", text, cards)


def _images_of_sounds(echoes: VisualEchoes, examples: Examples, output: Path, seed: int) -> Section:
    result = echoes.audio_to_image([examples.file(item, ".wav") for item in examples.items], seed=seed, confidence=True)
    assert result.mels is not None
    cards = []
    for row, (item, words) in enumerate(examples.items.items()):
        stem, details = output / _IMAGE.format(item), {"task": "picture", "source": f"{item}.wav"}
        png, _ = export_item(echoes.model, result, row, stem, (".png", ".mp4"), **details)
        image = View(f"image for a {examples.sound_of(item)}", False, png.read_bytes())
        views = [_given_sound(examples, item, result.mels[row]), image]
        cards.append(Card(f"Sound of {words}", views, _note(result, row)))
    text = f"{examples.sounds.capitalize()} the model has never heard."
    return Section("images", "A sound makes its image", text, cards)


def _pairs(echoes: VisualEchoes, examples: Examples, output: Path, seed: int) -> Section:
    result = echoes.generate_pair(PAIRS, seed=seed)
    assert result.mels is not None
    cards = []
    for row in range(PAIRS):
        number = row + 1
        stem, details = output / _PAIR.format(number), {"task": "pair", "pair_order": "together"}
        png, wav, _ = export_item(echoes.model, result, row, stem, (".png", ".wav", ".mp4"), **details)
        views = [
            View(f"image of pair {number}", False, png.read_bytes()),
            View(f"sound of pair {number}", False, wav.read_bytes(), result.mels[row]),
        ]
        cards.append(Card(f"Pair {number}", views, _note(result, row)))
    return Section("pairs", "Both from nothing", "Image and sound made together, from noise alone.", cards)


def _round_trips(echoes: VisualEchoes, examples: Examples, output: Path, seed: int) -> Section:
    images, sounds = ([examples.file(item, suffix) for item in examples.round_trips] for suffix in (".png", ".wav"))
    result = echoes.reconstruct(images, sounds)
    given = echoes.codec.mels(np.stack([sound_array(sound, echoes.layout) for sound in sounds])).cpu().numpy()
    assert result.images is not None
    assert result.audio is not None
    assert result.mels is not None
    cards = []
    for row, item in enumerate(examples.round_trips):
        png, wav = export_item(
            echoes.model, result, row, output / _ROUND_TRIP.format(item), (".png", ".wav"), task="reconstruct"
        )
        figures = (
            f"image {psnr(image_array(images[row], echoes.layout), result.images[row]):.1f} dB PSNR",
            f"log-mel off by {log_mel_l1(given[row], result.audio[row], echoes.layout):.3f} of its range",
        )
        views = [
            _given_image(examples, item),
            View(f"{examples.image_of(item)} after the round trip", False, png.read_bytes()),
            _given_sound(examples, item, given[row]),
            View(f"{examples.sound_of(item)} after the round trip", False, wav.read_bytes(), result.mels[row]),
        ]
        cards.append(Card(f"Round trip of {examples.items[item]}", views, ", ".join(figures)))
    text = f"Real {examples.both} through tokenizers and vocoder and back: no generated item can be better than this."
    return Section("round-trips", "What tokenizers and vocoder keep", text, cards)


def _note(result: Result, row: int) -> str:
    """How to make the item again, and how likely it is what its condition asks for."""
    sure = "" if result.confidence is None else f", the model is {in_words(float(result.confidence[row]))}"
    return f"seed {result.seeds[row]}{sure}"


def _lead(echoes: VisualEchoes) -> str:
    low, high = echoes.layout.fmin, echoes.layout.fmax
    return (
        "One masked transformer over the tokens of images and sounds turns each into the other, or makes both from "
        f"nothing. Spectrograms run from left to right in time and from {low:g} Hz at the bottom to {high:g} Hz at the "
        "top; brighter is louder. All files lie beside this page."
    )


def _footer(echoes: VisualEchoes, examples: Examples) -> list[str]:
    model, sampling = echoes.model, echoes.defaults
    return [
        f"Everything marked \u201cmade\u201d is synthetic: it comes from {SOFTWARE} and the model {model.name} "
        f"{model.version}, with {sampling.steps} steps, temperature {sampling.temperature:g} and guidance "
        f"{sampling.guidance:g}.",
        f"What is given was held out of training: {examples.origin}.",
    ]
