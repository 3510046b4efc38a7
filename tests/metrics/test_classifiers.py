"""Classifiers as folders, and what they say; those inside the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.layout import Modality
from visual_echoes.metrics import classifiers as module
from visual_echoes.metrics.classifiers import (
    CLASSIFIER_BATCH,
    CONFIG_FILE,
    WEIGHTS_FILE,
    Classifier,
    ClassifierConfig,
    build_classifier,
    load_classifier,
    packaged_classifier,
    packaged_classifiers,
    save_classifier,
)

NAMES = ["a", "b", "c"]


def untrained(modality: Modality) -> Classifier:
    torch.manual_seed(0)
    config = ClassifierConfig(modality=modality, width=4)
    return Classifier(config, build_classifier(config, tiny.LAYOUT, len(NAMES)).eval(), tiny.LAYOUT, NAMES)


def items(modality: Modality, count: int) -> torch.Tensor:
    if modality == "image":
        size = tiny.LAYOUT.image_size
        return torch.randint(0, 256, (count, 1, size, size), generator=tiny.generator(), dtype=torch.uint8)
    return torch.rand(count, tiny.LAYOUT.clip_samples, generator=tiny.generator()) * 2 - 1


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_classifier_survives_its_folder(tmp_path: Path, modality: Modality) -> None:
    classifier = untrained(modality)
    save_classifier(tmp_path / "own", classifier.network, classifier.config, classifier.layout, NAMES)
    loaded = load_classifier(tmp_path / "own")
    assert (loaded.config, loaded.layout, loaded.labels) == (classifier.config, classifier.layout, NAMES)
    assert (loaded.name, loaded.sha256) == ("own", file_digest(tmp_path / "own" / WEIGHTS_FILE))
    expected = classifier.probabilities(items(modality, 3))
    torch.testing.assert_close(loaded.probabilities(items(modality, 3)), expected, atol=2e-3, rtol=0)  # half precision


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_batches_do_not_change_a_verdict(modality: Modality) -> None:
    classifier, many = untrained(modality), items(modality, CLASSIFIER_BATCH + 3)
    probabilities = classifier.probabilities(many)
    torch.testing.assert_close(probabilities[-3:], classifier.probabilities(many[-3:]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(many)))
    assert classifier.classes(many).tolist() == probabilities.argmax(1).tolist()


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_restricted_classifier_knows_nothing_else(modality: Modality) -> None:
    classifier, some = untrained(modality), items(modality, 5)
    full, features = classifier.probabilities(some), [look.features_FD for look in classifier.look(some)]
    restricted = classifier.restricted(["c", "a"])
    assert restricted.labels == ["c", "a"]
    expected = full[:, [2, 0]] / full[:, [2, 0]].sum(1, keepdim=True)  # given that it is one of both
    torch.testing.assert_close(restricted.probabilities(some), expected)
    torch.testing.assert_close(restricted.restricted(["a", "c"]).probabilities(some), expected.flip(1))
    assert all(
        torch.equal(*pair) for pair in zip([look.features_FD for look in restricted.look(some)], features, strict=True)
    )
    with pytest.raises(EchoesError, match="other groups than the data"):
        classifier.restricted(["a", "d"])
    with pytest.raises(EchoesError, match="other groups than the data"):
        restricted.restricted(["a", "b"])


@torch.no_grad()
@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_look_gives_what_the_network_makes_of_it(modality: Modality) -> None:
    classifier, some = untrained(modality), items(modality, CLASSIFIER_BATCH + 2)
    looks = list(classifier.looks(some))
    features_BD = torch.cat([look.features_FD for look in looks])
    assert features_BD.shape == (len(some), 2 * 16)
    logits_BG = torch.stack([look.logits_K for look in looks if look.logits_K is not None])
    torch.testing.assert_close(logits_BG, classifier.network.head(features_BD))
    torch.testing.assert_close(classifier.probabilities(some), logits_BG.softmax(1))


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / CONFIG_FILE).unlink(),
        lambda folder: (folder / WEIGHTS_FILE).unlink(),
        lambda folder: (folder / CONFIG_FILE).write_text("[]"),
        lambda folder: (folder / CONFIG_FILE).write_text("{"),
        lambda folder: replace(folder / CONFIG_FILE, '"c"', '"c", "d"'),
        lambda folder: replace(folder / CONFIG_FILE, "width", "breadth"),
        lambda folder: (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:-20]),
        lambda folder: (folder / WEIGHTS_FILE).write_bytes(b""),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    classifier = untrained("image")
    save_classifier(tmp_path, classifier.network, classifier.config, classifier.layout, NAMES)
    damage(tmp_path)
    with pytest.raises(EchoesError, match="no usable classifier"):
        load_classifier(tmp_path)


def test_an_unknown_classifier_is_refused_with_the_known_names() -> None:
    for name in ("no-such-classifier", "../weights", ""):
        with pytest.raises(EchoesError, match="There is no packaged classifier"):
            packaged_classifier(name)


def test_a_classifier_in_the_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClassifierConfig(modality="image", width=4)
    save_classifier(tmp_path / "bars", build_classifier(config, tiny.LAYOUT, 2), config, tiny.LAYOUT, ["a", "b"])
    monkeypatch.setattr(module, "_packaged", lambda: tmp_path)
    assert packaged_classifiers() == ["bars"]
    assert packaged_classifier("bars").labels == ["a", "b"]


def test_every_packaged_classifier_loads() -> None:
    assert {"digits-image", "digits-audio", "scenes-image", "scenes-audio"} <= set(packaged_classifiers())
    for name in packaged_classifiers():
        labels = packaged_classifier(name).labels or ()
        assert len(set(labels)) == len(labels) > 1
