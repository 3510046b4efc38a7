"""Onsets are found where something begins to sound, at any level, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from visual_echoes.metrics.onsets import find_onsets, gather

TIMES = (0.5, 1.2345, 2.0)  # seconds
SECONDS = 3.0


def clicks(seconds_N: np.ndarray, time: float) -> np.ndarray:
    return (np.arange(len(seconds_N)) == np.searchsorted(seconds_N, time)).astype(np.float64)


def soft_tones(seconds_N: np.ndarray, time: float) -> np.ndarray:
    """Attacks of 40 ms, decays of a tenth of a second."""
    after_N = seconds_N - time
    level_N = np.clip(after_N / 0.04, 0, 1) * np.exp(-np.maximum(after_N, 0) / 0.1)
    return np.sin(2 * np.pi * 440 * seconds_N) * level_N


def bursts(seconds_N: np.ndarray, time: float) -> np.ndarray:
    noise_N = np.random.default_rng(0).uniform(-1, 1, len(seconds_N))
    return noise_N * ((seconds_N >= time) & (seconds_N < time + 0.2))


@pytest.mark.parametrize("level", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("sound", [clicks, soft_tones, bursts])
def test_onsets_are_where_sounds_begin(
    sound: Callable[[np.ndarray, float], np.ndarray], rate: int, level: float
) -> None:
    seconds_N = np.arange(round(SECONDS * rate)) / rate
    wave_N = level * sum(sound(seconds_N, time) for time in TIMES)
    assert gather(find_onsets(wave_N, rate)) == pytest.approx(TIMES, abs=0.01)


def test_a_quieter_sound_is_found_beside_a_loud_one() -> None:
    seconds_N = np.arange(48_000) / 16_000
    wave_N = bursts(seconds_N, 0.5) + 0.1 * bursts(seconds_N, 1.5) + 0.001 * np.sin(2 * np.pi * 50 * seconds_N)
    assert gather(find_onsets(wave_N, 16_000)) == pytest.approx([0.5, 1.5], abs=0.01)


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_has_none(level: float) -> None:
    assert find_onsets(level * bursts(np.arange(16_000) / 16_000, 0.2), 16_000) == []


@pytest.mark.parametrize("steady", ["tone", "noise", "glide"])
def test_what_goes_on_has_none(steady: str) -> None:
    """Nor has what sounds from the first sample on."""
    seconds_N = np.arange(48_000) / 16_000
    waves = {
        "tone": np.sin(2 * np.pi * 300 * seconds_N),
        "noise": 0.3 * np.random.default_rng(1).standard_normal(len(seconds_N)),
        "glide": np.sin(2 * np.pi * (300 * seconds_N + 50 * seconds_N**2)),
    }
    assert find_onsets(waves[steady], 16_000) == []


@pytest.mark.parametrize("samples", [0, 1, 10, 500])
def test_short_sounds_are_taken(samples: int) -> None:
    assert len(find_onsets(np.ones(samples), 16_000)) <= 1


def test_events_begin_with_the_first_of_their_onsets() -> None:
    assert gather([0.9, 0.0, 0.3, 0.5, 0.6], 0.5) == [0.0, 0.5]
    assert gather([0.1, 0.2], 0.0) == [0.1, 0.2]
    assert gather([]) == []
