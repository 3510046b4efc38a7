"""Requests to a model with labels and semantic streams: what is given is known, what is made follows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from visual_echoes import EchoesError, VisualEchoes
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.layout import VIEW_SIDE
from visual_echoes.model.config import TransformerConfig
from visual_echoes.request import Given, start
from visual_echoes.streams import Stream, TimeAxis
from visual_echoes.tokenizers.semantic import (
    AudioSemanticConfig,
    AudioSemanticTokenizer,
    ImageSemanticConfig,
    ImageSemanticTokenizer,
    patches,
)
from visual_echoes.vocoders import build_vocoder

SIDE = 32
NAMES = ("bell", "dog", "rain")
LONGER = replace(tiny.LAYOUT, seconds=160 * tiny.LAYOUT.hop / tiny.LAYOUT.sample_rate)  # than the network looks at once
LAYOUT = replace(
    LONGER, name="with meaning", extra_streams=(
        Stream(name="label", source="label", shape=(1,), codes=3, detail=-2, names=NAMES),
        Stream(name="image_semantic", source="image", shape=(1,), codes=4, depth=2, detail=-1),
        Stream(
            name="audio_semantic", source="audio", shape=(patches(LONGER.mel_frames),), codes=4, detail=-1,
            time=TimeAxis(axis=0, step=0.48),
        ),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> VisualEchoes:
    torch.manual_seed(0)
    whole = tiny.whole_model()
    config = TransformerConfig.for_layout(LAYOUT, width=16, heads=2, encoder_layers=1, decoder_layers=1, dropout=0.0)
    parts = {
        **whole.parts, "vocoder": build_vocoder("griffin-lim", {"iterations": 2}, LAYOUT).eval(),
        "transformer": tiny.transformer(config, 3),
        "image_semantic": ImageSemanticTokenizer(ImageSemanticConfig(codes=4, depth=2, code_dim=4, side=SIDE)),
        "audio_semantic": AudioSemanticTokenizer(AudioSemanticConfig(codes=4, code_dim=4, width=8)),
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("with-meaning")
    model = Model(name="m", version="1.0", layout=LAYOUT, parts=parts, sampling=whole.sampling)
    save_model(folder, model, half=False)
    return VisualEchoes.from_pretrained(folder, device="cpu")


def image(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def sound(seed: int) -> tuple[np.ndarray, int]:
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, LAYOUT.clip_samples).astype(np.float32)
    return wave, LAYOUT.sample_rate


def test_a_label_that_is_given_is_kept(echoes: VisualEchoes) -> None:
    assert echoes.image_to_audio([image(0), image(1)], label="dog").labels == ("dog", "dog")
    assert echoes.audio_to_image([sound(0), sound(1)], label=["rain", "bell"]).labels == ("rain", "bell")
    assert echoes.generate_pair(1, label="bell").labels == ("bell",)


def test_a_label_that_is_not_given_is_foretold(echoes: VisualEchoes) -> None:
    for found in (echoes.image_to_audio([image(0)]), echoes.audio_to_image([sound(0)]), echoes.generate_pair(1)):
        assert found.labels is not None
        assert len(found.labels) == 1
        assert set(found.labels) <= set(NAMES)


def test_what_is_made_depends_on_the_label(echoes: VisualEchoes) -> None:
    made = [echoes.image_to_audio([image(0)], label=name).audio for name in NAMES]
    assert made[0] is not None
    assert made[1] is not None
    assert not np.array_equal(made[0], made[1])


def test_a_label_that_is_unknown_names_the_known_ones(echoes: VisualEchoes) -> None:
    with pytest.raises(EchoesError, match="no label 'cow'; choose one of bell, dog, rain"):
        echoes.image_to_audio([image(0)], label="cow")
    with pytest.raises(EchoesError, match="2 items but 3 labels"):
        echoes.image_to_audio([image(0), image(1)], label=list(NAMES))


def test_a_model_without_labels_says_so(model_folder: Path) -> None:
    plain = VisualEchoes.from_pretrained(model_folder, device="cpu")
    with pytest.raises(EchoesError, match="has no labels"):
        plain.generate_pair(1, label="dog")
    assert plain.generate_pair(1).labels is None


def test_an_image_is_seen_whole(echoes: VisualEchoes) -> None:
    """The square in the middle is the same, what lies beside it is not."""
    square = image(0)
    square[:, :8] = square[:, -8:] = 0  # the filter looks a little beyond the square
    wide = np.pad(square, ((0, 0), (20, 20), (0, 0)))
    wide[:, :12] = wide[:, -12:] = 255
    pictures, views = echoes._images([wide, square])
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 2
    assert views is not None
    assert views.shape == (2, VIEW_SIDE, VIEW_SIDE, 3)
    assert not np.array_equal(views[0], views[1])


def test_semantic_tokens_of_what_is_inpainted_are_hidden(echoes: VisualEchoes) -> None:
    pictures, views = echoes._images([image(0)])
    some = torch.zeros(LAYOUT.image_tokens, dtype=torch.bool)
    some[:3] = True
    for region, hidden in ((None, False), (some & False, False), (some, True)):
        _, masked = start(
            echoes.codec, Given(1, pictures=pictures, views=views, image_mask=region), slice(0, 1), heard_BMT=None
        )
        assert bool(masked["image_semantic"].all()) == hidden
        assert masked["audio"].all()
        assert masked["audio_semantic"].all()
        assert masked["label"].all()
    mel_BMT = echoes.codec.mels(sound(0)[0][None])
    _, masked = start(echoes.codec, Given(1, waves=sound(0)[0][None]), slice(0, 1), mel_BMT)
    assert not masked["audio_semantic"].any()


@pytest.mark.parametrize("task", ["image_to_audio", "audio_to_image"])
def test_the_batch_does_not_matter(echoes: VisualEchoes, task: str) -> None:
    items = [image(seed) if task == "image_to_audio" else sound(seed) for seed in range(3)]
    together, alone = (getattr(echoes, task)(items, batch_size=size) for size in (3, 1))
    assert np.array_equal(together.images, alone.images)
    assert np.array_equal(together.audio, alone.audio)
    assert together.labels == alone.labels
