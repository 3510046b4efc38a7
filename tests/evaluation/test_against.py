"""Baselines made for a model, on the tokens of its own tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from evaluation import toys
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.against import autoregressive_baseline, retrieval_baselines
from visual_echoes.layout import get_layout
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.model.autoregressive import AutoregressiveConfig, AutoregressiveTransformer, save_autoregressive
from visual_echoes.pipeline import VisualEchoes

SIZES = {"width": 16, "heads": 2, "layers": 1}


def test_retrieval_knows_the_training_split(echoes: VisualEchoes, data: Path) -> None:
    seen: list[tuple[int, int]] = []
    baselines = retrieval_baselines(echoes, data, 16, lambda done, total: seen.append((done, total)))
    assert list(baselines) == ["retrieval", "class mean"]
    assert seen == [(done, 60) for done in (16, 32, 40, 56, 60)]
    train = toys.split(1)
    tokens_BI = echoes.codec.encode_images(train.images[::8].movedim(1, -1).contiguous().numpy())
    tokens_NA = echoes.codec.encode_mels(echoes.codec.mels(pcm_to_wave(train.sounds).numpy()))
    made_BA = baselines["retrieval"].image_to_audio(tokens_BI, range(len(tokens_BI)))
    for group, row_A in zip(train.image_groups[::8].tolist(), made_BA, strict=True):
        assert any(torch.equal(row_A, tokens_NA[item]) for item in (2 * group, 2 * group + 1))


def test_an_autoregressive_baseline_must_be_for_the_same_tokens(echoes: VisualEchoes, tmp_path: Path) -> None:
    for name in ("debug", "digits"):
        config = AutoregressiveConfig.for_layout(get_layout(name), **SIZES)
        save_autoregressive(tmp_path / name, AutoregressiveTransformer(config), config)
    baseline = autoregressive_baseline(echoes, tmp_path / "debug")
    tokens_BI = torch.zeros(2, tiny.LAYOUT.image_tokens, 1, dtype=torch.int64)
    assert baseline.image_to_audio(tokens_BI, [0, 1]).shape == (2, tiny.LAYOUT.audio_tokens, 1)
    with pytest.raises(EchoesError, match="another layout"):
        autoregressive_baseline(echoes, tmp_path / "digits")
    with pytest.raises(EchoesError, match="no usable autoregressive baseline"):
        autoregressive_baseline(echoes, tmp_path)
