"""What tasks start from: what of it is kept, what is made anew, and what comes back as it was."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

import tiny
from app.conftest import image_upload
from visual_echoes import EchoesError
from visual_echoes.app import tasks
from visual_echoes.app.jobs import Task
from visual_echoes.app.tasks import Options
from visual_echoes.app.uploads import Upload, stored
from visual_echoes.media import read_audio
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.regions import audio_places, image_places

LAYOUT = tiny.LAYOUT


class Recorder:
    """Stands for a model and remembers what it was asked."""

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **asked: {"method": name, "given": given, **asked}


def asked(task: Task) -> dict[str, Any]:
    return task.make(Recorder(), lambda *_: None)  # type: ignore[arg-type, return-value]


@pytest.fixture
def picture() -> Iterator[Upload]:
    with image_upload() as upload:
        yield upload


@pytest.fixture
def sound(wav: bytes) -> Iterator[Upload]:
    with stored(io.BytesIO(wav), "a.wav") as upload:
        yield upload


def test_all_variants_are_made_in_one_batch(picture: Upload) -> None:
    task = tasks.sound_task(LAYOUT, Options(count=3, seed=7, guidance=2.0), picture)
    call = asked(task)
    assert call["method"] == "image_to_audio"
    assert len(call["given"][0]) == call["batch_size"] == 3
    assert (list(call["seeds"]), call["guidance"], "steps" in call) == ([7, 8, 9], 2.0, False)
    assert (task.suffixes, task.details) == ([".wav", ".mp4"], {"source": "a.png"})


def test_a_sound_goes_on_from_its_end(sound: Upload) -> None:
    keep = 0.1
    call = asked(tasks.continue_task(LAYOUT, Options(), None, sound, keep))
    wave, rate = call["audio"]
    kept = round(keep * rate)
    whole = read_audio(sound.path, rate)
    assert len(wave) == LAYOUT.clip_samples
    assert (wave[:kept] == whole[-kept:]).all()
    assert not wave[kept:].any()
    assert call["audio_mask"] == [(keep, np.inf)]


def test_a_sound_shorter_than_what_is_to_be_kept_is_kept_whole() -> None:
    short = 0.25 * np.ones(100, np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, short, LAYOUT.sample_rate, format="WAV")
    buffer.seek(0)
    with stored(buffer, "short.wav") as upload:
        call = asked(tasks.continue_task(LAYOUT, Options(), None, upload, 0.2))
    assert call["audio_mask"] == [(100 / LAYOUT.sample_rate, np.inf)]
    assert np.count_nonzero(call["audio"][0]) == 100


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 1.0])
def test_a_share_of_the_tokens_is_varied(picture: Upload, sound: Upload, share: float) -> None:
    masks = []
    for seed in (0, 0, 1):
        call = asked(tasks.vary_task(LAYOUT, Options(seed=seed), picture, sound, "both", share))
        image, audio = image_places(call["image_mask"], LAYOUT), audio_places(call["audio_mask"], LAYOUT)
        assert image.sum() == max(1, round(share * LAYOUT.image_tokens))
        columns = LAYOUT.audio_grid[1]
        assert audio.reshape(LAYOUT.audio_grid)[0].sum() == max(1, round(share * columns))
        masks.append(image)
    assert (masks[0] == masks[1]).all()
    assert share == 1 or (masks[0] != masks[2]).any()


@pytest.mark.parametrize(
    ("side", "given", "suffixes"),
    [
        ("picture", {"sound"}, [".png", ".mp4"]),
        ("sound", {"picture"}, [".wav", ".mp4"]),
        ("both", set(), [".png", ".wav", ".mp4"]),
    ],
)
def test_no_file_is_made_of_what_comes_back_as_it_was(
    picture: Upload, sound: Upload, side: Any, given: set[str], suffixes: list[str]
) -> None:
    task = tasks.vary_task(LAYOUT, Options(), picture, sound, side, 0.5)
    assert (set(task.given), task.suffixes) == (given, suffixes)


def test_a_mask_of_nothing_is_no_mask(picture: Upload) -> None:
    with pytest.raises(EchoesError, match="Nothing is marked"):
        tasks.fill_task(LAYOUT, Options(), picture, None, np.zeros((4, 4), bool), None)


def test_a_stretch_outside_of_the_sound_is_no_mark(sound: Upload) -> None:
    with pytest.raises(EchoesError, match="Nothing is marked"):
        tasks.fill_task(LAYOUT, Options(), None, sound, None, (1000.0, 2000.0))


def test_reading_is_over_when_a_task_is_made(echoes: VisualEchoes, picture: Upload) -> None:
    task = tasks.sound_task(LAYOUT, Options(steps=1), picture)
    picture.path.write_bytes(b"")
    assert task.make(echoes, lambda *_: None).audio is not None
