"""Matching is the best there is, and the rates are those of a count by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_echoes.data.events import Event
from visual_echoes.metrics.timing import Count, in_order, match, match_classes, median_offset, rates


def events(*times: float, labels: str = "") -> list[Event]:
    return [Event(time, label) for time, label in itertools.zip_longest(times, labels)]


def test_a_pair_is_near_enough() -> None:
    assert len(match(events(0.62), events(0.52), 0.1)) == 1
    assert match(events(0.6201), events(0.52), 0.1) == []
    assert match([], events(1.0)) == match(events(1.0), []) == []


def test_no_event_is_in_two_pairs() -> None:
    assert len(match(events(1.0, 1.01, 1.02), events(1.0))) == 1


def test_the_nearest_is_not_taken_where_that_costs_a_pair() -> None:
    """0.10 is nearest to 0.08, but then 0.16 has nothing left."""
    pairs = match(events(0.10, 0.16), events(0.02, 0.08), 0.1)
    assert [(pair.found.time, pair.true.time) for pair in pairs] == [(0.10, 0.02), (0.16, 0.08)]


def test_of_as_many_pairs_the_nearest_are_taken() -> None:
    assert match(events(0.05), events(0.0, 0.06))[0].true.time == 0.06
    assert match(events(0.0, 0.06), events(0.05))[0].found.time == 0.06


TIMES = st.lists(st.integers(0, 40), max_size=5)


@given(found=TIMES, true=TIMES)
@settings(max_examples=200, deadline=None)
def test_it_is_the_best_of_all_matchings(found: list[int], true: list[int]) -> None:
    pairs = match(events(*(time / 10 for time in found)), events(*(time / 10 for time in true)), 0.7)
    few, many = sorted((found, true), key=len)
    best = max(
        (len(apart), -sum(apart))
        for order in itertools.permutations(many, len(few))
        for apart in [[abs(one - other) for one, other in zip(few, order, strict=True) if abs(one - other) <= 7]]
    )
    assert len(pairs) == best[0]
    assert sum(abs(pair.offset) for pair in pairs) == pytest.approx(-best[1] / 10)


def test_classes_must_agree_too() -> None:
    found, true = events(0.5, 1.0, 2.0, labels="372"), events(0.52, 1.04, 2.0, labels="371")
    assert [pair.true.label for pair in match_classes(found, true)] == ["3", "7"]
    assert match_classes(events(0.5), events(0.5)) == []
    # The nearest event is of another class; the right one is still near enough.
    assert len(match_classes(events(0.5, 0.58, labels="12"), events(0.5, labels="2"))) == 1


def test_order_is_that_of_the_classes_alone() -> None:
    assert in_order(events(9.0, 0.1, labels="21"), events(1.0, 2.0, labels="12"))
    assert not in_order(events(0.1, 0.2, labels="21"), events(0.1, 0.2, labels="12"))
    assert not in_order(events(0.1, labels="1"), events(0.1, 0.2, labels="12"))


def test_rates_are_of_all_events_together() -> None:
    found = rates([Count(2, 3, 2), Count(1, 1, 3), Count(0, 0, 0)])
    assert (found.precision, found.recall, found.f1) == pytest.approx((3 / 4, 3 / 5, 6 / 9))
    low, high = found.interval
    assert low < found.f1 < high
    assert rates([Count(2, 2, 2)] * 5).interval == (1.0, 1.0)
    nothing = rates([Count(0, 0, 2), Count(0, 0, 1)])
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.interval) == (0, 0, 0, (0, 0))


def test_the_offset_is_that_of_the_pair_in_the_middle() -> None:
    pairs = match(events(1.01, 2.95, 4.0), events(1.0, 3.0, 4.0))
    assert median_offset(pairs) == pytest.approx(0.01)
