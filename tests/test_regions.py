"""Masks over pixels and seconds become exactly the tokens they touch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout, get_layout
from visual_echoes.regions import audio_positions, enlarge, image_positions

DEBUG = get_layout("debug")


def touched_by_hand(mask: np.ndarray, tokens: int) -> list[list[bool]]:
    """Pixel by pixel: the token squares, laid over the centre square of the mask, that a set pixel overlaps."""
    side = min(mask.shape)
    top, left = (mask.shape[0] - side) // 2, (mask.shape[1] - side) // 2
    touched = [[False] * tokens for _ in range(tokens)]
    for row, column in np.argwhere(mask[top : top + side, left : left + side]).tolist():
        for r in range(row * tokens // side, math.ceil((row + 1) * tokens / side)):
            for c in range(column * tokens // side, math.ceil((column + 1) * tokens / side)):
                touched[r][c] = True
    return touched


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from((0.01, 0.1, 0.5)), st.integers(0, 999))
def test_image_masks_of_any_size(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    positions = image_positions(mask, DEBUG)
    assert positions.dtype == torch.bool
    assert positions.reshape(4, 4).tolist() == touched_by_hand(mask, 4)


def test_one_pixel_of_a_large_image_is_enough() -> None:
    mask = np.zeros((400, 700), np.uint8)
    mask[399, 150] = 1
    assert image_positions(mask, DEBUG).nonzero()[:, 0].tolist() == [12]


def test_what_lies_outside_the_centre_square_is_not_part_of_the_image() -> None:
    mask = np.zeros((10, 30), bool)
    mask[:, :10] = True
    assert not image_positions(mask, DEBUG).any()
    assert image_positions(np.ones((10, 30)), DEBUG).all()


def test_no_mask_touches_nothing() -> None:
    assert image_positions(None, DEBUG).tolist() == [False] * 16
    assert audio_positions((), DEBUG).tolist() == [False] * 16


@pytest.mark.parametrize("shape", [(4,), (4, 4, 3), (0, 4)])
def test_image_masks_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EchoesError, match="two-dimensional"):
        image_positions(np.ones(shape, bool), DEBUG)


def token_samples(layout: Layout) -> list[tuple[int, int]]:
    """First and last sample of each column of sound tokens."""
    length = layout.audio_factor[1] * layout.hop
    begin = layout.mel_offset * layout.hop
    return [(begin + column * length, begin + (column + 1) * length) for column in range(layout.audio_grid[1])]


@given(st.sampled_from(list(LAYOUTS.values())), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=3))
def test_sound_stretches(layout: Layout, shares: list[tuple[float, float]]) -> None:
    ordered = [sorted(round(share * layout.clip_samples) for share in pair) for pair in shares]
    samples = [(first, last) for first, last in ordered if first < last]
    expected = [any(a < end and b > begin for a, b in samples) for begin, end in token_samples(layout)]
    seconds = [(first / layout.sample_rate, last / layout.sample_rate) for first, last in samples]
    positions = audio_positions(seconds, layout).reshape(layout.audio_grid)
    assert positions.tolist() == [expected] * layout.audio_grid[0]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_stretch_of_exactly_one_token_touches_that_token_only(layout: Layout) -> None:
    for column, (begin, end) in enumerate(token_samples(layout)):
        positions = audio_positions([(begin / layout.sample_rate, end / layout.sample_rate)], layout)
        assert positions.reshape(layout.audio_grid)[0].nonzero()[:, 0].tolist() == [column]


def test_a_stretch_may_have_no_end() -> None:
    assert audio_positions([(0.13, math.inf)], DEBUG).reshape(4, 4)[0].tolist() == [False, False, True, True]
    assert audio_positions([(-math.inf, math.inf)], DEBUG).all()


@pytest.mark.parametrize("stretch", [(0.2, 0.2), (0.3, 0.1), (math.nan, 1.0)])
def test_empty_stretches_are_refused(stretch: tuple[float, float]) -> None:
    with pytest.raises(EchoesError, match=r"from.*to"):
        audio_positions([stretch], DEBUG)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_enlarge(batch: int, rows: int, columns: int, down: int, across: int) -> None:
    mask = torch.rand(batch, rows, columns, generator=torch.Generator().manual_seed(0)) < 0.5
    large = enlarge(mask, (down, across))
    assert large.shape == (batch, rows * down, columns * across)
    for row in range(rows * down):
        for column in range(columns * across):
            assert torch.equal(large[:, row, column], mask[:, row // down, column // across])


VIDEO = replace(DEBUG, name="video", frames=4)


def test_a_mask_of_a_video_is_that_of_every_frame() -> None:
    mask = np.zeros((16, 16), bool)
    mask[0, 0] = True
    positions = image_positions(mask, VIDEO).unflatten(0, (4, 4, 4))
    assert positions.nonzero().tolist() == [[frame, 0, 0] for frame in range(4)]
    assert not image_positions(None, VIDEO).any()


def test_stretches_touch_the_frames_shown_then_as_far_as_the_mask_reaches() -> None:
    first = VIDEO.sound_start
    step = VIDEO.frame_seconds
    second = [(first + step, first + 2 * step)]
    assert image_positions(None, VIDEO, second).unflatten(0, (4, 16)).any(1).tolist() == [False, True, False, False]
    late = [(first + 2.5 * step, math.inf)]
    assert image_positions(None, VIDEO, late).unflatten(0, (4, 16)).all(1).tolist() == [False, False, True, True]
    mask = np.zeros((16, 16), bool)
    mask[15, 15] = True
    assert image_positions(mask, VIDEO, second).nonzero()[:, 0].tolist() == [31]


def test_a_still_image_has_no_stretches_and_no_stretch_is_empty() -> None:
    with pytest.raises(EchoesError, match="still images"):
        image_positions(None, DEBUG, [(0.0, 0.1)])
    with pytest.raises(EchoesError, match="empty"):
        image_positions(None, VIDEO, [(0.1, 0.1)])
