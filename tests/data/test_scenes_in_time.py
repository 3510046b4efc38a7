"""Clips of scenes in time: what is seen and heard changes at the cuts, to another kind, and splits stay apart."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.data.pairs import PairSplit, write_description, write_split
from visual_echoes.data.scenes_in_time import (
    CUTS,
    FADE,
    NEEDED,
    PAUSE,
    PEAK,
    SECONDS,
    SHORTEST,
    draw_cuts,
    make_clip,
    make_scenes_in_time,
    read_material,
)
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media import read_audio, read_frames_at
from visual_echoes.media.mp4 import FRAME_RATE

LAYOUT = replace(tiny.LAYOUT, image_channels=3, seconds=5.12)
KINDS = ("bell", "dog", "rain")
COUNTS: dict[Split, int] = {"train": 1, "valid": 1, "test": 1}
LEAD = 800  # samples before the onset
TONES = (300, 700, 1500)  # Hz, by kind
LEVELS = {"train": 40, "valid": 80, "test": 120}  # of the images, to tell the splits by


def write_data(folder: Path, layout: Layout = LAYOUT, kinds: int = len(KINDS)) -> Path:
    """Images of one colour and tones of one frequency for each kind."""
    folder.mkdir(exist_ok=True)
    for split in SPLITS:
        groups, side = torch.arange(kinds), layout.image_size
        images = torch.zeros(kinds, 3, side, side, dtype=torch.uint8)
        images[groups, groups] = LEVELS[split]
        time_N = torch.arange(layout.clip_samples) / layout.sample_rate
        sounds = torch.sin(2 * torch.pi * torch.tensor(TONES[:kinds])[:, None] * time_N) * 0.3
        sounds[:, :LEAD] = 0
        write_split(folder, split, PairSplit(images, groups, (sounds * 32767).to(torch.int16), groups.clone()))
    write_description(folder, layout, list(KINDS[:kinds]), {})
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def made(data: Path) -> Path:
    target = data.with_name(f"{data.name}-in-time")
    make_scenes_in_time(data, target, LAYOUT, COUNTS, seed=0)
    return target


def test_every_shot_is_seen_and_heard_as_its_kind_from_its_cut_on(data: Path) -> None:
    material, generator, rate = read_material(data, "valid", LAYOUT), tiny.generator(0), LAYOUT.sample_rate
    for _ in range(20):
        events, frames_FHWC, wave_N = make_clip(material, LAYOUT, generator)
        assert events[0].time == 0
        assert len(events) - 1 in CUTS
        for event, until in zip(events, [*(event.time for event in events[1:]), SECONDS], strict=True):
            kind, shown = KINDS.index(event.label or ""), np.zeros(3)
            shown[kind] = LEVELS["valid"]
            assert (frames_FHWC[round(event.time * FRAME_RATE) : round(until * FRAME_RATE)] == shown).all()
            first, end, fade = round(event.time * rate), round((until - PAUSE) * rate), round(FADE * rate)
            spectrum = np.abs(np.fft.rfft(wave_N[first:end]))
            assert spectrum.argmax() * rate / (end - first) == pytest.approx(
                TONES[KINDS.index(event.label or "")], abs=2
            )
            assert np.abs(wave_N[first : first + 10 * fade]).max() == pytest.approx(PEAK, rel=0.05)  # no lead is left
            assert np.abs(wave_N[[first, end - 1]]).max() < 0.05
            assert not wave_N[end : round(until * rate)].any()


def test_neighbouring_shots_are_of_different_kinds(data: Path) -> None:
    material, generator = read_material(data, "train", LAYOUT), tiny.generator(1)
    clips = [make_clip(material, LAYOUT, generator).events for _ in range(30)]
    assert all(first.label != second.label for events in clips for first, second in pairwise(events))
    assert {event.label for events in clips for event in events} == set(KINDS)


def test_no_shot_is_longer_than_a_sound_or_shorter_than_the_shortest() -> None:
    generator, frame = tiny.generator(2), 1 / FRAME_RATE
    shots = [np.diff([0.0, *draw_cuts(NEEDED, generator), SECONDS]) for _ in range(100)]
    assert {len(each) - 1 for each in shots} == set(CUTS)
    assert max(map(max, shots)) <= NEEDED
    assert min(map(min, shots)) >= SHORTEST - frame


def test_files_say_what_the_events_say(made: Path) -> None:
    clips = [json.loads(line) for line in (made / "events.jsonl").read_text().splitlines()]
    assert [clip["id"] for clip in clips] == ["train-00000", "valid-00000", "test-00000"]
    assert (made / "splits.csv").read_text().splitlines()[1:3] == ["train-00000,train", "valid-00000,valid"]
    for clip in clips:
        path, (first, *cuts) = made / "clips" / f"{clip['id']}.mp4", clip["events"]
        assert (clip["seconds"], first["time"]) == (SECONDS, 0)
        assert len(read_audio(path, LAYOUT.sample_rate)) == pytest.approx(SECONDS * LAYOUT.sample_rate, abs=100)
        for time, event in [(0.02, first), *((event["time"] + 0.02, event) for event in cuts)]:
            (frame,) = read_frames_at(path, [time])
            level = np.asarray(frame, float).mean((0, 1))
            assert level.argmax() == KINDS.index(event["label"])
            assert level.max() == pytest.approx(LEVELS[clip["id"].partition("-")[0]], abs=5)


def test_the_truth_has_the_cuts_of_the_test_clips_alone(made: Path) -> None:
    events, truth = (
        {clip["id"]: clip["events"] for clip in map(json.loads, (made / name).read_text().splitlines())}
        for name in ("events.jsonl", "truth.jsonl")
    )
    assert truth == {"test-00000": events["test-00000"][1:]}


def test_the_same_seed_makes_the_same_files(data: Path, made: Path, tmp_path: Path) -> None:
    for name, seed in (("again", 0), ("other", 1)):
        make_scenes_in_time(data, tmp_path / name, LAYOUT, COUNTS, seed)
    for path in (made / "clips").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "clips" / path.name).read_bytes()
    assert (made / "events.jsonl").read_text() != (tmp_path / "other" / "events.jsonl").read_text()


def test_what_is_finished_is_not_written_over(data: Path, made: Path) -> None:
    with pytest.raises(EchoesError, match="made already"):
        make_scenes_in_time(data, made, LAYOUT, COUNTS, seed=0)


@pytest.mark.parametrize(
    ("layout", "kinds"), [(LAYOUT, 1), (replace(LAYOUT, seconds=2.56), 3)], ids=["one kind", "short sounds"]
)
def test_too_little_data_is_refused_before_anything_is_written(tmp_path: Path, layout: Layout, kinds: int) -> None:
    folder = write_data(tmp_path / "prepared", layout, kinds)
    with pytest.raises(EchoesError, match=r"train split of .* has no sounds of 4 s of two kinds"):
        make_scenes_in_time(folder, tmp_path / "made", layout, COUNTS, seed=0)
    assert not (tmp_path / "made").exists()
