"""From what a backbone says of two sets of items to the figures of one column; files and models come through here.

Shapes: F rows of features, D features, B items, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from visual_echoes.evaluation.features import Seen
from visual_echoes.evaluation.records import Column, Confusion, Figure
from visual_echoes.metrics.distances import frechet_distance, kernel_distance
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.metrics.scores import SPLITS, confusion_matrix, divergence, inception_score, share

KERNEL_ITEMS = 4000  # the kernel of more does not fit a laptop's memory; a fixed draw stands for them
DRAW_SEED = 0
FEWEST_HALVES = 4
CONFUSED = 12  # classes that a matrix shows by name
OTHERS = "others"
SCATTERED = 300  # items in a plot


def measure(
    backbone: Backbone, made: Seen, real: Seen | None, against: Seen | None, paired: bool, halves: bool = False
) -> Column:
    """All figures of a set of files by one backbone, under its name.

    Args:
        real: what the distances are from; None without real files.
        against: the real files of the same ids, for what is compared pair by pair; None without any.
        paired: the files are copies of the real ones, whose own terms are left out of the kernel distance.
        halves: `made` are the real files, and the distances are those of one half of them from the other.
    """
    name, notes, figures = backbone.name, [], dict[str, Figure]()
    matrices: dict[str, Confusion] = {}
    if made.logits_BK is not None and backbone.labels is not None:
        if len(made.ids) >= SPLITS:
            score = inception_score(made.logits_BK)
            figures[f"{name}_inception"] = Figure(value=score.mean, spread=score.deviation)
        else:
            notes.append(f"no inception score: {SPLITS} splits need {SPLITS} files or more, not {len(made.ids)}")
        if against is not None:
            theirs, mine = common_logits(against, made)
            found = divergence(theirs, mine)
            figures[f"{name}_kl_softmax"] = Figure(value=found.softmax)
            figures[f"{name}_kl_sigmoid"] = Figure(value=found.sigmoid)
            real_B, made_B = theirs.argmax(-1), mine.argmax(-1)
            figures[f"{name}_agree"] = Figure(value=share(real_B == made_B))
            title = f"what {backbone.title} takes each file for"
            matrices[name] = confuse(real_B, made_B, backbone.labels, title, "real", "this row")
    if halves and len(made.ids) < FEWEST_HALVES:
        notes.append(f"no distances: the halves need {FEWEST_HALVES} real files or more, not {len(made.ids)}")
    elif real is None:
        notes.append("no distances: no real files were given")
    else:
        figures |= distances(name, *(half(made) if halves else (made, real)), paired, backbone.unit)
    return Column(
        figures=figures, matrices=matrices, notes=tuple(f"{name}: {note}" for note in notes),
        scatter={} if real is None else {name: scatter(made.one_each(), real.one_each())},
    )  # fmt: skip


def distances(prefix: str, made: Seen, real: Seen, paired: bool, unit: str = "item") -> dict[str, Figure]:
    """The Fréchet distance over all rows of features, and the kernel distance over one row of each item.

    The latter so that its bootstrap draws independent items. Each comes with everything it must be read with.
    """
    items, references, dimensions = len(made.features_FD), len(real.features_FD), real.features_FD.shape[1]
    few = (
        f"{min(items, references)} {unit}s are fewer than the {dimensions + 1} that {dimensions} features need: this "
        "figure is biased upwards and compares only with one of as many items; read the kernel distance instead"
    )
    frechet = Figure(
        value=frechet_distance(made.features_FD, real.features_FD), items=items, references=references, unit=unit,
        dimensions=dimensions, warning=few if min(items, references) <= dimensions else None,
    )  # fmt: skip
    paired = paired and made.ids == real.ids
    first_BD, second_BD = made.one_each(), real.one_each()
    drawn_B = _draw(len(first_BD))
    second_BD = second_BD[drawn_B if paired else _draw(len(second_BD))]
    kernel = kernel_distance(first_BD[drawn_B], second_BD, paired)
    kid = Figure(
        value=kernel.value, interval=(kernel.low, kernel.high), items=len(drawn_B), references=len(second_BD),
        unit="file" if unit == "frame" else unit,
    )  # fmt: skip
    return {f"{prefix}_frechet": frechet, f"{prefix}_kid": kid}


def common_logits(first: Seen, second: Seen) -> tuple[Tensor, Tensor]:
    """What a backbone answers for the items of both sets, (B, K) each."""
    common = [id for id in second.ids if id in set(first.ids)]
    one_BK, other_BK = first.of(common).logits_BK, second.of(common).logits_BK
    assert one_BK is not None
    assert other_BK is not None
    return one_BK, other_BK


def half(seen: Seen) -> tuple[Seen, Seen]:
    """A fixed split of items into two halves."""
    order = torch.randperm(len(seen.ids), generator=torch.Generator().manual_seed(DRAW_SEED)).tolist()
    middle = len(order) // 2
    return seen.of(seen.ids[i] for i in sorted(order[:middle])), seen.of(seen.ids[i] for i in sorted(order[middle:]))


def _draw(items: int) -> Tensor:
    """Indices of at most `KERNEL_ITEMS`, in order, always the same ones for as many items."""
    order = torch.randperm(items, generator=torch.Generator().manual_seed(DRAW_SEED))
    return order[:KERNEL_ITEMS].sort().values


def confuse(rows_B: Tensor, columns_B: Tensor, labels: Sequence[str], title: str, rows: str, columns: str) -> Confusion:
    """The confusion of two answers for each pair; of many classes the most frequent ones are shown, the rest added."""
    counted = Counter(rows_B.tolist()) + Counter(columns_B.tolist())
    shown = sorted(label for label, _ in sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))[:CONFUSED])
    if len(labels) <= CONFUSED:
        shown = list(range(len(labels)))
    index = torch.full((max(len(labels), 1),), len(shown))
    index[shown] = torch.arange(len(shown))
    names = [labels[label] for label in shown] + ([OTHERS] if len(counted.keys() - set(shown)) else [])
    counts = confusion_matrix(index[rows_B], index[columns_B], len(names))
    return Confusion(
        title=title, rows=rows, columns=columns, labels=tuple(names), counts=tuple(map(tuple, counts.tolist())),
        pairs=len(rows_B),
    )  # fmt: skip


def scatter(features_BD: Tensor, references_BD: Tensor) -> tuple[tuple[float, float], ...]:
    """The first items on the two axes along which the references vary most."""
    references_BD = references_BD[:KERNEL_ITEMS].double()
    mean_D = references_BD.mean(0)
    axes_D2 = torch.linalg.svd(references_BD - mean_D, full_matrices=False).Vh[:2].T
    if axes_D2.shape[1] < 2:  # of one feature there is one axis
        axes_D2 = torch.cat([axes_D2, torch.zeros_like(axes_D2)], 1)
    largest = axes_D2.abs().argmax(0)
    axes_D2 = axes_D2 * axes_D2[largest, torch.arange(2)].sign()  # an axis has no direction of its own
    points = (features_BD[:SCATTERED].double() - mean_D) @ axes_D2
    return tuple((float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in points.tolist())


def merged(columns: Iterable[Column]) -> Column:
    """All in one."""
    found = Column()
    for column in columns:
        found = found | column
    return found
