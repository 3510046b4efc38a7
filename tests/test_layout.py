"""Every length follows from the layout, and values that make no layout are refused."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout, get_layout
from visual_echoes.streams import coordinates
from visual_echoes.tokenizers.semantic import AudioSemanticConfig

PAPER = LAYOUTS["paper"]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    image_factor, mel_factor, frame_factor = (draw(st.integers(1, 32)) for _ in range(3))
    sample_rate, hop, trim = draw(st.integers(1_000, 48_000)), draw(st.integers(1, 512)), draw(st.integers(1, 3))
    seconds = draw(st.floats(0.01, 12.0))
    assume(round(seconds * sample_rate) // hop + 1 - trim >= frame_factor)
    return Layout(
        name="any", image_size=image_factor * draw(st.integers(1, 40)), image_channels=draw(st.sampled_from((1, 3))),
        image_factor=image_factor, image_codes=draw(st.integers(1, 2000)), sample_rate=sample_rate, seconds=seconds,
        n_fft=1024, hop=hop, n_mels=mel_factor * draw(st.integers(1, 8)), fmin=40.0, fmax=sample_rate / 2,
        trim_frames=trim, audio_factor=(mel_factor, frame_factor), audio_codes=draw(st.integers(1, 2000)),
    )  # fmt: skip


def test_the_paper_layout_has_the_paper_lengths() -> None:
    paper = get_layout("paper")
    assert (paper.image_grid, paper.audio_grid) == ((16, 16), (5, 53))
    assert (paper.image_tokens, paper.audio_tokens, paper.tokens) == (256, 265, 521)
    assert (paper.clip_samples, paper.raw_frames, paper.mel_frames, paper.mel_offset) == (220_500, 860, 848, 6)
    assert paper.samples == 217_088


@given(layouts())
def test_lengths_agree(layout: Layout) -> None:
    rows, columns = layout.audio_grid
    assert rows * layout.audio_factor[0] == layout.n_mels
    assert columns * layout.audio_factor[1] == layout.mel_frames
    assert layout.image_grid[0] * layout.image_factor == layout.image_size
    assert layout.tokens == math.prod(layout.image_grid) + rows * columns == layout.image_tokens + layout.audio_tokens
    assert layout.samples == layout.mel_frames * layout.hop
    # The crop is the longest the tokenizer divides, lies in the middle, and within the clip.
    assert 0 <= layout.raw_frames - layout.mel_frames < layout.audio_factor[1]
    assert layout.raw_frames - layout.mel_frames - 2 * layout.mel_offset in (0, 1)
    assert layout.mel_offset * layout.hop + layout.samples <= layout.clip_samples


@given(layouts())
def test_dictionary_round_trip(layout: Layout) -> None:
    assert Layout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout


@pytest.mark.parametrize("name", LAYOUTS)
def test_known_layouts_round_trip_by_name(name: str) -> None:
    assert Layout.from_dict(json.loads(json.dumps(get_layout(name).to_dict()))) == get_layout(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 18},
        {"image_size": -16},
        {"image_size": 16.0},
        {"image_factor": 0},
        {"image_channels": 2},
        {"image_codes": 0},
        {"n_mels": 18},
        {"n_fft": 0},
        {"hop": 0},
        {"hop": -64},
        {"trim_frames": 0},
        {"audio_factor": [0, 8]},
        {"audio_factor": [4, -8]},
        {"audio_factor": [4]},
        {"audio_codes": -1},
        {"sample_rate": 0},
        {"seconds": 0.0},
        {"hop": 129},
        {"seconds": 0.01},
        {"seconds": math.inf},
        {"seconds": math.nan},
        {"seconds": "long"},
        {"fmin": -1.0},
        {"fmin": 3950.0},
        {"fmax": 4001.0},
        {"mel_floor": 0.0},
        {"mel_floor": 10.0},
        {"mel_ceiling": math.inf},
        {"peak": 0.0},
        {"peak": 1.5},
        {"colour": "red"},
    ],
)
def test_values_that_make_no_layout_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Layout.from_dict({**get_layout("debug").to_dict(), **changes})


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(EchoesError, match=r"'papr'.*paper.*digits"):
        get_layout("papr")


def test_layouts_agree_about_what_they_share() -> None:
    louder = dataclasses.replace(PAPER, name="louder", peak=0.5, audio_codes=128)
    assert not PAPER.differences(louder, "image")
    assert PAPER.differences(louder, "audio")
    assert PAPER.differences(louder, "mel") == ["peak"]
    assert PAPER.differences(louder, "all")
    assert not PAPER.differences(dataclasses.replace(PAPER, name="x", audio_codes=128, seconds=3.0), "mel")
    assert not PAPER.differences(dataclasses.replace(PAPER, name="x"), "all")
    for field in dataclasses.fields(PAPER):
        if field.name != "name":
            different = dataclasses.replace(PAPER)
            object.__setattr__(different, field.name, object())
            assert PAPER.differences(different, "all"), field.name


def test_joined_takes_images_from_one_and_sounds_from_the_other() -> None:
    digits = LAYOUTS["digits"]
    joined = PAPER.joined(digits)
    assert not joined.differences(PAPER, "image")
    assert not joined.differences(digits, "audio")
    assert joined.name == "paper"


def test_frames_have_their_times_in_the_middle_of_equal_parts() -> None:
    layout = get_layout("digits-in-time")
    image, audio, label, heard = layout.streams
    assert image.shape == (16, 4, 4)
    assert audio.shape == (4, 24)
    assert layout.frame_times == pytest.approx([3.0 * (number + 0.5) / 16 for number in range(16)])
    where = coordinates(layout.streams)
    seconds = {name: where_PA[:, 0] * 0.125 for name, where_PA in where.items()}
    assert seconds["image"].unique().tolist() == pytest.approx(list(layout.frame_times))
    assert seconds["label"].tolist() == pytest.approx(list(layout.frame_times))
    assert label.shape == (16,)
    assert seconds["audio"].unique().tolist() == pytest.approx([0.0625 + 0.125 * column for column in range(24)])
    assert seconds["audio_semantic"].tolist() == pytest.approx([0.125 + 0.25 * position for position in range(12)])
    assert AudioSemanticConfig(codes=heard.codes, patch=16, hop=16).positions(layout.mel_frames) == heard.positions


def test_a_layout_of_one_frame_is_stored_as_it_was_before_there_were_videos() -> None:
    assert "frames" not in get_layout("digits").to_dict()
    stored = get_layout("digits-in-time").to_dict()
    assert stored["frames"] == 16
    assert Layout.from_dict(stored) == get_layout("digits-in-time")


def test_the_length_of_sounds_matters_to_models_and_not_to_their_tokenizers() -> None:
    still, video = get_layout("digits"), get_layout("digits-in-time")
    for about in ("image", "mel", "cells"):
        assert not still.differences(video, about)
    for about in ("audio", "all"):
        assert still.differences(video, about)
