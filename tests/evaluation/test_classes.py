"""A whole evaluation, on models whose figures are known beforehand and on a random one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import toys
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import read_description
from visual_echoes.data.pairs import PairSplit
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.classes import evaluate_classes
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.report import ClassesReport
from visual_echoes.evaluation.targets import DIGITS
from visual_echoes.layout import get_layout
from visual_echoes.pipeline import VisualEchoes

SMALL: dict[str, Any] = {"seeds": (0, 1), "pairs": 20, "sound_repeats": 2}
LITTLE: dict[str, Any] = {"pairs": 5, "sound_repeats": 1, "settings": {"steps": 2}}


def evaluate(echoes: VisualEchoes, data: Path, **options: Any) -> ClassesReport:
    return evaluate_classes(echoes, data, toys.judge("image"), toys.judge("audio"), DIGITS, **{**SMALL, **options})


def test_a_model_without_fault(perfect_report: ClassesReport) -> None:
    measures = perfect_report.measures
    made = measures.generated
    assert (measures.real.picture_accuracy, measures.real.sound_accuracy) == (1.0, 1.0)
    assert made.picture_to_sound.judged.right.per_seed == (1.0, 1.0)
    assert made.sound_to_picture.judged.items == 40
    assert made.sound_to_picture.judged.confusion == tuple(tuple(8 * (r == c) for c in range(10)) for r in range(10))
    # Every test image is given once, so their variety and novelty are those of the real ones.
    assert made.sound_to_picture.diversity.per_group == pytest.approx([1.0] * 10)
    assert made.sound_to_picture.nearest == measures.real.nearest
    assert made.pairs["together"].agree.mean == 1.0
    assert made.pairs["image_first"].groups_seen == 10
    assert made.pairs["together"].largest_share == pytest.approx(0.1)
    assert made.picture_to_sound.level.peak_db == pytest.approx(measures.real.level.peak_db, abs=1e-6)
    assert measures.unguided is not None
    assert measures.unguided.settings.guidance == 1.0


def test_a_lossless_round_trip(perfect_report: ClassesReport) -> None:
    trip = perfect_report.measures.round_trip
    assert (trip.pictures.kept, trip.sounds.kept, trip.vocoder.kept) == (1.0, 1.0, 1.0)
    assert (trip.mel_l1, trip.sounds.mel_l1) == (0.0, pytest.approx(0.0, abs=1e-6))
    assert trip.mel_diversity == pytest.approx(1.0)
    for codebook in (trip.pictures.codebook, trip.audio_codebook):
        assert codebook.usage == 8 / codebook.codes
        assert codebook.perplexity == pytest.approx(8.0)
    assert trip.pictures.codebook.tokens == 40 * toys.LAYOUT.image_tokens


def test_a_model_that_is_one_off(whole_model: Model, data: Path) -> None:
    made = evaluate(toys.Copier(whole_model, toys.split(), offset=1), data).measures.generated
    assert made.picture_to_sound.judged.right.mean == 0.0
    assert made.picture_to_sound.judged.confusion[9] == (8,) + (0,) * 9
    assert made.pairs["together"].agree.mean == 0.0
    assert made.pairs["together"].confusion[3] == (0, 0, 0, 0, 4, 0, 0, 0, 0, 0)
    # Wrong items show no variety, however much they differ.
    assert made.sound_to_picture.diversity.ratio.mean == 0.0


def test_a_model_that_always_gives_the_same_has_no_diversity(whole_model: Model, data: Path) -> None:
    made = evaluate(toys.Copier(whole_model, toys.split(), monotone=True), data).measures.generated
    assert made.sound_to_picture.judged.right.mean == 1.0
    assert made.sound_to_picture.diversity.ratio.mean == 0.0
    assert made.picture_to_sound.diversity.ratio.mean == 0.0


def test_a_model_that_copies_its_training_images_is_seen(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split(1))  # the train split
    nearest = evaluate(copier, data).measures.generated.sound_to_picture.nearest
    assert nearest.mean == pytest.approx(0.0, abs=1e-5)


def test_spoilt_images_count_as_not_kept(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    copier.codec = toys.Recall(whole_model, toys.split(), spoilt=range(3))
    pictures = evaluate(copier, data).measures.round_trip.pictures
    assert (pictures.kept, pictures.right) == (0.7, 0.7)


def test_kept_asks_the_judge_and_right_asks_the_truth(whole_model: Model, tmp_path: Path) -> None:
    test = toys.split()
    test.image_groups[0] = 1  # an image of group 0 with a wrong label
    copier = toys.Copier(whole_model, test)
    copier.codec = toys.Recall(whole_model, test)
    measures = evaluate(copier, toys.write_data(tmp_path, test, toys.split(1))).measures
    assert measures.real.picture_accuracy == measures.round_trip.pictures.right == 39 / 40
    assert measures.round_trip.pictures.kept == 1.0


def test_levels_count_silent_and_clipped_sounds(whole_model: Model, data: Path) -> None:
    source = toys.split()
    source.sounds[:2] = 0  # both sounds of group 0
    source.sounds[2:4, 7] = 32767
    level = evaluate(toys.Copier(whole_model, source), data).measures.generated.picture_to_sound.level
    assert (level.silent, level.clipped) == (pytest.approx(0.1), pytest.approx(0.1))


def test_no_two_seeds_share_noise(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    evaluate(copier, data, seeds=(0, 1, 5))
    assert {call["seed"] for call in copier.calls} == {0, 1_000_000, 5_000_000}
    assert len(copier.calls) == 3 * 4 * 2  # seeds, requests, with and without guidance


def test_settings_go_over_the_defaults(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    changes = {"steps": 7, "guidance": 1.5}
    measures = evaluate(copier, data, settings=changes).measures
    assert measures.generated.settings == whole_model.sampling.model_copy(update=changes)
    assert measures.unguided is not None
    assert measures.unguided.settings.guidance == 1.0
    assert {(call["steps"], call["guidance"]) for call in copier.calls} == {(7, 1.5), (7, 1.0)}


def test_without_guidance_there_is_nothing_to_compare(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    report = evaluate(copier, data, settings={"guidance": 1.0})
    assert report.measures.unguided is None
    assert len(copier.calls) == 2 * 4


def test_a_random_model_gives_the_same_report_twice(echoes: VisualEchoes, data: Path) -> None:
    first, second, other = (
        evaluate(echoes, data, **LITTLE, seeds=(seed,)).model_dump(exclude={"seconds"}) for seed in (0, 0, 1)
    )
    assert first == second
    assert other["measures"]["generated"] != first["measures"]["generated"]
    assert other["measures"]["round_trip"] == first["measures"]["round_trip"]


def test_the_report_names_model_data_and_judges(echoes: VisualEchoes, model_folder: Path, data: Path) -> None:
    report = evaluate(echoes, data, **LITTLE, seeds=(0,))
    parts = read_description(model_folder).parts
    assert report.model.checksums == {name: part.sha256 for name, part in parts.items()}
    assert report.model.name == "tiny"
    assert report.data.sources == {"images.npz": "0" * 64}
    assert (report.data.pictures, report.data.sounds, report.data.training_pictures) == (40, 20, 40)
    assert set(report.judges) == {"image", "audio"}
    assert set(report.seconds) == {"real", "round_trip", "generated", "unguided"}


def _without_group(group: int) -> PairSplit:
    full = toys.split()
    kept = full.image_groups != group
    return dataclasses.replace(full, images=full.images[kept], image_groups=full.image_groups[kept])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "test.safetensors").unlink(), "no prepared data"),
        (lambda folder: (folder / "train.safetensors").unlink(), "no prepared data"),
        (lambda folder: (folder / "test.safetensors").write_bytes(b"rubbish"), "prepare the data again"),
        (lambda folder: (folder / "dataset.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "dataset.json").write_text('{"groups": ' + str(toys.GROUPS).replace("'", '"') + "}"),
         "names no sources"),
        (lambda folder: toys.write_data(folder, _without_group(4), toys.split()), "fewer than two"),
    ],
)  # fmt: skip
def test_unusable_data_is_refused(
    echoes: VisualEchoes, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    folder = toys.write_data(tmp_path, toys.split(), toys.split(1))
    damage(folder)
    with pytest.raises(EchoesError, match=message):
        evaluate(echoes, folder, **LITTLE, seeds=(0,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, "at least one seed"),
        ({"seeds": (1, 1)}, "no seed twice"),
        ({"pairs": 0}, "at least one pair"),
        ({"sound_repeats": 0}, "one image for each sound"),
        ({"pairs": 1_000_001}, "share noise"),
        ({"batch_size": 0}, "batch size"),
        ({"settings": {"steps": 0}}, "steps"),
        ({"settings": {"heat": 1}}, "heat"),
    ],
)
def test_impossible_requests_are_refused(
    echoes: VisualEchoes, data: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EchoesError, match=message):
        evaluate(echoes, data, **options)


def test_unfit_judges_are_refused(echoes: VisualEchoes, data: Path) -> None:
    image, audio = toys.judge("image"), toys.judge("audio")
    with pytest.raises(EchoesError, match="judges audio"):
        evaluate_classes(echoes, data, audio, audio, DIGITS)
    with pytest.raises(EchoesError, match="another shape or rate"):
        evaluate_classes(echoes, data, image, toys.judge("audio", get_layout("digits")), DIGITS)
    with pytest.raises(EchoesError, match="other groups"):
        evaluate_classes(echoes, data, toys.judge("image", groups=["a", "b"]), audio, DIGITS)


def test_generated_sounds_are_judged_in_their_place_of_the_clip(whole_model: Model, data: Path) -> None:
    # A layout whose mel is a crop: one more frame before it than after.
    layout = dataclasses.replace(toys.LAYOUT, audio_factor=(4, 10))
    assert layout.mel_offset == 1
    whole_model.layout = layout
    exam = Exam(VisualEchoes(whole_model, torch.device("cpu")), data, toys.judge("image"), toys.judge("audio"), 16)
    first = layout.mel_offset * layout.hop
    cropped = exam.waves_BN[:, first : first + layout.samples]
    late = np.roll(cropped, layout.hop, axis=1)
    assert exam.mel_l1(cropped) < 0.5 * exam.mel_l1(late)  # not 0: the outer frames see what was cut away
