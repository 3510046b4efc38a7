"""Alarms are raised for what is wrong, once, and not for what is usual."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_echoes.errors import EchoesError
from visual_echoes.training.guards import WINDOW, Watch, check_finite


def alarms(watch: Watch, key: str, values: list[float], first: int = 0) -> list[tuple[int, str]]:
    return [(step, text) for step, value in enumerate(values, first) for text in watch.observe(step, {key: value})]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stops_the_run(value: float) -> None:
    with pytest.raises(EchoesError, match=r"The loss of 'model' is .* at step 7, .* items 3, 1, 4; .* is step 5\."):
        check_finite("loss of 'model'", value, 7, lambda: [3, 1, 4], 5)
    with pytest.raises(EchoesError, match="no checkpoint was written yet"):
        check_finite("loss", value, 7, list, None)
    check_finite("loss", 1e30, 7, lambda: pytest.fail("drawn without need"), None)


@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(0.001, 1))
def test_a_noisy_falling_loss_is_no_spike(seed: int, end: float, noise: float) -> None:
    chance = random.Random(seed)
    values = [end + 5 * math.exp(-step / 50) + noise * chance.uniform(-1, 1) for step in range(300)]
    assert alarms(Watch(), "loss/model", values) == []


@pytest.mark.parametrize(("key", "what"), [("loss/model", "loss"), ("gradient_norm/model", "gradient norm")])
def test_a_spike_is_told_once_a_window(key: str, what: str) -> None:
    values = [2.0 + 0.1 * (step % 3) for step in range(400)]
    for step in (50, 51, 60, 300):
        values[step] = 40.0
    found = alarms(Watch(), key, values)
    assert [step for step, _ in found] == [50, 300]
    assert found[0][1] == f"the {what} of model jumped to 40 from a median of 2.1"


def test_a_spike_among_the_first_steps_says_nothing() -> None:
    assert alarms(Watch(), "loss/model", [1.0] * 5 + [100.0] + [1.0] * 5) == []


def test_other_figures_are_not_watched() -> None:
    assert alarms(Watch(), "perplexity", [1.0] * 50 + [100.0]) == []


def test_a_discriminator_that_wins_is_told() -> None:
    fair = [0.9] * 150
    assert alarms(Watch(), "loss/discriminator", fair) == []
    found = alarms(Watch(), "loss/discriminator", fair + [0.01] * 300)
    assert len(found) == 3
    assert all("discriminator wins" in text for _, text in found)
    assert found[1][0] == found[0][0] + WINDOW


def test_a_restored_watch_goes_on_as_the_first() -> None:
    values = [2.0 + 0.1 * (step % 3) for step in range(100)] + [40.0] * 20
    first, second = Watch(), Watch()
    alarms(first, "loss/model", values[:105])
    second.restore(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    assert alarms(second, "loss/model", values[105:], 105) == alarms(first, "loss/model", values[105:], 105) == []
