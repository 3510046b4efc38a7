"""What an experiment found, as sentences that follow from its figures and their spread alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from statistics import fmean

from visual_echoes.evaluation.measures import FIGURES
from visual_echoes.evaluation.records import Figure, Measure
from visual_echoes.studies.plan import Experiment
from visual_echoes.studies.report import Row

CERTAINTY = 0.95
FEW = 4


def margin(spreads: Sequence[Figure]) -> float:
    """How far apart two of these must lie to differ beyond the spread of seeds; the first is what others are held to.

    Half the width of a 95 % interval of Student's t for a difference of two means, with the deviation that all spreads
    which have one share. The 5 % are divided by the number of comparisons (Bonferroni), since the best of many
    looks better than it is.
    """
    student = import_module("scipy.stats").t  # here: an extra
    seeds = len(spreads[0].per_seed)
    varied = [spread.deviation**2 for spread in spreads if spread.deviation > 0]
    if not varied:
        return 0.0
    certainty = 1.0 - (1.0 - CERTAINTY) / (2.0 * (len(spreads) - 1))
    return float(student.ppf(certainty, len(varied) * (seeds - 1))) * math.sqrt(2.0 * fmean(varied) / seeds)


def finding(experiment: Experiment, rows: Sequence[Row]) -> str:
    """Sentences on every headline figure that was measured, and on what becomes of the reference.

    Differences of one seed have no spread to be held against, so then only the figures are told.
    """
    reference = next(row for row in rows if row.label == experiment.reference)
    measured = [name for name in experiment.headline if name in reference.figures]
    others = {name: [row for row in rows if row is not reference and name in row.figures] for name in measured}
    measured = [name for name in measured if others[name]]
    if len(next(iter(reference.figures.values())).per_seed) < 2:
        return " ".join(_unspread(name, reference, others[name]) for name in measured) + (
            " One seed has no spread, so nothing follows from the differences."
        )
    if not experiment.ranked:
        return " ".join(_contrast(name, reference, others[name]) for name in measured)
    scored = [name for name in measured if FIGURES[name].better is not None]
    told = [_ranking(name, reference, others[name]) for name in scored]
    told += [_contrast(name, reference, others[name]) for name in measured if name not in scored]
    return " ".join([*told, _verdict(experiment, scored, reference, others)])


def show(figure: Figure, measure: Measure) -> str:
    """A figure with its standard deviation."""
    return f"{figure.value:{measure.form}} ± {figure.deviation:{measure.form}}"


def _differ(name: str, first: Row, second: Row, rows: Sequence[Row]) -> bool:
    """Whether two of the rows differ beyond the spread of seeds."""
    apart = abs(first.figures[name].value - second.figures[name].value)
    return apart > margin([row.figures[name] for row in rows])


def _best(name: str, rows: Sequence[Row]) -> Row:
    """The first of the best."""
    sign = -1.0 if FIGURES[name].better == "lower" else 1.0
    return max(rows, key=lambda row: sign * row.figures[name].value)


def _ranking(name: str, reference: Row, others: Sequence[Row]) -> str:
    measure, best = FIGURES[name], _best(name, [reference, *others])
    other = _best(name, others) if best is reference else reference
    apart = "a difference beyond" if _differ(name, best, other, (reference, *others)) else "no difference beyond"
    return (
        f"{_title(measure)}: best is {best.label!r} with {show(best.figures[name], measure)}, against "
        f"{show(other.figures[name], measure)} of {other.label!r}, {apart} the spread of seeds."
    )


def _contrast(name: str, reference: Row, others: Sequence[Row]) -> str:
    measure, own = FIGURES[name], reference.figures[name]
    sides: dict[str, list[str]] = {"higher for": [], "lower for": [], "no different beyond the spread of seeds for": []}
    for row in others:
        value = row.figures[name]
        side = int(value.value < own.value) if _differ(name, row, reference, (reference, *others)) else 2
        sides[list(sides)[side]].append(f"{row.label!r} ({show(value, measure)})")
    # Who differs is worth a name; of many that do not, a number will do.
    *_, alike = sides.values()
    if len(alike) > FEW:
        alike[:] = [f"{len(alike)} others"]
    told = "; ".join(f"{side} {', '.join(rows)}" for side, rows in sides.items() if rows)
    return f"{_title(measure)}, {show(own, measure)} for {reference.label!r}: {told}."


def _unspread(name: str, reference: Row, others: Sequence[Row]) -> str:
    measure = FIGURES[name]
    values = ", ".join(f"{row.label!r} {row.figures[name].value:{measure.form}}" for row in (reference, *others))
    return f"{_title(measure)}: {values}."


def _verdict(experiment: Experiment, names: Sequence[str], reference: Row, others: dict[str, list[Row]]) -> str:
    """Where another variant beats the reference, and where the reference beats all others."""
    beaten: list[str] = []
    wins: list[str] = []
    for name in names:
        rival = _best(name, others[name])
        if _differ(name, rival, reference, (reference, *others[name])):
            (wins if _best(name, [reference, rival]) is reference else beaten).append(FIGURES[name].title)
    start = f"{experiment.role[0].upper()}{experiment.role[1:]}, {reference.label!r},"
    if not beaten and not wins:
        return f"{start} is neither beaten nor ahead of all others beyond the spread of seeds."
    told = [f"{verb} in {_listed(titles)}" for verb, titles in (("does not win", beaten), ("wins", wins)) if titles]
    return f"{start} {' but '.join(told)}."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _title(measure: Measure) -> str:
    return measure.title[0].upper() + measure.title[1:]
