"""Clips of digits in time: the truth says when what is seen and heard, and test speakers are heard nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.data.digits_in_time import (
    FIRST,
    GAP,
    LAST,
    MOST_EVENTS,
    Material,
    digits_at,
    draw_appearances,
    from_onset,
    make_clip,
    make_digits_in_time,
)
from visual_echoes.data.events import Event
from visual_echoes.data.manifest import Split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import DIGITS, get_layout
from visual_echoes.media import read_audio, read_frames_at
from visual_echoes.media.mp4 import FRAME_RATE

LAYOUT = get_layout("digits-in-time")
SOURCE = Path(__file__).parents[2] / "data" / "digits"
COUNTS: dict[Split, int] = {"train": 2, "valid": 1, "test": 2}


def material() -> Material:
    """Digit d is an image of the level 20 d + 40, and a word of 100 d + 800 samples of one."""
    images = {digit: torch.full((1, 1, 32, 32), 20 * digit + 40, dtype=torch.uint8) for digit in range(10)}
    words = {digit: [np.ones(100 * digit + 800, np.float32)] for digit in range(10)}
    return Material(images, {"anna": words})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("data") / "in-time"
    make_digits_in_time(SOURCE, target, LAYOUT, COUNTS, seed=0)
    return target


def test_every_digit_is_seen_and_heard_from_its_time_on() -> None:
    generator = tiny.generator(0)
    for _ in range(40):
        events, frames_FHWC, wave_N = make_clip(material(), LAYOUT, varied=False, generator=generator)
        levels = np.zeros(len(frames_FHWC), int)
        heard = np.zeros(len(wave_N), bool)
        for event in events:
            levels[round(event.time * FRAME_RATE) :] = 20 * int(event.label) + 40
            first = round(event.time * LAYOUT.sample_rate)
            heard[first : first + 100 * int(event.label) + 800] = True
        np.testing.assert_array_equal(frames_FHWC.mean((1, 2, 3)), levels)
        np.testing.assert_array_equal(wave_N > 0, heard)


def test_a_digit_is_to_be_seen_from_its_time_until_the_next() -> None:
    events = [Event(0.5, "3"), Event(1.5, "0")]
    seen = digits_at(events, np.array([0.0, 0.4, 0.6, 1.4, 1.6, 9.0]))
    assert [DIGITS[digit] for digit in seen] == ["nothing", "nothing", "3", "3", "0", "0"]


def test_times_leave_room_for_every_word_and_fall_on_frames() -> None:
    generator = tiny.generator(1)
    drawn = [draw_appearances(3.0, generator) for _ in range(300)]
    assert {len(times) for times in drawn} == set(range(1, MOST_EVENTS + 1))
    frame = 1 / FRAME_RATE
    for times in drawn:
        assert times[0] >= FIRST - frame
        assert times[-1] <= 3.0 - LAST + frame
        assert min(np.diff(times), default=GAP) >= GAP - frame
        assert all(abs(time * FRAME_RATE - round(time * FRAME_RATE)) < 1e-9 for time in times)


def test_a_word_begins_at_its_onset() -> None:
    wave = np.zeros(2000, np.float32)
    wave[400:900] = 0.5
    wave[:400] = 0.001  # noise of the room
    assert from_onset(wave, 8000).tolist() == [0.5] * 500 + [0.0] * 60


def test_files_say_what_the_truth_says(folder: Path) -> None:
    truth = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert (folder / "truth.jsonl").read_text().splitlines() == [json.dumps(clip) for clip in truth[-2:]]
    assert [clip["id"] for clip in truth] == ["train-00000", "train-00001", "valid-00000", "test-00000", "test-00001"]
    assert (folder / "splits.csv").read_text().splitlines()[1] == "train-00000,train"
    for clip in truth:
        path = folder / "clips" / f"{clip['id']}.mp4"
        wave = read_audio(path, LAYOUT.sample_rate)
        assert len(wave) == pytest.approx(LAYOUT.clip_samples, abs=100)
        for event in clip["events"]:
            before, after = read_frames_at(path, [event["time"] - 0.03, event["time"] + 0.03])
            assert np.abs(np.asarray(before, float) - np.asarray(after, float)).mean() > 5
            at = round(event["time"] * LAYOUT.sample_rate)
            assert np.abs(wave[at : at + 1600]).max() > 0.1
            assert np.abs(wave[at - 320 : at - 80]).max() < 0.1


def test_the_same_seed_makes_the_same_files(folder: Path, tmp_path: Path) -> None:
    make_digits_in_time(SOURCE, tmp_path / "again", LAYOUT, COUNTS, seed=0)
    make_digits_in_time(SOURCE, tmp_path / "other", LAYOUT, COUNTS, seed=1)
    for path in (folder / "clips").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "clips" / path.name).read_bytes()
    assert (folder / "truth.jsonl").read_text() != (tmp_path / "other" / "truth.jsonl").read_text()


def test_what_is_finished_is_not_written_over(folder: Path) -> None:
    with pytest.raises(EchoesError, match="made already"):
        make_digits_in_time(SOURCE, folder, LAYOUT, COUNTS, seed=0)
