"""What a model encodes when it is used is what it was trained on, and decoding undoes the same steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.checkpoints.model import Model
from visual_echoes.codec import Codec
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.digits_in_time import make_clip, read_material
from visual_echoes.data.sources import ImageSource, MelSource, WaveSource
from visual_echoes.data.tokens import encode_all, grid_encoder
from visual_echoes.errors import EchoesError
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.onsets import find_onsets, gather
from visual_echoes.pipeline import VisualEchoes

SPLIT = tiny.pair_split()
DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.fixture(scope="module")
def codec(echoes: VisualEchoes) -> Codec:
    return echoes.codec


def test_images_become_the_tokens_of_the_token_cache(codec: Codec) -> None:
    cached = encode_all(
        {"image": grid_encoder(codec.image_vqgan, 1)}, ImageSource(SPLIT, Augmentation()), copies=1, seed=0
    )["image"]
    tokens = codec.encode_images(SPLIT.images.movedim(1, -1).numpy())
    assert torch.equal(tokens, cached.long())
    assert len(tokens.unique()) > 8


def test_sounds_become_the_tokens_of_the_token_cache(codec: Codec) -> None:
    mels = MelSource(WaveSource(SPLIT, tiny.LAYOUT, Augmentation()), tiny.LAYOUT)
    cached = encode_all({"audio": grid_encoder(codec.audio_vqgan, 1)}, mels, copies=1, seed=0)["audio"]
    tokens = codec.encode_mels(codec.mels(pcm_to_wave(SPLIT.sounds).numpy()))
    assert torch.equal(tokens, cached.long())
    assert len(tokens.unique()) > 4


def test_decoding_is_the_tokenizer_s_reconstruction(codec: Codec) -> None:
    pictures = SPLIT.images.movedim(1, -1).numpy()
    with torch.no_grad():
        unit = codec.image_vqgan(ImageSource(SPLIT, Augmentation()).take(torch.arange(24), None))
        mel = codec.audio_vqgan(
            MelSource(WaveSource(SPLIT, tiny.LAYOUT, Augmentation()), tiny.LAYOUT).take(torch.arange(20), None)
        )
    found = codec.decode_images(codec.encode_images(pictures))
    expected = ((unit.reconstruction_BCHW.clamp(-1, 1) + 1) * 127.5).movedim(1, -1).numpy()
    assert np.abs(found - expected).max() <= 0.501
    tokens = codec.encode_mels(codec.mels(pcm_to_wave(SPLIT.sounds).numpy()))
    expected_mel = ((mel.reconstruction_BCHW[:, 0] + 1) / 2).clamp(0, 1)
    torch.testing.assert_close(codec.decode_mels(tokens).float(), expected_mel, atol=1e-4, rtol=0)


def test_a_batch_gives_the_bytes_that_each_item_gives_alone(codec: Codec) -> None:
    pictures, waves = SPLIT.images.movedim(1, -1).numpy()[:5], pcm_to_wave(SPLIT.sounds).numpy()[:5]
    image_BI, mel_BMT = codec.encode_images(pictures), codec.mels(waves)
    audio_BA = codec.encode_mels(mel_BMT)
    whole = [
        image_BI, codec.decode_images(image_BI), codec.image_error(pictures, image_BI), mel_BMT, audio_BA,
        codec.decode_mels(audio_BA), codec.mel_error(mel_BMT, audio_BA), codec.vocode(mel_BMT),
    ]  # fmt: skip
    for row in range(5):
        one = slice(row, row + 1)
        alone = [
            codec.encode_images(pictures[one]), codec.decode_images(image_BI[one]),
            codec.image_error(pictures[one], image_BI[one]), codec.mels(waves[one]), codec.encode_mels(mel_BMT[one]),
            codec.decode_mels(audio_BA[one]), codec.mel_error(mel_BMT[one], audio_BA[one]), codec.vocode(mel_BMT[one]),
        ]  # fmt: skip
        for together, single in zip(whole, alone, strict=True):
            np.testing.assert_array_equal(together[one], single)


@pytest.mark.parametrize(("name", "dtype"), [("scenes", torch.float64), ("digits", torch.float32)])
def test_a_vocoder_that_magnifies_rounding_gets_its_mel_in_float64(name: str, dtype: torch.dtype) -> None:
    codec = VisualEchoes.from_pretrained(name, device="cpu").codec
    tokens = torch.zeros(1, codec.layout.audio_tokens, 1, dtype=torch.int64)
    assert codec.decode_mels(tokens).dtype == dtype


@pytest.mark.parametrize(("name", "rounded"), [("digits", ["image", "mel"]), ("scenes", ["image"])])
def test_decoders_in_bfloat16_give_nearly_the_same_of_the_same_tokens(name: str, rounded: list[str]) -> None:
    exact, near = (VisualEchoes.from_pretrained(name, device="cpu", precision=p).codec for p in ("float32", "bfloat16"))
    layout, noise = exact.layout, tiny.generator()
    images = torch.randint(
        0, 256, (2, layout.image_size, layout.image_size, layout.image_channels), dtype=torch.uint8, generator=noise
    ).numpy()
    mel_BMT = torch.rand(2, layout.n_mels, layout.mel_frames, generator=noise)
    image_BPQ, audio_BPQ = exact.encode_images(images), exact.encode_mels(mel_BMT)
    assert torch.equal(near.encode_images(images), image_BPQ)
    assert torch.equal(near.encode_mels(mel_BMT), audio_BPQ)
    made = {
        "image": [codec.decode_images(image_BPQ).astype(np.float64) / 255 for codec in (exact, near)],
        "mel": [codec.decode_mels(audio_BPQ).numpy() for codec in (exact, near)],
    }
    for what, (one, other) in made.items():
        error = np.sqrt(np.square(one - other).mean())
        assert (0 < error < 0.01) if what in rounded else error == 0
    lost = [codec.mel_error(mel_BMT, audio_BPQ) for codec in (exact, near)]
    assert torch.equal(*lost) == ("mel" not in rounded)
    assert (exact.precision, near.precision) == ("float32", "bfloat16, decoders bfloat16")


def test_vocoding_gives_sound_of_the_layout_s_length(codec: Codec) -> None:
    wave = codec.vocode(torch.rand(2, tiny.LAYOUT.n_mels, tiny.LAYOUT.mel_frames, generator=tiny.generator()))
    assert wave.shape == (2, tiny.LAYOUT.samples)
    assert wave.dtype == np.float32
    assert 0 < np.abs(wave).max() <= 1


def test_a_part_that_is_not_there_is_named(whole_model: Model) -> None:
    del whole_model.parts["audio_vqgan"]
    codec = Codec(whole_model, torch.device("cpu"))
    with pytest.raises(EchoesError, match="'tiny' has no audio_vqgan"):
        codec.encode_mels(torch.zeros(1, tiny.LAYOUT.n_mels, tiny.LAYOUT.mel_frames))


def test_words_in_time_begin_when_they_did_after_the_round_trip() -> None:
    """The decoder of `digits` lets something of a word be heard in the silence before it."""
    echoes = VisualEchoes.from_pretrained("digits-in-time", device="cpu")
    material, generator = read_material(DIGITS, echoes.layout)["test"], tiny.generator(0)
    for _ in range(12):
        events, _, wave_N = make_clip(material, echoes.layout, varied=False, generator=generator)
        again = echoes.reconstruct(sounds=[(wave_N, echoes.layout.sample_rate)]).audio
        assert again is not None
        found = gather(find_onsets(again[0], echoes.layout.sample_rate))
        assert found == pytest.approx([event.time for event in events], abs=0.1)
