"""The demonstration: its files, and a page that needs nothing but itself."""

from __future__ import annotations

import base64
import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import tiny
from cli.conftest import Command
from cli.conftest import command as command
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.demo import PAIRS, demo_files, make_demo
from visual_echoes.demo.examples import EXAMPLES
from visual_echoes.demo.page import Card, Section, View, render_page
from visual_echoes.inputs import image_array, sound_array
from visual_echoes.layout import LAYOUTS, MODALITIES
from visual_echoes.media import read_audio, read_frames, read_image, read_metadata
from visual_echoes.media.drawing import spectrogram
from visual_echoes.model.confidence import Calibration, in_words
from visual_echoes.pipeline import VisualEchoes

ROOT = Path(__file__).parents[1]
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """All elements in order with their attributes and text; fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def content(uri: str | None, media_type: str) -> io.BytesIO:
    assert uri is not None
    head, data = uri.split(",")
    assert head == f"data:{media_type};base64"
    return io.BytesIO(base64.b64decode(data, validate=True))


def relabelled(layout: str) -> Model:
    """The tiny model, said to be of another layout."""
    model = tiny.whole_model()
    model.layout = replace(model.layout, name=layout)
    return model


def shown(model: Model, output: Path) -> Path:
    assert make_demo(VisualEchoes(model, torch.device("cpu")), output, seed=3) == output / "index.html"
    return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown(relabelled("digits"), tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is written for a calibrated model of the layout `scenes`."""
    model = relabelled("scenes")
    model.calibration = {modality: Calibration(offset=1.0, slope=0.5) for modality in MODALITIES}
    return shown(model, tmp_path_factory.mktemp("scenes"))


def read_page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return read_page(folder)


def test_all_files_are_there_and_say_where_they_come_from(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(demo_files(EXAMPLES["digits"]))
    for path in folder.iterdir():
        if path.suffix == ".png":
            assert read_image(path).size == (tiny.LAYOUT.image_size,) * 2
        elif path.suffix == ".wav":
            assert len(read_audio(path, tiny.LAYOUT.sample_rate)) == tiny.LAYOUT.samples
        elif path.suffix == ".mp4":
            assert read_frames(path, 1)
        if path.suffix != ".html":
            assert read_metadata(path)["synthetic"] == "true"
    metadata = read_metadata(folder / "sound-of-image-4.wav")
    assert (metadata["task"], metadata["source"], metadata["seed"]) == ("sound", "4.png", "7")


def test_the_page_asks_for_nothing_from_outside(folder: Path, page: Page) -> None:
    for _, attributes in page.elements:
        assert not {"srcset", "poster", "action", "onclick", "onload"} & set(attributes)
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert not page.all("script")
    (style,) = page.texts["style"]
    assert not re.search(r"url\(|@import|//", style)
    assert "prefers-color-scheme: dark" in style


def test_all_images_and_sounds_of_the_page_decode(page: Page) -> None:
    images = [Image.open(content(image["src"], "image/png")) for image in page.all("img")]
    for image in images:
        image.load()
    spectrograms = [
        image for image, element in zip(images, page.all("img"), strict=True) if element["class"] != "image"
    ]
    assert {image.size for image in spectrograms} == {(tiny.LAYOUT.mel_frames, tiny.LAYOUT.n_mels)}
    waves = [soundfile.read(content(audio["src"], "audio/wav"))[0] for audio in page.all("audio")]
    # Ten sounds of images, ten given sounds, the pairs, and two round trips with the given sound beside.
    assert len(waves) == 10 + 10 + PAIRS + 4
    assert all(np.abs(wave).max() > 0 for wave in waves)


def test_the_page_shows_what_the_files_hold(folder: Path, page: Page) -> None:
    sources = {element["src"] for tag in ("img", "audio") for element in page.all(tag)}
    for path in folder.iterdir():
        kind = {".png": "image/png", ".wav": "audio/wav"}.get(path.suffix)
        if kind:
            assert f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}" in sources, path.name


def test_the_page_works_without_eyes_and_without_a_mouse(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.texts["h2"] == [
        "An image makes its sound",
        "A sound makes its image",
        "Both from nothing",
        "What tokenizers and vocoder keep",
    ]
    assert len(page.all("h3")) == 10 + 10 + PAIRS + 2
    alts = [image["alt"] for image in page.all("img")]
    assert all(alts)
    assert "Mel spectrogram: sound for a handwritten 3" in alts
    assert all("controls" in audio and audio["aria-label"] for audio in page.all("audio"))
    identifiers = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [link["href"] for link in page.all("a")]
    assert len(links) == 5
    assert all(link and link.startswith("#") and link[1:] in identifiers for link in links)
    assert "seed 7" in page.texts["p"]


def test_everything_is_escaped() -> None:
    nasty = '<script>alert("&")</script>'
    views = [View(nasty, True, b"x"), View(nasty, False, b"x", np.zeros((4, 4)))]
    section = Section('a"b', nasty, nasty, [Card(nasty, views, nasty)])
    page = Page(render_page(nasty, nasty, [section], [nasty]))
    assert not page.all("script")
    assert page.all("img")[0]["alt"] == nasty
    assert "".join(page.texts["h1"]) == nasty


def test_louder_is_lighter_and_low_frequencies_lie_at_the_bottom() -> None:
    ramp = np.linspace(0.0, 1.0, 101)
    colours = spectrogram(ramp[None])[0].astype(float)
    linear = np.where(colours <= 0.04045 * 255, colours / 255 / 12.92, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    # Equal steps in level are steps in lightness of about one size.
    coarse = np.diff(lightness[::20])
    assert coarse.max() < 1.6 * coarse.min()
    mel = np.zeros((8, 3))
    mel[0] = 1.0
    assert spectrogram(mel)[-1].min() > spectrogram(mel)[0].max()


def test_a_scenes_model_is_shown_photographs_and_recordings(scenes: Path) -> None:
    assert {path.name for path in scenes.iterdir()} == set(demo_files(EXAMPLES["scenes"]))
    assert (scenes / "sound-of-image-cat.wav").exists()
    page = read_page(scenes)
    assert "Image of water" in page.texts["h3"]
    assert "Photographs the model has never seen." in page.texts["p"]
    assert not any("digit" in text or "spoken" in text for text in page.texts["p"])
    alts = [image["alt"] for image in page.all("img")]
    assert "Mel spectrogram: sound for a photograph of a cat" in alts
    assert "photograph of a dog after the round trip" in alts
    sources = {element["src"] for tag in ("img", "audio") for element in page.all(tag)}
    for item in EXAMPLES["scenes"].items:
        for suffix, kind in ((".png", "image/png"), (".wav", "audio/wav")):
            given = EXAMPLES["scenes"].file(item, suffix).read_bytes()
            assert f"data:{kind};base64,{base64.b64encode(given).decode()}" in sources


def test_the_page_says_how_sure_a_calibrated_model_is(scenes: Path, page: Page) -> None:
    notes = read_page(scenes).texts["p"]
    for row, item in enumerate(EXAMPLES["scenes"].items):
        for file in (f"sound-of-image-{item}.wav", f"image-of-sound-{item}.png"):
            confidence = float(read_metadata(scenes / file)["model_confidence"])
            assert f"seed {3 + row}, the model is {in_words(confidence)}" in notes
    assert f"seed {3 + PAIRS - 1}" in notes  # of a pair, which has no condition
    assert not any("sure" in text for text in page.texts["p"])


def test_the_page_names_who_made_the_scenes(scenes: Path) -> None:
    folder = ROOT / "src" / "visual_echoes" / EXAMPLES["scenes"].folder
    with (folder / "CREDITS.csv").open(newline="", encoding="utf-8") as file:
        credits = {row["file"]: row for row in csv.DictReader(file)}
    assert set(credits) == {path.name for path in folder.iterdir()} - {"CREDITS.csv", "README.md"}
    images, sounds = read_page(scenes).texts["p"][-1].split("Recordings from")
    dedicated_images, attributed_images = images.split("under CC0;")
    attributed, dedicated = sounds.split("under CC BY 3.0")
    for item in EXAMPLES["scenes"].items:
        row = credits[f"{item}.wav"]
        assert f"{item} ({row['author']})" in {"CC-BY": attributed, "CC0": dedicated}[row["licence"]]
        row = credits[f"{item}.png"]
        where = attributed_images if row["licence"] == "CC-BY-4.0" else dedicated_images
        assert f"{item} ({row['author']})" in where


def test_the_scenes_are_the_first_of_the_sample() -> None:
    sample, layout = ROOT / "data" / "scenes-sample", LAYOUTS["scenes"]
    assert set(EXAMPLES["scenes"].items) == {path.name for path in (sample / "images").iterdir()}
    for item in EXAMPLES["scenes"].items:
        picture, sound = (min((sample / kind / item).iterdir()) for kind in ("images", "sounds"))
        packaged, clip = EXAMPLES["scenes"].file(item, ".png"), EXAMPLES["scenes"].file(item, ".wav")
        given, original = (image_array(path, layout).astype(int) for path in (packaged, picture))
        assert np.abs(given - original).mean() < 4  # reduced once more on the way
        assert (soundfile.info(clip).samplerate, soundfile.info(clip).frames) == (16_000, layout.clip_samples)
        assert np.abs(sound_array(clip, layout) - sound_array(sound, layout)).max() < 1e-4


def test_the_examples_are_the_first_of_the_test_split() -> None:
    source = ROOT / "data" / "digits" / "images.npz"
    with np.load(source, allow_pickle=False) as archive:
        pixels, labels = archive["images"], archive["labels"]
    for digit in range(10):
        first = int(np.flatnonzero(labels == digit)[0])
        assert (np.asarray(Image.open(EXAMPLES["digits"].file(str(digit), ".png"))) == pixels[first]).all()
        assert soundfile.info(EXAMPLES["digits"].file(str(digit), ".wav")).samplerate == 8000


def test_the_command_prints_the_page_last_and_does_not_overwrite_unasked(command: Command, tmp_path: Path) -> None:
    save_model(tmp_path / "model", relabelled("digits"), half=False)
    output = tmp_path / "demo"
    arguments = ("demo", "-o", output, "--model", tmp_path / "model", "--seed", 1)
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(output / "index.html")
    before = (output / "index.html").read_bytes()
    refused = command(*arguments)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert command(*arguments, "--overwrite").exit_code == 0
    assert (output / "index.html").read_bytes() == before


def test_a_model_of_another_layout_is_refused_in_one_sentence(
    command: Command, model_folder: Path, tmp_path: Path
) -> None:
    refused = command("demo", "-o", tmp_path / "demo", "--model", model_folder)
    assert refused.exit_code == 1
    message = " ".join(refused.stderr.split())
    assert "no examples to show the model tiny of layout debug" in message
    assert "digits or scenes" in message
    assert not (tmp_path / "demo").exists()
