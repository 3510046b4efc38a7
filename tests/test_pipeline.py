"""Every task of a whole (untrained) model: shapes, ranges, seeds, batches, errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import tiny
from visual_echoes import EchoesError, Result, SamplingSettings, VisualEchoes
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.interface import Draw
from visual_echoes.model.settings import PRESETS, Preset
from visual_echoes.outputs import export_item
from visual_echoes.streams import Level, Tokens
from visual_echoes.vocoders import build_vocoder

LAYOUT = tiny.LAYOUT
SIZE, SAMPLES = LAYOUT.image_size, LAYOUT.clip_samples


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 1), np.uint8))


def sounds(count: int) -> list[tuple[np.ndarray, int]]:
    waves = np.random.default_rng(1).uniform(-0.5, 0.5, (count, SAMPLES)).astype(np.float32)
    return [(wave, LAYOUT.sample_rate) for wave in waves]


Task = Callable[..., Result]


def run(echoes: VisualEchoes, task: str, count: int, **options: Any) -> Result:
    if task == "image_to_audio":
        return echoes.image_to_audio(pictures(count), **options)
    if task == "audio_to_image":
        return echoes.audio_to_image(sounds(count), **options)
    if task == "inpaint":
        mask = np.zeros((SIZE, SIZE), bool)
        mask[:8] = True
        options = {"image_mask": mask, "audio_mask": [(0.1, 0.2)], **options}
        return echoes.inpaint(pictures(1)[0], sounds(1)[0], count=count, **options)
    return echoes.generate_pair(count, pair_order=task, **options)


TASKS = pytest.mark.parametrize(
    "task", ["image_to_audio", "audio_to_image", "together", "image_first", "audio_first", "inpaint"]
)


def assert_same(first: Result, second: Result) -> None:
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.mels, second.mels)
    np.testing.assert_array_equal(first.audio, second.audio)


def row(result: Result, index: int) -> Result:
    keep = slice(index, index + 1)
    return replace(result, images=result.images[keep], mels=result.mels[keep], audio=result.audio[keep])


@TASKS
def test_shapes_types_and_ranges(echoes: VisualEchoes, task: str) -> None:
    result = run(echoes, task, 3, seed=7)
    assert result.images.shape == (3, SIZE, SIZE, 1)
    assert result.images.dtype == np.uint8
    assert result.mels.shape == (3, LAYOUT.n_mels, LAYOUT.mel_frames)
    assert result.mels.dtype == np.float32
    assert 0 <= result.mels.min() <= result.mels.max() <= 1
    assert result.audio.shape == (3, LAYOUT.samples)
    assert result.audio.dtype == np.float32
    assert np.abs(result.audio).max() <= 1
    assert result.sample_rate == LAYOUT.sample_rate
    assert result.seeds == (7, 8, 9)
    assert result.settings == echoes.defaults


@TASKS
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(echoes: VisualEchoes, task: str) -> None:
    first, again, other = (run(echoes, task, 2, seed=seed) for seed in (3, 3, 50))
    for name in ("images", "mels", "audio"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert any((getattr(first, name) != getattr(other, name)).any() for name in ("images", "mels"))


@TASKS
def test_the_batch_size_does_not_matter(echoes: VisualEchoes, task: str) -> None:
    whole = run(echoes, task, 5, seed=3, batch_size=5)
    for size in (1, 2, 4):
        assert_same(run(echoes, task, 5, seed=3, batch_size=size), whole)


@pytest.mark.parametrize("task", ["image_to_audio", "audio_to_image"])
def test_one_item_can_be_made_again_alone(echoes: VisualEchoes, task: str) -> None:
    given = pictures(3) if task == "image_to_audio" else sounds(3)
    together = getattr(echoes, task)(given, seed=10)
    alone = getattr(echoes, task)(given[2:], seed=12)
    assert_same(alone, row(together, 2))
    chosen = getattr(echoes, task)(given[::-1], seeds=[12, 11, 10])
    assert chosen.seeds == (12, 11, 10)
    assert_same(row(chosen, 0), row(together, 2))


@pytest.mark.parametrize("task", ["together", "image_first", "inpaint"])
def test_one_variant_can_be_made_again_alone(echoes: VisualEchoes, task: str) -> None:
    assert_same(run(echoes, task, 1, seed=12), row(run(echoes, task, 3, seed=10), 2))


def test_what_is_given_comes_back_fitted(echoes: VisualEchoes) -> None:
    np.testing.assert_array_equal(echoes.image_to_audio(pictures(2)).images, np.stack(pictures(2)))
    result = echoes.audio_to_image(sounds(2))
    expected = np.stack([wave / np.abs(wave).max() * LAYOUT.peak for wave, _ in sounds(2)])
    first = LAYOUT.mel_offset * LAYOUT.hop
    np.testing.assert_allclose(result.audio, expected[:, first : first + LAYOUT.samples], atol=1e-6)


def test_a_made_sound_has_the_level_of_those_learnt_from(echoes: VisualEchoes, monkeypatch: pytest.MonkeyPatch) -> None:
    faint = np.full((2, LAYOUT.samples), 0.3, np.float32)
    monkeypatch.setattr(echoes.codec, "vocode", lambda mel_BMT: faint[: len(mel_BMT)])
    made = echoes.image_to_audio(pictures(2), steps=1).audio
    np.testing.assert_allclose(made, LAYOUT.peak, rtol=1e-6)
    changed = echoes.inpaint(pictures(1)[0], sounds(1)[0], audio_mask=[(0.1, 0.2)], steps=1).audio
    np.testing.assert_array_equal(changed, faint[:1])  # a given one keeps its own


def test_the_sound_depends_on_the_image(echoes: VisualEchoes) -> None:
    first, second = pictures(2)
    mels = [echoes.image_to_audio([picture], seed=1).mels for picture in (first, second)]
    assert (mels[0] != mels[1]).any()


def test_pairs_are_made_in_the_order_asked_for(echoes: VisualEchoes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[str, ...], list[bool]]] = []

    original = FastTransformer.score

    def watched(
        model: FastTransformer, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw
    ) -> Any:
        assert all(mask.all() or not mask.any() for mask in masked.values())
        seen.append((tuple(name for name, _ in asked), [bool(mask.all()) for mask in masked.values()]))
        return original(model, tokens, masked, asked, draw)

    monkeypatch.setattr(FastTransformer, "score", watched)
    for order in ("together", "image_first", "audio_first"):
        echoes.generate_pair(1, pair_order=order, steps=1, guidance=1.0)
    assert seen == [
        (("image", "audio"), [True, True]),
        (("image",), [True, True]),
        (("audio",), [False, True]),
        (("audio",), [True, True]),
        (("image",), [True, False]),
    ]


def test_settings_override_the_model_s_defaults(echoes: VisualEchoes) -> None:
    result = echoes.image_to_audio(pictures(1), steps=2, order="halton")
    assert result.settings == SamplingSettings(**{**echoes.defaults.model_dump(), "steps": 2, "order": "halton"})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_settings_over_the_model_s_and_under_those_named(echoes: VisualEchoes, name: Preset) -> None:
    made = echoes.image_to_audio(pictures(1), preset=name, temperature=1.0)
    assert made.settings == SamplingSettings(**{**echoes.defaults.model_dump(), **PRESETS[name], "temperature": 1.0})


def test_an_unknown_preset_is_refused_by_name(echoes: VisualEchoes) -> None:
    with pytest.raises(EchoesError, match="no preset 'slow'; choose one of quality, balanced, fast"):
        echoes.image_to_audio(pictures(1), preset="slow")


def test_inpainting_keeps_what_is_outside_the_mask(echoes: VisualEchoes) -> None:
    picture, sound = pictures(1)[0], sounds(1)[0]
    mask = np.zeros((SIZE, SIZE), bool)
    mask[2:3, 9] = True  # touches the third token of the first row: pixels 0-3, 8-11
    result = echoes.inpaint(picture, sound, image_mask=mask, count=4, seed=2)
    touched = np.zeros((SIZE, SIZE), bool)
    touched[:4, 8:12] = True
    np.testing.assert_array_equal(result.images[:, ~touched], np.stack([picture] * 4)[:, ~touched])
    assert all((image[touched] != picture[touched]).any() for image in result.images)
    # Nothing of the sound was asked for, so it is the given one.
    given = echoes.audio_to_image([sound])
    np.testing.assert_array_equal(result.mels, np.repeat(given.mels, 4, 0))
    np.testing.assert_array_equal(result.audio, np.repeat(given.audio, 4, 0))


def test_continuing_a_sound_keeps_its_beginning(echoes: VisualEchoes) -> None:
    sound = sounds(1)[0]
    half = LAYOUT.samples / 2 / LAYOUT.sample_rate
    result = echoes.inpaint(None, sound, audio_mask=[(half, 2 * half)], count=2, seed=2)
    given = echoes.audio_to_image([sound]).mels
    frames = LAYOUT.mel_frames // 2
    np.testing.assert_array_equal(result.mels[..., :frames], np.repeat(given[..., :frames], 2, 0))
    assert (result.mels[..., frames:] != given[..., frames:]).any()
    assert (result.images[0] != result.images[1]).any()  # made from nothing


@pytest.mark.parametrize("batch_size", [1, 16])
def test_reconstruction_is_the_round_trip_through_the_tokenizers(echoes: VisualEchoes, batch_size: int) -> None:
    result = echoes.reconstruct(pictures(3), sounds(2), batch_size=batch_size)
    codec = echoes.codec
    np.testing.assert_array_equal(result.images, codec.decode_images(codec.encode_images(np.stack(pictures(3)))))
    assert result.mels.shape == (2, LAYOUT.n_mels, LAYOUT.mel_frames)
    assert result.audio.shape == (2, LAYOUT.samples)
    assert (result.seeds, result.settings) == ((), None)
    # A round trip of a round trip's tokens: encoding gives tokens of the right shape and range.
    tokens = codec.encode_mels(codec.mels(np.stack([wave for wave, _ in sounds(2)])))
    assert tokens.shape == (2, LAYOUT.audio_tokens, 1)
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < LAYOUT.audio_codes


def test_reconstruction_of_one_side_leaves_the_other_out(echoes: VisualEchoes) -> None:
    assert echoes.reconstruct(images=pictures(1)).audio is None
    assert echoes.reconstruct(sounds=sounds(1)).images is None


@TASKS
def test_of_several_candidates_the_best_is_made(echoes: VisualEchoes, task: str) -> None:
    one, best = (run(echoes, task, 3, best_of=number, steps=2, temperature=9.0) for number in (1, 6))
    assert one.agreement is None
    assert best.agreement is not None
    assert best.agreement.shape == (3,)
    assert best.agreement.dtype == np.float64
    assert np.isfinite(best.agreement).all()
    assert not (np.array_equal(one.audio, best.audio) and np.array_equal(one.images, best.images))
    for options in ({"batch_size": 1}, {"batch_size": 4}):
        again = run(echoes, task, 3, best_of=6, steps=2, temperature=9.0, **options)
        assert_same(best, again)
        np.testing.assert_array_equal(best.agreement, again.agreement)


@TASKS
@pytest.mark.parametrize("steps", [3, 40])
def test_progress_rises_to_its_total(echoes: VisualEchoes, task: str, steps: int) -> None:
    seen: list[tuple[int, int]] = []
    run(echoes, task, 3, batch_size=2, steps=steps, progress=lambda done, total, *_: seen.append((done, total)))
    totals = {total for _, total in seen}
    assert totals == {2 * steps * (2 if task.endswith("first") else 1)}
    done = [entry[0] for entry in seen]
    assert done == sorted(set(done))
    assert done[-1] == totals.pop()


def test_progress_counts_candidates_over_all_batches(echoes: VisualEchoes) -> None:
    seen: list[tuple[int, int]] = []
    options: dict[str, Any] = {"steps": 2, "best_of": 3, "batch_size": 2}
    echoes.image_to_audio(pictures(3), **options, progress=lambda done, total, *_: seen.append((done, total)))
    assert {total for _, total in seen} == {12}
    assert [done for done, _ in seen] == [1, 2, 3, 4, 5, 6, 8, 10, 11, 12]


def test_progress_shows_the_places_that_are_still_open(echoes: VisualEchoes) -> None:
    seen: list[tuple[Tokens, Tokens]] = []
    echoes.image_to_audio(pictures(2), steps=3, progress=lambda done, total, *state: seen.append(state))
    assert [tuple(tokens["audio"].shape) for tokens, _ in seen] == [(2, LAYOUT.audio_tokens, 1)] * 3
    counts = [int(masked["audio"].sum()) for _, masked in seen]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0
    assert not any(masked["image"].any() for _, masked in seen)


def test_what_progress_raises_ends_the_request(echoes: VisualEchoes) -> None:
    done = []

    def stop(step: int, *_: object) -> None:
        done.append(step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        echoes.generate_pair(3, batch_size=1, progress=stop)
    assert done == [1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.image_to_audio(pictures(1), stepz=3), "'stepz'"),
        (lambda e: e.image_to_audio(pictures(1), steps=0), "'steps' cannot be 0"),
        (lambda e: e.generate_pair(1, order="backwards"), "'order'"),
        (lambda e: e.generate_pair(1, pair_order="backwards"), "'backwards'"),
        (lambda e: e.generate_pair(1, batch_size=0), "batch size"),
        (lambda e: e.reconstruct(pictures(1), batch_size=0), "batch size"),
        (lambda e: e.generate_pair(0), "at least one"),
        (lambda e: e.image_to_audio([]), "at least one"),
        (lambda e: e.inpaint(pictures(1)[0], count=-1), "at least one"),
        (lambda e: e.image_to_audio([np.zeros((4, 4), np.float32)]), "uint8"),
        (lambda e: e.image_to_audio(["missing.png"]), "missing.png"),
        (lambda e: e.audio_to_image([(np.full(100, np.nan), 8000)]), "finite"),
        (lambda e: e.audio_to_image([(np.zeros(100), 16_000)]), "8000 Hz"),
        (lambda e: e.audio_to_image(sounds(2), seeds=[1]), "2 items but 1 seed"),
        (lambda e: e.inpaint(None, sounds(1)[0], image_mask=np.ones((4, 4))), "mask needs"),
        (lambda e: e.inpaint(pictures(1)[0], audio_mask=[(0, 1)]), "mask needs"),
        (lambda e: e.inpaint(pictures(1)[0], image_mask=np.ones(4)), "two-dimensional"),
    ],
)
def test_impossible_requests_are_refused(
    echoes: VisualEchoes, call: Callable[[VisualEchoes], Any], message: str
) -> None:
    with pytest.raises(EchoesError, match=message):
        call(echoes)


@pytest.mark.parametrize("device", ["nope", "", "cuda:99", "mps"])
def test_devices_that_are_not_here_are_refused(whole_model: Model, model_folder: Any, device: str) -> None:
    with pytest.raises(EchoesError, match=f"device '{device}'"):
        VisualEchoes.from_pretrained(model_folder, device=device)


def test_a_model_without_a_part_says_so(whole_model: Model) -> None:
    import torch

    del whole_model.parts["transformer"]
    echoes = VisualEchoes(whole_model, torch.device("cpu"))
    assert echoes.reconstruct(pictures(1)).images is not None
    with pytest.raises(EchoesError, match="no transformer"):
        echoes.generate_pair(1)


def test_saving_and_loading_keeps_what_a_model_makes(echoes: VisualEchoes, tmp_path: Any) -> None:
    echoes.save_pretrained(tmp_path / "copy", half=False)
    copy = VisualEchoes.from_pretrained(tmp_path / "copy")
    assert_same(copy.generate_pair(2, seed=1), echoes.generate_pair(2, seed=1))
    assert load_model(tmp_path / "copy").sampling == echoes.defaults


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5])
def test_sounds_are_exact_to_the_sample_in_every_layout(layout: Layout, seconds: float, tmp_path: Path) -> None:
    """Whatever comes in, longer or shorter than the layout's clip, a WAV file has `layout.samples` samples."""
    halvings = tuple(
        (2 if rows > 1 else 1, 2 if columns > 1 else 1) for rows, columns in _halvings(layout.audio_factor)
    )
    config = tiny.vqgan_config(strides=halvings, codes=layout.audio_codes, code_dim=2, width=4, latent_width=4)
    model = Model(
        name="any", version="0", layout=layout, sampling=SamplingSettings(),
        parts={
            "audio_vqgan": tiny.vqgan(config),
            "vocoder": build_vocoder("griffin-lim", {"iterations": 1}, layout),
        },
    )  # fmt: skip
    echoes = VisualEchoes(model, torch.device("cpu"))
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * layout.seconds * layout.sample_rate))
    result = echoes.reconstruct(sounds=[(wave, layout.sample_rate)])
    (path,) = export_item(model, result, 0, tmp_path / "sound", [".wav"])
    info = soundfile.info(path)
    assert (info.frames, info.samplerate, info.channels) == (layout.samples, layout.sample_rate, 1)


def _halvings(factor: tuple[int, int]) -> list[tuple[int, int]]:
    """What is still to be halved, of rows and columns, before each halving."""
    rows, columns = factor
    return [] if rows == columns == 1 else [(rows, columns), *_halvings((max(1, rows // 2), max(1, columns // 2)))]


def test_no_image_is_made_for_silence(echoes: VisualEchoes) -> None:
    rate = LAYOUT.sample_rate
    with pytest.raises(EchoesError, match="Sound 2 is silent"):
        echoes.audio_to_image([*sounds(1), (np.zeros(SAMPLES), rate)])
    assert echoes.reconstruct(sounds=[(np.zeros(SAMPLES), rate)]).audio is not None


def test_an_image_is_taken_for_its_likeliest_label_if_that_is_asked_for() -> None:
    """By every seed; what is made from nothing is of labels that are drawn."""
    echoes = VisualEchoes(tiny.model_with_meaning(), torch.device("cpu"))
    image = np.zeros((64, 64), np.uint8)
    request = {"seed": 0, "steps": 1, "batch_size": 8, "guidance": 1.0}
    drawn, likeliest = (
        echoes.image_to_audio([image] * 40, label_choice=choice, **request) for choice in ("drawn", "likeliest")
    )
    assert drawn.labels is not None
    assert likeliest.labels is not None
    assert len(set(drawn.labels)) > 1
    assert set(likeliest.labels) == {max(set(drawn.labels), key=drawn.labels.count)}
    nothing = echoes.generate_pair(8, label_choice="likeliest", **request)
    assert nothing.labels == echoes.generate_pair(8, label_choice="drawn", **request).labels


def test_a_model_with_labels_says_how_probable_the_label_is() -> None:
    echoes = VisualEchoes(tiny.model_with_meaning(), torch.device("cpu"))
    image = np.zeros((64, 64), np.uint8)
    every = [echoes.image_to_audio([image], label=name, steps=1, confidence=True).confidence for name in tiny.LABELS]
    assert sum(float(each[0]) for each in every if each is not None) == pytest.approx(1.0)
    likeliest = echoes.image_to_audio([image], label_choice="likeliest", steps=1, confidence=True).confidence
    assert likeliest is not None
    assert likeliest[0] == max(float(each[0]) for each in every if each is not None)
