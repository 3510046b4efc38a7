"""Sounds of any length: windows cover them, continue one another, and are joined without a seam."""

from __future__ import annotations

from itertools import cycle, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from visual_echoes import EchoesError, VisualEchoes
from visual_echoes.layout import Layout, get_layout
from visual_echoes.model.sampling import generate
from visual_echoes.streams import by_name
from visual_echoes.windows import (
    _continued,
    column,
    crossfade,
    known_columns,
    long_sound,
    plan_windows,
    window_seed,
)

LAYOUT = tiny.LAYOUT
SCENES = get_layout("scenes")
RATE = SCENES.sample_rate


@given(st.integers(1, 40 * RATE), st.lists(st.floats(0, 40), max_size=5))
def test_windows_cover_the_sound_and_none_is_needless(samples: int, cuts: list[float]) -> None:
    windows = plan_windows(SCENES, samples, cuts)
    assert windows[0].first == 0
    assert not windows[0].continues
    assert windows[-1].until == samples
    for before, after in pairwise(windows):
        if after.continues:
            assert after.until == before.until
            assert before.first + SCENES.samples - after.first == known_columns(SCENES) * column(SCENES)
        else:
            assert after.first == before.until
    for window in windows:
        assert window.first < window.until
        assert 0 <= window.middle(SCENES) * RATE <= samples
    last = [w for w, after in zip(windows, [*windows[1:], None], strict=True) if after is None or not after.continues]
    assert all(window.first + SCENES.samples >= window.until for window in last)


def test_a_cut_starts_a_window_unless_another_was_shortly_before() -> None:
    windows = plan_windows(SCENES, 20 * RATE, [4.0, 4.3, 12.5, 19.9])
    assert [window.first for window in windows if not window.continues] == [0, 4 * RATE, round(12.5 * RATE)]


def test_a_window_s_image_is_that_in_the_middle_of_what_it_adds() -> None:
    first, second, *_ = plan_windows(SCENES, 20 * RATE, [8.0])
    assert first.middle(SCENES) == pytest.approx(SCENES.samples / RATE / 2)
    begins = SCENES.samples / RATE
    assert second.middle(SCENES) == pytest.approx((begins + 8.0) / 2)


def test_a_continuing_window_is_given_the_last_columns() -> None:
    rows, columns = LAYOUT.audio_grid
    before = torch.arange(LAYOUT.audio_tokens)[None, :, None]
    tokens, masked = _continued(LAYOUT, by_name(LAYOUT.streams)["audio"], before)
    known = known_columns(LAYOUT)
    grid, hidden = (t.view(rows, columns) for t in (tokens, masked))
    assert torch.equal(grid[:, :known], before.view(rows, columns)[:, -known:])
    assert not hidden[:, :known].any()
    assert hidden[:, known:].all()


@pytest.mark.parametrize("layout", [SCENES, get_layout("digits-in-time")])
def test_a_continuing_window_is_given_what_the_last_columns_mean(layout: Layout) -> None:
    known = 3  # of 0.48 s in 1.28 s, or of 0.25 s in 0.75 s
    stream = by_name(layout.streams)["audio_semantic"]
    before = torch.arange(stream.positions)[None, :, None]
    tokens, masked = _continued(layout, stream, before)
    assert torch.equal(tokens[0, :known], before[0, -known:])
    assert not masked[0, :known].any()
    # Frames say what happens next; for a still, what is heard goes on.
    assert masked[0, known:].all() if layout.frames > 1 else not masked.any()


def image(level: int) -> np.ndarray:
    return np.full((LAYOUT.image_size, LAYOUT.image_size), level, np.uint8)


@pytest.mark.parametrize("seconds", [0.001, 0.2, 1.0, 2.345])
def test_the_sound_is_as_long_as_asked_for_and_repeats_with_its_seed(echoes: VisualEchoes, seconds: float) -> None:
    samples = max(1, round(seconds * LAYOUT.sample_rate))
    windows = plan_windows(LAYOUT, samples, [seconds / 2])
    seen: list[tuple[int, int]] = []

    def make(seed: int) -> np.ndarray:
        images = [image(20 * number) for number in range(len(windows))]
        report = lambda *done: seen.append(done)  # noqa: E731
        return np.concatenate(list(long_sound(echoes, windows, images, samples, seed=seed, report=report, steps=2)))

    one, again, other = make(3), make(3), make(4)
    assert one.shape == (samples,)
    assert one.dtype == np.float32
    assert np.array_equal(one, again)
    assert samples < 10 or not np.array_equal(one, other)
    assert seen[: len(windows)] == [(number + 1, len(windows)) for number in range(len(windows))]


def test_a_single_window_is_the_sound_of_its_image(echoes: VisualEchoes) -> None:
    [window] = plan_windows(LAYOUT, LAYOUT.samples)
    [block] = long_sound(echoes, [window], [image(99)], LAYOUT.samples, seed=5)
    assert np.array_equal(block, echoes.image_to_audio([image(99)], seed=5).audio[0])


def test_what_continues_keeps_its_gain_and_what_starts_has_its_own(
    echoes: VisualEchoes, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = 12 * LAYOUT.samples
    windows = plan_windows(LAYOUT, samples, [samples / 2 / LAYOUT.sample_rate])
    assert [window.continues for window in windows[:3]] == [False, True, True]
    again = next(number for number, window in enumerate(windows) if number and not window.continues)
    levels = [0.35, 0.2, 0.8, *[0.1] * len(windows)]  # with 0.7 for the first one, the third would be 1.6
    coming, heard = cycle(levels), list[float]()
    monkeypatch.setattr(echoes.codec, "vocode", lambda _: np.full((1, LAYOUT.samples), next(coming), np.float32))
    images = [image(9)] * len(windows)
    hear = lambda _, wave: heard.append(float(wave.max()))  # noqa: E731
    list(long_sound(echoes, windows, images, samples, seed=0, steps=1, hear=hear))
    assert LAYOUT.peak == 0.7
    assert heard[:3] == pytest.approx([0.7, 0.4, 1.0])
    assert heard[again] == pytest.approx(0.7)


def test_the_best_of_some_candidates_is_kept_window_by_window(echoes: VisualEchoes) -> None:
    samples = 3 * LAYOUT.samples
    windows = plan_windows(LAYOUT, samples)
    images = [image(60 * number) for number in range(len(windows))]

    def make(best_of: int) -> np.ndarray:
        return np.concatenate(list(long_sound(echoes, windows, images, samples, seed=1, steps=2, best_of=best_of)))

    assert not np.array_equal(make(1), make(6))
    assert np.array_equal(make(6), make(6))
    [block] = long_sound(echoes, windows[:1], images[:1], 1000, seed=1, steps=2, best_of=6)
    assert np.array_equal(block, echoes.image_to_audio(images[:1], seed=1, steps=2, best_of=6).audio[0, :1000])


def test_what_cannot_be_made_is_said(echoes: VisualEchoes) -> None:
    windows = plan_windows(LAYOUT, 3 * LAYOUT.samples)
    with pytest.raises(EchoesError, match="windows but only 1 images"):
        list(long_sound(echoes, windows, [image(1)], LAYOUT.samples))
    with pytest.raises(EchoesError, match="cannot be -1"):
        list(long_sound(echoes, windows, [], 10, steps=-1))
    with pytest.raises(EchoesError, match="Seeds must lie"):
        list(long_sound(echoes, windows, [], 10, seed=-1))
    with pytest.raises(EchoesError, match="at least one sample"):
        plan_windows(LAYOUT, 0)


def test_equal_sounds_fade_into_themselves_and_others_keep_their_level() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 8000)).astype(np.float32)
    np.testing.assert_allclose(crossfade(noise[0], noise[0]), noise[0], atol=1e-6)
    faded = crossfade(noise[0], noise[1])
    power = np.square(faded).reshape(8, -1).mean(1)
    np.testing.assert_allclose(10 * np.log10(power / 0.01), 0.0, atol=0.7)
    assert np.array_equal(crossfade(np.zeros(5, np.float32), np.zeros(5, np.float32)), np.zeros(5, np.float32))
    assert crossfade(noise[0, :0], noise[1, :0]).shape == (0,)


def test_what_a_window_is_taken_for_holds_for_those_that_continue_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = VisualEchoes(tiny.model_with_meaning(), torch.device("cpu"))
    layout = model.layout
    windows = plan_windows(layout, 6 * layout.samples)
    given: list[tuple[bool, int]] = []

    def spied(score: Any, streams: Any, tokens: Any, masked: Any, *rest: Any) -> Any:
        made = generate(score, streams, tokens, masked, *rest)
        given.append((bool(masked["label"].any()), int(made["label"])))
        return made

    monkeypatch.setattr("visual_echoes.model.candidates.generate", spied)
    images = [image(30 * number) for number in range(len(windows))]
    list(long_sound(model, windows, images, 6 * layout.samples, steps=2))
    assert [hidden for hidden, _ in given] == [True] + [False] * (len(windows) - 1)
    assert len({label for _, label in given}) == 1


def test_every_window_is_drawn_with_noise_of_its_own() -> None:
    noise = [torch.rand(4, generator=torch.Generator().manual_seed(window_seed(5, number))) for number in range(8)]
    assert len({tuple(row.tolist()) for row in noise}) == 8
    assert window_seed(5, 0) == 5
