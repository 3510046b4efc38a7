"""What is said follows from figures and spread, also where nothing differs or the reference loses."""

from __future__ import annotations

import random

import pytest

from visual_echoes.evaluation.records import Figure
from visual_echoes.studies.findings import finding, margin
from visual_echoes.studies.plan import Chance, Experiment, Variant
from visual_echoes.studies.report import Row


def told(rows: dict[str, dict[str, tuple[float, ...]]], ranked: bool = True) -> str:
    """The finding on variants, the first of them the reference."""
    names = tuple(dict.fromkeys(name for figures in rows.values() for name in figures))
    plan = Experiment(
        "name", "question", tuple(Variant(label, Chance()) for label in rows), names, next(iter(rows)), ranked=ranked
    )
    found = [
        Row(label=label, x=None, series="", figures={name: Figure.of_seeds(values) for name, values in figures.items()})
        for label, figures in rows.items()
    ]
    return finding(plan, found)


def test_the_margin_is_student_s() -> None:
    # Two spreads of three seeds with deviation 1: t(0.975, 4) sqrt(2 / 3).
    pair = [Figure.of_seeds((1.0, 2.0, 3.0)), Figure.of_seeds((5.0, 6.0, 7.0))]
    assert margin(pair) == pytest.approx(2.7764 * (2 / 3) ** 0.5, rel=1e-4)
    # A figure that cannot vary, such as chance, has no part in the deviation, but is a comparison.
    assert margin([Figure.of_seeds((0.1, 0.1, 0.1)), *pair]) == pytest.approx(3.4954 * (2 / 3) ** 0.5, rel=1e-4)
    assert margin([Figure.of_seeds((0.1, 0.1)), Figure.of_seeds((0.2, 0.2))]) == 0.0


def test_the_best_of_many_that_only_differ_by_chance_is_hardly_ever_told_apart() -> None:
    noise, found = random.Random(0), 0
    for _ in range(100):
        rows = {str(row): {"sound_right": tuple(noise.gauss(0.5, 0.1) for _ in range(3))} for row in range(16)}
        found += "a difference beyond" in told(rows)
    assert found <= 10


def test_a_reference_that_wins() -> None:
    text = told({"paper": {"sound_right": (0.9, 0.92)}, "other": {"sound_right": (0.7, 0.72)}})
    assert "best is 'paper' with 0.910 ± 0.014, against 0.710 ± 0.014 of 'other', a difference beyond" in text
    assert text.endswith("The paper's choice, 'paper', wins in sounds classified right.")


def test_a_reference_that_loses_in_one_figure_and_wins_in_another() -> None:
    text = told(
        {
            "paper": {"sound_right": (0.5, 0.52), "sound_frechet": (1.0, 1.1)},
            "other": {"sound_right": (0.7, 0.72), "sound_frechet": (3.0, 3.1)},
        }
    )
    assert "does not win in sounds classified right but wins in Fréchet distance of sounds." in text


def test_no_difference_beyond_the_spread() -> None:
    text = told({"paper": {"sound_right": (0.5, 0.7)}, "other": {"sound_right": (0.55, 0.75)}})
    assert "best is 'other'" in text
    assert "no difference beyond the spread of seeds" in text
    assert text.endswith("is neither beaten nor ahead of all others beyond the spread of seeds.")


def test_one_seed_decides_nothing() -> None:
    text = told({"paper": {"sound_right": (0.5,)}, "other": {"sound_right": (0.9,)}})
    assert text == (
        "Sounds classified right: 'paper' 0.500, 'other' 0.900. One seed has no spread, so nothing follows from the "
        "differences."
    )


def test_unranked_variants_are_told_apart_from_the_reference() -> None:
    rows = {"real": (1.0, 1.01), "black": (0.1, 0.11), "noise": (2.0, 2.01), "letters": (1.0, 1.02)}
    text = told({label: {"information": values} for label, values in rows.items()}, ranked=False)
    assert text == (
        "What the image tells, nats a position, 1.005 ± 0.007 for 'real': higher for 'noise' (2.005 ± 0.007); "
        "lower for 'black' (0.105 ± 0.007); no different beyond the spread of seeds for 'letters' (1.010 ± 0.014)."
    )


def test_many_that_do_not_differ_are_counted() -> None:
    rows = {"real": (1.0, 1.02), "black": (0.1, 0.12)} | {str(row): (1.0, 1.02) for row in range(5)}
    text = told({label: {"information": values} for label, values in rows.items()}, ranked=False)
    assert text.endswith("lower for 'black' (0.110 ± 0.014); no different beyond the spread of seeds for 5 others.")


def test_what_only_some_variants_have_is_compared_among_them() -> None:
    text = told(
        {
            "both": {"sound_right": (0.5, 0.52), "image_right": (0.5, 0.52)},
            "sounds": {"sound_right": (0.7, 0.72)},
            "images": {"image_right": (0.3, 0.32)},
        }
    )
    assert "best is 'sounds'" in text
    assert "Images classified right: best is 'both'" in text
