"""What forms take, and what their tasks start from: what is kept, what is inpainted, what comes back as it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi import UploadFile

import tiny
from app.conftest import png, sent
from visual_echoes import EchoesError, SamplingSettings
from visual_echoes.app.forms import (
    ContinueForm,
    FillForm,
    PaintedForm,
    PairForm,
    SoundForm,
    VaryForm,
)
from visual_echoes.app.limits import MAX_CANDIDATES, MAX_STEPS
from visual_echoes.app.tasks import Task
from visual_echoes.media import read_audio
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.regions import audio_positions, image_positions

LAYOUT = tiny.LAYOUT


class Recorder:
    """Stands for a model and remembers what it was asked."""

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **asked: {"method": name, "given": given, **asked}


def asked(task: Task) -> dict[str, Any]:
    return task.make(Recorder(), lambda *_: None)  # type: ignore[arg-type, return-value]


@pytest.fixture
def image() -> UploadFile:
    return sent(png(), "a.png")


@pytest.fixture
def sound(wav: bytes) -> UploadFile:
    return sent(wav, "a.wav")


def test_all_variants_are_made_in_one_batch(image: UploadFile) -> None:
    task = SoundForm(count=3, seed=7, guidance=2.0, image=image).task(LAYOUT)
    call = asked(task)
    assert call["method"] == "image_to_audio"
    assert len(call["given"][0]) == call["batch_size"] == 3
    assert (list(call["seeds"]), call["guidance"], "steps" in call) == ([7, 8, 9], 2.0, False)
    assert (task.suffixes, task.details) == ([".wav", ".mp4"], {"source": "a.png"})


def test_a_sound_goes_on_from_its_end(wav: bytes, tmp_path: Path) -> None:
    keep = 0.1
    (tmp_path / "a.wav").write_bytes(wav)
    call = asked(ContinueForm(sound=sent(wav, "a.wav"), keep=keep).task(LAYOUT))
    wave, rate = call["audio"]
    kept = round(keep * rate)
    whole = read_audio(tmp_path / "a.wav", rate)
    assert len(wave) == LAYOUT.clip_samples
    assert (wave[:kept] == whole[-kept:]).all()
    assert not wave[kept:].any()
    assert call["audio_mask"] == [(keep, np.inf)]


def test_a_sound_shorter_than_what_is_to_be_kept_is_kept_whole() -> None:
    short = 0.25 * np.ones(100, np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, short, LAYOUT.sample_rate, format="WAV")
    call = asked(ContinueForm(sound=sent(buffer.getvalue(), "short.wav"), keep=0.2).task(LAYOUT))
    assert call["audio_mask"] == [(100 / LAYOUT.sample_rate, np.inf)]
    assert np.count_nonzero(call["audio"][0]) == 100


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 1.0])
def test_a_share_of_the_tokens_is_varied(image: UploadFile, sound: UploadFile, share: float) -> None:
    masks = []
    for seed in (0, 0, 1):
        call = asked(VaryForm(seed=seed, image=image, sound=sound, share=share).task(LAYOUT))
        pixels, audio = image_positions(call["image_mask"], LAYOUT), audio_positions(call["audio_mask"], LAYOUT)
        assert pixels.sum() == max(1, round(share * LAYOUT.image_tokens))
        columns = LAYOUT.audio_grid[1]
        assert audio.reshape(LAYOUT.audio_grid)[0].sum() == max(1, round(share * columns))
        masks.append(pixels)
    assert (masks[0] == masks[1]).all()
    assert share == 1 or (masks[0] != masks[2]).any()


@pytest.mark.parametrize(
    ("side", "given", "suffixes"),
    [
        ("image", {"sound"}, [".png", ".mp4"]),
        ("sound", {"image"}, [".wav", ".mp4"]),
        ("both", set(), [".png", ".wav", ".mp4"]),
    ],
)
def test_no_file_is_made_of_what_comes_back_as_it_was(
    image: UploadFile, sound: UploadFile, side: Any, given: set[str], suffixes: list[str]
) -> None:
    task = VaryForm(image=image, sound=sound, side=side).task(LAYOUT)
    assert (set(task.given), task.suffixes) == (given, suffixes)


def test_a_mask_of_nothing_is_no_mask(image: UploadFile) -> None:
    with pytest.raises(EchoesError, match="Nothing is marked"):
        PaintedForm(image=image, painted=()).task(LAYOUT)


def test_a_stretch_outside_of_the_sound_is_no_mark(sound: UploadFile) -> None:
    with pytest.raises(EchoesError, match="Nothing is marked"):
        FillForm(sound=sound, start=1000.0, end=2000.0).task(LAYOUT)


def test_what_is_painted_is_filled(image: UploadFile) -> None:
    call = asked(PaintedForm(image=image, painted=(0, 3)).task(LAYOUT))
    assert image_positions(call["image_mask"], LAYOUT).nonzero().flatten().tolist() == [0, 3]


def test_reading_is_over_when_a_task_is_made(echoes: VisualEchoes, image: UploadFile) -> None:
    task = SoundForm(steps=1, image=image).task(LAYOUT)
    image.file.close()
    assert task.make(echoes, lambda *_: None).audio is not None


@pytest.mark.parametrize("name", SamplingSettings.model_fields)
def test_every_sampling_setting_is_a_field_that_may_be_left_out(name: str) -> None:
    own = SamplingSettings().model_dump()[name]
    assert PairForm.of(**{name: own}).sampling == {name: own}
    assert PairForm().sampling == {}
    with pytest.raises(EchoesError, match=f"The value of {name} cannot be used"):
        PairForm.of(**{name: "none"})


def test_a_request_has_fewer_steps_and_candidates_than_the_sampler_may_take() -> None:
    for name, most in {"steps": MAX_STEPS, "residual_steps": MAX_STEPS, "best_of": MAX_CANDIDATES}.items():
        PairForm.of(**{name: most})
        with pytest.raises(EchoesError, match=f"The value of {name} cannot be used"):
            PairForm.of(**{name: most + 1})


def test_former_names_are_read(image: UploadFile) -> None:
    assert SoundForm.of(picture=image).image is image
    assert VaryForm.of(picture=image, side="picture").side == "image"
    with pytest.raises(EchoesError, match="The value of picture cannot be used"):
        SoundForm.of(picture=image, image=image)


def test_a_sound_beside_frames_keeps_its_time() -> None:
    wave = np.zeros(500, np.float32)
    wave[100] = 0.5
    content = io.BytesIO()
    soundfile.write(content, wave, LAYOUT.sample_rate, format="WAV")
    form = FillForm(sound=sent(content.getvalue(), "a.wav"), start=0.1)
    asked_of_video, asked_of_still = (asked(form.task(layout))["audio"][0] for layout in (tiny.VIDEO_LAYOUT, LAYOUT))
    assert int(asked_of_video.argmax()) == 100
    assert int(asked_of_still.argmax()) > 100
