"""DeSync: which frames and samples Synchformer is shown, and what becomes of its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from evaluation.material import small_synchformer, write_video
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation import desync
from visual_echoes.evaluation.desync import SynchformerNetwork
from visual_echoes.files import file_digest
from visual_echoes.metrics.networks import synchformer

RATE = 16000


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return small_synchformer(tmp_path, monkeypatch)


@pytest.fixture
def network(weights: Path) -> SynchformerNetwork:
    return SynchformerNetwork(str(weights), file_digest(weights))


@pytest.mark.parametrize("rate", [10, 25, 30])
def test_frames_are_those_of_their_times_at_any_rate(
    network: SynchformerNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    shown: list[Tensor] = []

    def see(frames_BF3HW: Tensor) -> Tensor:
        shown.append(frames_BF3HW.mean((2, 3, 4)))
        return torch.zeros(len(frames_BF3HW), synchformer.MOMENTS_SEEN, synchformer.WIDTH)

    monkeypatch.setattr(network.network.seen, "forward", see)
    assert network.offset(write_video(tmp_path / "a.mp4", 5.2, rate), tmp_path / "a.mp4") == 0
    grey_SF = (torch.cat(shown) + 1) * 127.5
    assert grey_SF.shape == (15, 16)
    wanted_SF = (torch.arange(15)[:, None] * 8 + torch.arange(16)) / 25 * 25
    assert (grey_SF - wanted_SF).abs().max() <= 25 / rate + 3


def test_no_more_than_eight_seconds_are_compared(network: SynchformerNetwork, tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", 10.0)
    assert network.seen(path, 200).shape == (24, 8, 24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "seen", lambda video, frames: torch.full((frames, 8, 24), 0.0))
        patch.setattr(network, "heard", lambda sound, frames: torch.full((frames, 6, 24), 0.0))
        counted: list[int] = []
        patch.setattr(network.network, "forward", lambda seen, heard: counted.append(len(seen)) or torch.ones(21))
        assert network.offset(path, path) == 2.0  # the first class of equal ones
    assert counted == [14, 14]


def test_sounds_lie_where_the_file_has_them(network: SynchformerNetwork, tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(6 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "whole.wav", noise, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", noise[: 4 * RATE], RATE, subtype="FLOAT")
    whole, short = (network.heard(tmp_path / name, 150) for name in ("whole.wav", "short.wav"))
    assert whole.shape == (17, 6, 24)
    torch.testing.assert_close(whole[:11], short[:11])  # the sound that ends too soon is followed by silence
    assert not torch.allclose(whole[13:], short[13:], atol=1e-3)


def test_a_sound_that_begins_late_in_its_file_is_heard_late(
    network: SynchformerNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)
    late = round(0.96 * RATE)
    soundfile.write(tmp_path / "late.wav", np.pad(noise, (late, 0)), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")
    wanted = network.heard(tmp_path / "late.wav", 150)
    monkeypatch.setattr(desync, "sound_start", lambda path: 0.96)
    torch.testing.assert_close(network.heard(tmp_path / "noise.wav", 150), wanted)


def test_what_cannot_be_compared_is_named(network: SynchformerNetwork, weights: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "short.mp4", 3.0)
    with pytest.raises(EchoesError, match=r"short.mp4 lasts 3.00 s, but Synchformer compares 4.8 s or more"):
        network.offset(path, path)
    with pytest.raises(EchoesError, match="is not the published Synchformer"):
        SynchformerNetwork(str(weights))
