"""A whole evaluation beside baselines, of models whose figures are known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import toys
from visual_echoes.checkpoints.model import Model
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.report import NO_OPINION, ClassesReport, ScenesReport
from visual_echoes.evaluation.scenes import evaluate_scenes
from visual_echoes.metrics.classifiers import Judge, JudgeConfig, build_judge
from visual_echoes.metrics.distances import kernel_distance
from visual_echoes.pipeline import VisualEchoes

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"seeds": (0, 1), "pictures": 30, "pairs": 20, "sound_repeats": 2}


def evaluate(model: Model, data: Path, baselines: dict[str, Any], **options: Any) -> ScenesReport:
    copier = toys.Copier(model, toys.split(0))
    copier.codec = toys.Indexed(model, toys.split(0))
    judges = toys.judge("image"), options.pop("audio_judge", toys.judge("audio"))
    return evaluate_scenes(copier, data, *judges, baselines, {}, **{**SMALL, **options})


def test_baselines_go_through_the_same_decoders_to_the_same_judges(scenes_report: ScenesReport) -> None:
    right, wrong = (scenes_report.measures.baselines[name] for name in ("right", "wrong"))
    assert right.picture_to_sound.judged.right.per_seed == (1.0, 1.0)
    assert right.sound_to_picture.judged.right.per_seed == (1.0, 1.0)
    assert (right.picture_to_sound.judged.items, right.sound_to_picture.judged.items) == (30, 40)
    assert wrong.picture_to_sound.judged.right.mean == wrong.sound_to_picture.judged.right.mean == 0.0
    assert wrong.picture_to_sound.judged.confusion[9] == (6,) + (0,) * 9
    assert right.picture_to_sound.level == scenes_report.measures.real.level.model_copy(
        update={name: getattr(right.picture_to_sound.level, name) for name in ("peak_db", "rms_db")}
    )


def test_a_baselines_seeds_are_the_models(whole_model: Model, data: Path) -> None:
    baseline = toys.Shifted(0)
    report = evaluate(whole_model, data, {"right": baseline}, seeds=(2, 5), batch_size=7)
    assert report.measures.baselines["right"].picture_to_sound.judged.right.mean == 1.0
    assert report.measures.baselines["right"].sound_to_picture.judged.right.mean == 1.0
    assert baseline.seeds == [seed * 1_000_000 + item for count in (30, 40) for seed in (2, 5) for item in range(count)]


def test_every_column_has_its_distances(scenes_report: ScenesReport) -> None:
    looks = scenes_report.measures.looks
    assert list(looks) == ["real", "round trip", "generated", "unguided", "right", "wrong"]
    for modality, references in (("image", 30), ("audio", 20)):
        # What comes back unchanged has no distance, and half of the training split is nearer than the same few items.
        assert looks["round trip"][modality].distance.frechet_judge == pytest.approx(0.0, abs=1e-6)
        assert looks["round trip"][modality].distance.kid_judge == pytest.approx(0.0, abs=1e-6)
        assert {look[modality].distance.references for look in looks.values()} == {references}
    counts = {name: (look["image"].distance.items, look["audio"].distance.items) for name, look in looks.items()}
    assert counts["real"] == (20, 10)  # half of 40 and 20
    assert counts["round trip"] == (30, 20)
    assert counts["generated"] == counts["unguided"] == counts["wrong"] == (80, 60)
    # Ten features, and ten real sounds are half of the training split.
    assert looks["real"]["audio"].distance.warning
    assert looks["generated"]["audio"].distance.warning is None


def test_a_round_trip_is_paired_with_what_went_in(whole_model: Model, data: Path) -> None:
    class Darker(toys.Indexed):
        def decode_images(self, tokens_BI: torch.Tensor) -> np.ndarray:
            return super().decode_images(tokens_BI) // 2

    model = toys.Copier(whole_model, toys.split(0))
    model.codec = Darker(whole_model, toys.split(0))
    judges = toys.judge("image"), toys.judge("audio")
    look = evaluate_scenes(model, data, *judges, {}, {}, **{**SMALL, "pictures": None}).measures.looks["round trip"]
    images = toys.split(0).images
    real, darker = (judges[0].look(pictures)[0] for pictures in (images, images // 2))
    assert look["image"].distance.kid_judge == pytest.approx(kernel_distance(darker, real, paired=True).value)
    assert look["image"].distance.kid_judge != pytest.approx(kernel_distance(darker, real).value)


def test_second_opinions_stand_beside_their_own_accuracy(scenes_report: ScenesReport) -> None:
    assert scenes_report.second_opinions == {"image": "one-track mind 1.0", "audio": NO_OPINION}
    for look in scenes_report.measures.looks.values():
        assert look["image"].second_opinion is not None
        assert look["image"].second_opinion.mean == pytest.approx(0.1)  # one group of ten
        assert look["audio"].second_opinion is None


def test_the_rest_is_the_report_of_any_classes(scenes_report: ScenesReport, perfect_report: ClassesReport) -> None:
    made, digits = scenes_report.measures.generated, perfect_report.measures.generated
    assert made.sound_to_picture.judged == digits.sound_to_picture.judged
    assert made.pairs == digits.pairs
    assert scenes_report.data.pictures == 30
    assert scenes_report.groups == tuple(toys.GROUPS)
    assert set(scenes_report.seconds) == {
        "real", "round_trip", "generated", "unguided", "right", "wrong", "distances",
    }  # fmt: skip


def test_images_are_the_first_of_each_class(whole_model: Model, data: Path) -> None:
    exam = Exam(VisualEchoes(whole_model, CPU), data, toys.judge("image"), toys.judge("audio"), 16, pictures=20)
    first = [toys.PICTURES * group + item for group in range(10) for item in (0, 1)]
    assert np.array_equal(exam.pictures_BHWC, toys.split(0).images[first].movedim(1, -1).numpy())
    assert exam.image_groups_B.tolist() == [group for group in range(10) for _ in range(2)]
    for pictures in (10, 25, 50):
        with pytest.raises(EchoesError, match=f"{pictures} test images cannot be as many of each of 10 classes"):
            evaluate(whole_model, data, {}, pictures=pictures)


def test_a_judge_of_more_classes_is_asked_about_these_only(whole_model: Model, data: Path) -> None:
    # It would take everything for the class that the data lacks.
    class Distracted(toys.RowMeans):
        def head(self, features_BD: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.full((len(features_BD), 1), 99.0), super().head(features_BD)], 1)

    judge = Judge(JudgeConfig(modality="audio"), Distracted(), toys.LAYOUT, ["train", *toys.GROUPS])  # type: ignore[arg-type]
    report = evaluate(whole_model, data, {}, audio_judge=judge)
    assert report.measures.real.sound_accuracy == 1.0
    fewer = Judge(judge.config, build_judge(judge.config, toys.LAYOUT, 9), toys.LAYOUT, toys.GROUPS[1:])
    with pytest.raises(EchoesError, match="other groups than the data"):
        evaluate(whole_model, data, {}, audio_judge=fewer)


def test_progress_counts_baselines_too(whole_model: Model, data: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    baselines = {"one": toys.Shifted(0), "other": toys.Shifted(0)}
    settings = {"steps": 3, "guidance": 1.0}
    evaluate(whole_model, data, baselines, settings=settings, progress=lambda *state: seen.append(state), batch_size=16)
    # The model of the toys reports nothing itself: batches of 30 images and 40 sounds, two seeds, two baselines.
    assert [state[1] for state in seen][-1] == seen[-1][2]
    assert len(seen) == (2 + 3) * 2 * 2
    assert {state[0] for state in seen} == {
        f"{name}: {direction}" for name in baselines for direction in ("image to sound", "sound to image")
    }
