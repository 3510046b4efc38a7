"""What measurements share: a model, test items, judges, and how much of each is used for a seed.

Shapes: B items, G groups.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes import __version__
from visual_echoes.data.manifest import DESCRIPTION
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.against import retrieval_baselines
from visual_echoes.evaluation.baselines.interface import Baseline
from visual_echoes.evaluation.classes import model_facts, weights_digest
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.generated import SEED_STRIDE
from visual_echoes.files import file_digest
from visual_echoes.metrics.classifiers import Judge
from visual_echoes.pipeline import VisualEchoes


@dataclass(frozen=True)
class Counts:
    """Items for each seed: test images, test sounds (or as many as there are), and pairs from nothing."""

    pictures: int = 200
    sounds: int = 200
    pairs: int = 200


class Bench:
    """A model and what it is measured with.

    Args:
        echoes: the shipped model, whose tokenizers and vocoder serve trained transformers, too.
        data: the folder of prepared data that model and judges are for.

    Attributes:
        exam: the whole test split.
        facts: what figures follow from besides their work and seed, as JSON values.

    Raises:
        EchoesError: unusable data, judges or counts.
    """

    def __init__(
        self, echoes: VisualEchoes, data: Path, image_judge: Judge, audio_judge: Judge, counts: Counts, batch_size: int
    ) -> None:
        self.exam = Exam(echoes, data, image_judge, audio_judge, batch_size)
        self.data, self.counts = data, counts
        for name, count in asdict(counts).items():
            if not 1 <= count <= SEED_STRIDE:
                raise EchoesError(f"There must be from 1 to {SEED_STRIDE} {name} for each seed, not {count}.")
        model = model_facts(echoes)
        self.facts: dict[str, Any] = {
            "version": __version__,
            "torch_version": torch.__version__,
            "device": str(echoes.device),
            "model": model.model_dump(mode="json", exclude=None if model.graphs else {"graphs"}),
            "data": {name: file_digest(data / name) for name in (DESCRIPTION, "train.safetensors", "test.safetensors")},
            "judges": {"image": weights_digest(image_judge.network), "audio": weights_digest(audio_judge.network)},
            "counts": asdict(counts),
        }

    @cached_property
    def lookups(self) -> dict[str, Baseline]:
        """Baselines without a network, on the tokens of the model's own tokenizers."""
        return retrieval_baselines(self.exam.echoes, self.data, self.exam.batch_size)

    def draw(self, seed: int, echoes: VisualEchoes) -> Exam:
        """An exam of one seed's items, evenly over the groups, for a model with the same tokenizers.

        Every seed has other items and other noise, so that the spread holds both. Features stay those of the whole
        split: they are what distances are measured to.
        """
        part, exam = copy.copy(self.exam), self.exam
        generator = torch.Generator().manual_seed(seed)
        part.echoes = echoes
        rows_B = even_rows(exam.image_groups_B, self.counts.pictures, generator)
        part.pictures_BHWC = exam.pictures_BHWC[rows_B.numpy()]
        part.image_groups_B, part.judged_images_B = exam.image_groups_B[rows_B], exam.judged_images_B[rows_B]
        rows_B = even_rows(exam.sound_groups_B, self.counts.sounds, generator)
        part.waves_BN, part.mels_BMT = exam.waves_BN[rows_B.numpy()], exam.mels_BMT[rows_B]
        part.sound_groups_B, part.judged_sounds_B = exam.sound_groups_B[rows_B], exam.judged_sounds_B[rows_B]
        return part


def even_rows(groups_B: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random items, as many of each group as the others have; all if there are not so many. Indices, ascending."""
    order_B = torch.randperm(len(groups_B), generator=generator)
    shuffled_B = groups_B[order_B]
    turn_B = F.one_hot(shuffled_B).cumsum(0).gather(1, shuffled_B[:, None])[:, 0]  # 1 for the first of its group
    return order_B[turn_B.argsort(stable=True)[:count]].sort().values
