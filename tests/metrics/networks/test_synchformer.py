"""Synchformer against its published modules, of two layers, with weights that follow from a rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metrics.networks.reference import EXPECTED, sound, state
from parity_weights import parity_tensor
from visual_echoes.errors import EchoesError
from visual_echoes.metrics.networks import synchformer
from visual_echoes.metrics.networks.weights import load_published

PUBLISHED: dict[str, list[int]] = json.loads(Path(__file__).with_name("synchformer.json").read_text())


@pytest.fixture(autouse=True)
def _shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synchformer, "LAYERS", 2)


def published() -> dict[str, Tensor]:
    """Weights under the published names; tokens and positions are as large as what they are added to."""
    tensors = state({name: tuple(shape) for name, shape in PUBLISHED.items()})
    return {name: value * value[0].numel() ** 0.5 if value.dim() == 3 else value for name, value in tensors.items()}


@pytest.fixture(scope="module")
def network() -> synchformer.Synchformer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synchformer, "LAYERS", 2)
        network = synchformer.Synchformer()
        network.load_state_dict(synchformer.own_names(published()))
    return network.eval().requires_grad_(False)


def check(name: str, found: Tensor, step: int = 1) -> None:
    assert found.flatten()[::step][:8].tolist() == pytest.approx(EXPECTED[name], abs=2e-4), name


def test_what_is_seen(network: synchformer.Synchformer) -> None:
    frames = parity_tensor("frames", [1, 16, 3, 224, 224]).mul(300).tanh()
    seen = network.seen(frames)
    assert seen.shape == (1, 8, 768)
    check("synchformer_seen", seen, 613)


def test_what_is_heard(network: synchformer.Synchformer) -> None:
    mel = synchformer.spectrograms(sound())
    assert mel.shape == (6, 128, 66)
    check("synchformer_mel", mel, 997)
    heard = network.heard(mel)
    assert heard.shape == (6, 6, 768)
    check("synchformer_heard", heard, 613)


def test_the_offset_of_both(network: synchformer.Synchformer) -> None:
    seen, heard = (parity_tensor(name, [1, 14, size, 768]).mul(20)[0] for name, size in (("seen", 8), ("heard", 6)))
    logits = network(seen, heard)
    assert logits.shape == (21,)
    check("synchformer", logits)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"vproj.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(EchoesError, match="does not fit a Synchformer"):
        load_published(synchformer.Synchformer, path, "Synchformer", synchformer.own_names)
