"""Streams: grids of any rank, and coordinates that they share."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from model.toy import AUDIO, LABEL, STREAMS, VIDEO
from visual_echoes.streams import Stream, TimeAxis, by_name, coordinates, sine_cosine


def test_a_stream_knows_its_positions_and_levels() -> None:
    assert (VIDEO.positions, AUDIO.positions, LABEL.positions) == (12, 12, 1)
    assert AUDIO.levels == [("audio", 0), ("audio", 1), ("audio", 2)]


def test_a_time_axis_must_be_an_axis_of_the_stream() -> None:
    with pytest.raises(ValidationError, match="has no axis 1"):
        Stream(name="a", source="a", shape=(3,), codes=2, time=TimeAxis(axis=1, step=1.0))


def test_two_streams_cannot_bear_one_name() -> None:
    with pytest.raises(ValueError, match="same name"):
        by_name([LABEL, LABEL])


def test_positions_of_one_second_share_their_time_whatever_the_stream() -> None:
    found = coordinates(STREAMS)
    # Frames at 0.25, 0.75 and 1.25 s; the mel's columns every 0.25 s from 0.125 s on: frame 0 lies between two of them.
    video, audio = found["video"], found["audio"]
    assert video[:, 0].unique().tolist() == pytest.approx([1.0, 3.0, 5.0])
    assert audio[:, 0].reshape(2, 6)[1].tolist() == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    assert found["label"][0].isnan().tolist() == [True, False, True]


def test_axes_other_than_time_follow_in_their_order() -> None:
    found = coordinates(STREAMS)
    assert found["video"][:, 1:].tolist() == [[r, c] for _ in range(3) for r in range(2) for c in range(2)]
    assert found["audio"][:, 1].reshape(2, 6)[1].unique().tolist() == [1.0]
    assert found["audio"][:, 2].isnan().all()


def test_without_time_rows_and_columns_are_indices() -> None:
    image = Stream(name="image", source="image", shape=(2, 3), codes=2)
    assert coordinates([image])["image"].tolist() == [[r, c] for r in range(2) for c in range(3)]


def test_sines_and_cosines_leave_out_what_a_stream_lacks() -> None:
    waves = sine_cosine(torch.tensor([[2.0, torch.nan]]), 10)
    assert waves.shape == (1, 10)
    angles = torch.tensor([2.0, 0.02])
    assert waves[0, :4].tolist() == pytest.approx([*angles.sin().tolist(), *angles.cos().tolist()])
    assert waves[0, 4:].tolist() == [0.0] * 6
