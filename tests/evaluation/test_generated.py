"""A whole evaluation, of models whose figures are known beforehand and of a random one."""

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
from visual_echoes.evaluation.evaluation_set import EvaluationSet
from visual_echoes.evaluation.features import see_items
from visual_echoes.evaluation.generated import evaluate_model
from visual_echoes.evaluation.records import Report
from visual_echoes.evaluation.targets import DIGITS
from visual_echoes.layout import get_layout
from visual_echoes.metrics.classifiers import Classifier, ClassifierConfig, build_classifier
from visual_echoes.metrics.distances import kernel_distance
from visual_echoes.pipeline import VisualEchoes

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"seeds": (0, 1), "pairs": 20, "sound_repeats": 2}
LITTLE: dict[str, Any] = {"pairs": 5, "sound_repeats": 1, "settings": {"steps": 2}}


def evaluate(echoes: VisualEchoes, data: Path, **options: Any) -> Report:
    classifiers = options.pop("classifiers", toys.classifiers())
    return evaluate_model(echoes, data, classifiers, DIGITS, **{**SMALL, **options})


def indexed(model: Model) -> toys.Copier:
    """A model without fault, whose tokens are numbers of items."""
    copier = toys.Copier(model, toys.split(0))
    copier.codec = toys.Indexed(model, toys.split(0))
    return copier


def test_a_model_without_fault(perfect_report: Report) -> None:
    real, made = perfect_report.columns["real"], perfect_report.columns["generated"]
    assert (real["image_right"], real["sound_right"]) == (1.0, 1.0)
    assert made.figures["sound_right"].per_seed == (1.0, 1.0)
    matrix = made.matrices["sound-to-picture"].counts
    assert matrix == tuple(tuple(8 * (row == column) for column in range(10)) for row in range(10))
    # Every test image is given once, so their variety and novelty are those of the real ones.
    assert made["image_diversity"] == pytest.approx(1.0)
    assert (made["image_nearest"], made["image_closest"]) == (real["image_nearest"], real["image_closest"])
    assert made["pairs_agree"] == 1.0
    assert made["image_first_missing"] == 0
    assert made["pairs_largest"] == pytest.approx(0.1)
    assert made["sound_peak"] == pytest.approx(real["sound_peak"], abs=1e-6)
    assert perfect_report.columns["unguided"].settings["guidance"] == 1.0


def test_a_lossless_round_trip(perfect_report: Report) -> None:
    trip = perfect_report.columns["round trip"]
    assert (trip["image_kept"], trip["sound_kept"], trip["vocoder_kept"]) == (1.0, 1.0, 1.0)
    assert (trip["tokenizer_mel_l1"], trip["mel_l1"]) == (0.0, pytest.approx(0.0, abs=1e-6))
    assert (trip["sound_diversity"], trip["image_psnr"]) == (pytest.approx(1.0), 120.0)
    for word, codes in (("image", toys.LAYOUT.image_codes), ("sound", toys.LAYOUT.audio_codes)):
        assert trip[f"{word}_codes"] == 8 / codes
        assert trip[f"{word}_perplexity"] == pytest.approx(8.0)


def test_a_model_that_is_one_off(whole_model: Model, data: Path) -> None:
    made = evaluate(toys.Copier(whole_model, toys.split(), offset=1), data).columns["generated"]
    assert made["sound_right"] == 0.0
    assert made.matrices["picture-to-sound"].counts[9] == (8,) + (0,) * 9
    assert made["pairs_agree"] == 0.0
    assert made.matrices["pairs"].counts[3] == (0, 0, 0, 0, 4, 0, 0, 0, 0, 0)
    # Wrong items show no variety, however much they differ.
    assert made["image_diversity"] == 0.0


def test_a_model_that_always_gives_the_same_has_no_diversity(whole_model: Model, data: Path) -> None:
    made = evaluate(toys.Copier(whole_model, toys.split(), monotone=True), data).columns["generated"]
    assert made["image_right"] == 1.0
    assert (made["image_diversity"], made["sound_diversity"]) == (0.0, 0.0)


def test_a_model_that_copies_its_training_images_is_seen(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split(1))  # the train split
    assert evaluate(copier, data).columns["generated"]["image_nearest"] == pytest.approx(0.0, abs=1e-5)


def test_spoilt_images_count_as_not_kept(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    copier.codec = toys.Recall(whole_model, toys.split(), spoilt=range(3))
    trip = evaluate(copier, data).columns["round trip"]
    assert (trip["image_kept"], trip["image_right"]) == (0.7, 0.7)


def test_kept_asks_the_classifier_and_right_asks_the_truth(whole_model: Model, tmp_path: Path) -> None:
    test = toys.split()
    test.image_groups[0] = 1  # an image of group 0 with a wrong label
    copier = toys.Copier(whole_model, test)
    copier.codec = toys.Recall(whole_model, test)
    columns = evaluate(copier, toys.write_data(tmp_path, test, toys.split(1))).columns
    assert columns["real"]["image_right"] == columns["round trip"]["image_right"] == 39 / 40
    assert columns["round trip"]["image_kept"] == 1.0


def test_levels_count_silent_and_clipped_sounds(whole_model: Model, data: Path) -> None:
    source = toys.split()
    source.sounds[:2] = 0  # both sounds of group 0
    source.sounds[2:4, 7] = 32767
    made = evaluate(toys.Copier(whole_model, source), data).columns["generated"]
    assert (made["sound_silent"], made["sound_clipped"]) == (pytest.approx(0.1), pytest.approx(0.1))


def test_no_two_seeds_share_noise(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    evaluate(copier, data, seeds=(0, 1, 5))
    assert {call["seed"] for call in copier.calls} == {0, 1_000_000, 5_000_000}
    assert len(copier.calls) == 3 * 4 * 2  # seeds, requests, with and without guidance


def test_settings_go_over_the_defaults(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    changes = {"steps": 7, "guidance": 1.5}
    columns = evaluate(copier, data, settings=changes).columns
    assert columns["generated"].settings == {**whole_model.sampling.model_dump(), **changes}
    assert columns["unguided"].settings["guidance"] == 1.0
    assert {(call["steps"], call["guidance"]) for call in copier.calls} == {(7, 1.5), (7, 1.0)}


def test_without_guidance_there_is_nothing_to_compare(whole_model: Model, data: Path) -> None:
    copier = toys.Copier(whole_model, toys.split())
    report = evaluate(copier, data, settings={"guidance": 1.0})
    assert list(report.columns) == ["real", "round trip", "generated"]
    assert len(copier.calls) == 2 * 4


def test_a_random_model_gives_the_same_report_twice(echoes: VisualEchoes, data: Path) -> None:
    first, second, other = (
        evaluate(echoes, data, **LITTLE, seeds=(seed,)).model_dump(exclude={"seconds"}) for seed in (0, 0, 1)
    )
    assert first == second
    assert other["columns"]["generated"] != first["columns"]["generated"]
    assert other["columns"]["round trip"] == first["columns"]["round trip"]


def test_the_report_names_model_data_and_classifiers(echoes: VisualEchoes, model_folder: Path, data: Path) -> None:
    report = evaluate(echoes, data, **LITTLE, seeds=(0,))
    parts = read_description(model_folder).parts
    assert report.model is not None
    assert report.data is not None
    assert report.model.checksums == {name: part.sha256 for name, part in parts.items()}
    assert report.model.name == "tiny"
    assert report.data.sources == {"images.npz": "0" * 64}
    assert report.data.items == {"test images": 40, "test sounds": 20, "training images": 40}
    assert set(report.backbones) == {"image classifier", "sound classifier"}
    assert set(report.seconds) == {"real", "round trip", "generated", "unguided"}


# Baselines, distances and second opinions


def test_baselines_go_through_the_same_decoders_to_the_same_classifiers(scenes_report: Report) -> None:
    right, wrong = (scenes_report.columns[name] for name in ("right", "wrong"))
    assert right.figures["sound_right"].per_seed == right.figures["image_right"].per_seed == (1.0, 1.0)
    assert wrong["sound_right"] == wrong["image_right"] == 0.0
    assert wrong.matrices["picture-to-sound"].counts[9] == (6,) + (0,) * 9
    assert right["sound_silent"] == scenes_report.columns["real"]["sound_silent"]
    assert "pairs_agree" not in right.figures


def test_a_baselines_seeds_are_the_models(whole_model: Model, data: Path) -> None:
    baseline = toys.Shifted(0)
    model = indexed(whole_model)
    report = evaluate(model, data, baselines={"right": baseline}, seeds=(2, 5), batch_size=7, images=30)
    assert report.columns["right"]["sound_right"] == report.columns["right"]["image_right"] == 1.0
    assert baseline.seeds == [seed * 1_000_000 + item for count in (30, 40) for seed in (2, 5) for item in range(count)]


def test_every_column_has_its_distances(scenes_report: Report) -> None:
    columns = scenes_report.columns
    assert list(columns) == ["real", "round trip", "generated", "unguided", "right", "wrong"]
    for word, references in (("image", 30), ("sound", 20)):
        # What comes back unchanged has no distance.
        assert columns["round trip"][f"{word}_frechet"] == pytest.approx(0.0, abs=1e-6)
        assert columns["round trip"][f"{word}_kid"] == pytest.approx(0.0, abs=1e-6)
        assert {column.figures[f"{word}_frechet"].references for column in columns.values()} == {references}
    counts = {
        name: (column.figures["image_kid"].items, column.figures["sound_kid"].items) for name, column in columns.items()
    }
    assert counts["real"] == (20, 10)  # half of 40 and 20
    assert counts["round trip"] == (30, 20)
    assert counts["generated"] == counts["unguided"] == counts["wrong"] == (80, 60)
    # Ten features, and ten real sounds are half of the training split.
    assert columns["real"].figures["sound_frechet"].warning
    assert columns["generated"].figures["sound_frechet"].warning is None


def test_a_round_trip_is_paired_with_what_went_in(whole_model: Model, data: Path) -> None:
    class Darker(toys.Indexed):
        def decode_images(self, tokens_BI: torch.Tensor) -> np.ndarray:
            return super().decode_images(tokens_BI) // 2

    model = indexed(whole_model)
    model.codec = Darker(whole_model, toys.split(0))
    found = evaluate(model, data).columns["round trip"]["image_kid"]
    images, classifier = toys.split(0).images, toys.classifier("image")
    real, darker = (see_items(classifier, of).features_FD for of in (images, images // 2))
    assert found == pytest.approx(kernel_distance(darker, real, paired=True).value)
    assert found != pytest.approx(kernel_distance(darker, real).value)


def test_second_opinions_stand_beside_their_own_accuracy(scenes_report: Report) -> None:
    for column in scenes_report.columns.values():
        assert column["image_opinion"] == pytest.approx(0.1)  # one group of ten
        assert "sound_opinion" not in column.figures


def test_images_are_the_first_of_each_class(whole_model: Model, data: Path) -> None:
    test = EvaluationSet(VisualEchoes(whole_model, CPU), data, toys.classifiers(), 16, images=20)
    first = [toys.IMAGES * group + item for group in range(10) for item in (0, 1)]
    assert np.array_equal(test.sides["image"].items, toys.split(0).images[first].movedim(1, -1).numpy())
    assert test.sides["image"].groups_B.tolist() == [group for group in range(10) for _ in range(2)]
    for images in (10, 25, 50):
        with pytest.raises(EchoesError, match=f"{images} test images cannot be as many of each of 10 classes"):
            evaluate(indexed(whole_model), data, images=images)


def test_a_classifier_of_more_classes_is_asked_about_these_only(whole_model: Model, data: Path) -> None:
    # It would take everything for the class that the data lacks.
    class Distracted(toys.RowMeans):
        def head(self, features_BD: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.full((len(features_BD), 1), 99.0), super().head(features_BD)], 1)

    config, image = ClassifierConfig(modality="audio"), toys.classifier("image")
    audio = Classifier(config, Distracted(), toys.LAYOUT, ["train", *toys.GROUPS])  # type: ignore[arg-type]
    report = evaluate(indexed(whole_model), data, classifiers={"image": image, "audio": audio})
    assert report.columns["real"]["sound_right"] == 1.0
    fewer = Classifier(config, build_classifier(config, toys.LAYOUT, 9), toys.LAYOUT, toys.GROUPS[1:])
    with pytest.raises(EchoesError, match="other groups than the data"):
        evaluate(indexed(whole_model), data, classifiers={"image": image, "audio": fewer})


def test_progress_counts_baselines_too(whole_model: Model, data: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    baselines = {"one": toys.Shifted(0), "other": toys.Shifted(0)}
    evaluate(
        indexed(whole_model), data, baselines=baselines, settings={"steps": 3, "guidance": 1.0}, images=30,
        progress=lambda *state: seen.append(state), batch_size=16,
    )  # fmt: skip
    # The model of the toys reports nothing itself: batches of 30 images and 40 sounds, two seeds, two baselines.
    assert [state[1] for state in seen][-1] == seen[-1][2]
    assert len(seen) == (2 + 3) * 2 * 2
    assert {state[0] for state in seen} == {f"{name}: {target}" for name in baselines for target in ("sound", "image")}


# What is refused


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


def test_unfit_classifiers_are_refused(echoes: VisualEchoes, data: Path) -> None:
    image, audio = toys.classifier("image"), toys.classifier("audio")
    with pytest.raises(EchoesError, match="one of audio"):
        evaluate(echoes, data, classifiers={"image": audio, "audio": audio})
    with pytest.raises(EchoesError, match="another shape or rate"):
        evaluate(echoes, data, classifiers={"image": image, "audio": toys.classifier("audio", get_layout("digits"))})
    with pytest.raises(EchoesError, match="other groups"):
        evaluate(echoes, data, classifiers={"image": toys.classifier("image", groups=["a", "b"]), "audio": audio})


def test_generated_sounds_are_heard_at_their_position_in_the_clip(whole_model: Model, data: Path) -> None:
    # A layout whose mel is a crop: one more frame before it than after.
    layout = dataclasses.replace(toys.LAYOUT, audio_factor=(4, 10))
    assert layout.mel_offset == 1
    whole_model.layout = layout
    test = EvaluationSet(VisualEchoes(whole_model, CPU), data, toys.classifiers(), 16)
    first = layout.mel_offset * layout.hop
    cropped = test.sides["audio"].items[:, first : first + layout.samples]
    late = np.roll(cropped, layout.hop, axis=1)
    assert test.mel_l1(cropped) < 0.5 * test.mel_l1(late)  # not 0: the outer frames hear what was cut away
