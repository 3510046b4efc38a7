"""From what a judge saw in two sets of files to the figures of one row.

Shapes: F rows of features, D features, B files, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from visual_echoes.evaluation.files.features import Seen
from visual_echoes.evaluation.files.records import KL, Confusion, Frechet, Inception, Judged, Kernel
from visual_echoes.evaluation.files.scores import SPLITS, divergence, inception_score
from visual_echoes.metrics.distances import frechet_distance, kernel_distance
from visual_echoes.metrics.networks.base import FileJudge
from visual_echoes.metrics.scores import confusion_matrix, share

KERNEL_FILES = 4000  # the kernel of more does not fit a laptop's memory; a fixed draw stands for them
DRAW_SEED = 0
CONFUSED = 12  # classes that a matrix shows by name
OTHERS = "others"
SCATTERED = 300  # items in a plot


def measure(
    judge: FileJudge,
    made: Seen,
    real: Seen | None,
    against: Seen | None,
    paired: bool,
    halves: tuple[Seen, Seen] | str | None = None,
) -> Judged:
    """All figures of a set of files by one judge.

    Args:
        real: what the distances are from; None without real files.
        against: the real files of the same ids, for what is compared pair by pair; None without any.
        paired: the files are copies of the real ones, whose own terms are left out of the kernel distance.
        halves: between which the distances are, if they are not those of `made` from `real`; or why there are none.
    """
    notes = []
    inception = kl = confusion = None
    if made.logits_BK is not None and judge.labels is not None:
        if len(made.ids) >= SPLITS:
            score = inception_score(made.logits_BK)
            inception = Inception(mean=score.mean, deviation=score.deviation, splits=SPLITS, items=len(made.ids))
        else:
            notes.append(f"no inception score: {SPLITS} splits need {SPLITS} files or more, not {len(made.ids)}")
        if against is not None:
            common = [id for id in made.ids if id in set(against.ids)]
            mine, theirs = made.of(common).logits_BK, against.of(common).logits_BK
            assert mine is not None
            assert theirs is not None
            found = divergence(theirs, mine)
            kl = KL(softmax=found.softmax, sigmoid=found.sigmoid, pairs=len(common))
            confusion = confuse(theirs.argmax(-1), mine.argmax(-1), judge.labels, "real", "this row")
    frechet = kernel = None
    apart = halves or ("no real files were given" if real is None else (made, real))
    if isinstance(apart, str):
        notes.append(f"no distances: {apart}")
    else:
        first, second = apart
        frechet = measure_frechet(judge.frechet, first.features_FD, second.features_FD, judge.unit)
        kernel = measure_kernel(judge.kernel, first, second, paired)
    return Judged(
        frechet=frechet, kernel=kernel, inception=inception, kl=kl, confusion=confusion,
        scatter=() if real is None else scatter(made.one_each(), real.one_each()), notes=tuple(notes),
    )  # fmt: skip


def measure_frechet(name: str, features_FD: Tensor, references_FD: Tensor, unit: str) -> Frechet:
    """The Fréchet distance with everything it must be read with."""
    items, references, dimensions = len(features_FD), len(references_FD), references_FD.shape[1]
    few = (
        f"{min(items, references)} {unit}s are fewer than the {dimensions + 1} that {dimensions} features need: this "
        "figure is biased upwards and compares only with one of as many items; read the kernel distance instead"
    )
    return Frechet(
        name=name, value=frechet_distance(features_FD, references_FD), items=items, references=references,
        dimensions=dimensions, unit=unit, warning=few if min(items, references) <= dimensions else None,
    )  # fmt: skip


def measure_kernel(name: str, made: Seen, real: Seen, paired: bool) -> Kernel:
    """The kernel distance of one row of features for each file, so that the bootstrap draws independent items."""
    paired = paired and made.ids == real.ids
    first_BD, second_BD = made.one_each(), real.one_each()
    picked = _draw(len(first_BD))
    second_BD = second_BD[picked if paired else _draw(len(second_BD))]
    found = kernel_distance(first_BD[picked], second_BD, paired)
    return Kernel(
        name=name, value=found.value, low=found.low, high=found.high, items=len(picked), references=len(second_BD)
    )


def _draw(files: int) -> Tensor:
    """Indices of at most `KERNEL_FILES`, in order, always the same ones for as many files."""
    order = torch.randperm(files, generator=torch.Generator().manual_seed(DRAW_SEED))
    return order[:KERNEL_FILES].sort().values


def confuse(rows_B: Tensor, columns_B: Tensor, labels: Sequence[str], rows: str, columns: str) -> Confusion:
    """The confusion of two answers for each pair; of many classes the most frequent ones are shown, the rest added."""
    counted = Counter(rows_B.tolist()) + Counter(columns_B.tolist())
    shown = sorted(label for label, _ in sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))[:CONFUSED])
    if len(labels) <= CONFUSED:
        shown = list(range(len(labels)))
    place = torch.full((max(len(labels), 1),), len(shown))
    place[shown] = torch.arange(len(shown))
    names = [labels[label] for label in shown] + ([OTHERS] if len(counted.keys() - set(shown)) else [])
    counts = confusion_matrix(place[rows_B], place[columns_B], len(names))
    return Confusion(
        rows=rows, columns=columns, labels=tuple(names), counts=tuple(map(tuple, counts.tolist())),
        agree=share(rows_B == columns_B), pairs=len(rows_B),
    )  # fmt: skip


def scatter(features_BD: Tensor, references_BD: Tensor) -> tuple[tuple[float, float], ...]:
    """The first files on the two axes along which the references vary most."""
    references_BD = references_BD[:KERNEL_FILES].double()
    mean_D = references_BD.mean(0)
    axes_D2 = torch.linalg.svd(references_BD - mean_D, full_matrices=False).Vh[:2].T
    if axes_D2.shape[1] < 2:  # of one feature there is one axis
        axes_D2 = torch.cat([axes_D2, torch.zeros_like(axes_D2)], 1)
    largest = axes_D2.abs().argmax(0)
    axes_D2 = axes_D2 * axes_D2[largest, torch.arange(2)].sign()  # an axis has no direction of its own
    places = (features_BD[:SCATTERED].double() - mean_D) @ axes_D2
    return tuple((float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in places.tolist())
