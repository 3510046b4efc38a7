"""The token step makes what the codec makes of each frame and window, and goes on where it was cut short."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from data.prepare.clips import write_pair, write_video
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.data.clips import read_clip_images, read_clip_sound, read_clip_video, window_offsets
from visual_echoes.data.events import Event
from visual_echoes.data.manifest import Clip, read_manifest
from visual_echoes.data.prepare import tokens as module
from visual_echoes.data.prepare.run import Engine, Settings, prepare
from visual_echoes.data.prepare.tokens import SOUND_WINDOWS, Tokenizers, window_labels, write_tokens
from visual_echoes.data.token_store import TokenStore, read_store_description
from visual_echoes.errors import EchoesError, EchoesWarning
from visual_echoes.inputs import fitted_image
from visual_echoes.layout import with_labels_in_time


@pytest.fixture(scope="module")
def tokenizers(model_folder: Path) -> Tokenizers:
    return Tokenizers.load(str(model_folder), torch.device("cpu"))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    for number in range(3):
        write_pair(tmp_path / "in" / f"p{number}", seconds=0.2 + 0.2 * number, seed=number)
    write_video(tmp_path / "in" / "v.mp4")
    settings = Settings(tmp_path / "in", tiny.LAYOUT, window=1.0, shortest=0.1, frames=4, valid_share=0, test_share=0)
    prepare(settings, tmp_path / "out", Engine(workers=1))
    return tmp_path / "out"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "tokens").iterdir())}


def test_rows_are_what_the_codec_makes_of_frames_and_windows(prepared: Path, tokenizers: Tokenizers) -> None:
    write_tokens(prepared, tokenizers, threads=2)
    clips = read_manifest(prepared)
    image = np.fromfile(prepared / "tokens" / "image.u16", "<u2").reshape(-1, tiny.LAYOUT.image_tokens)
    audio = np.fromfile(prepared / "tokens" / "audio.u16", "<u2").reshape(-1, tiny.LAYOUT.audio_tokens)
    assert len(image) == sum(len(clip.frames) for clip in clips) == 3 + 4
    assert len(audio) == 1 + 3 * SOUND_WINDOWS  # the first clip is shorter than the layout
    last = clips[-1]
    pixels = read_clip_images(last, prepared.parent / "in", range(4), tiny.LAYOUT)
    np.testing.assert_array_equal(image[-4:], tokenizers.codec.encode_images(pixels.movedim(1, -1).numpy())[..., 0])
    offsets = window_offsets(last, tiny.LAYOUT, SOUND_WINDOWS)
    waves = torch.stack([read_clip_sound(last, prepared.parent / "in", tiny.LAYOUT, offset) for offset in offsets])
    np.testing.assert_array_equal(
        audio[-SOUND_WINDOWS:], tokenizers.codec.encode_mels(tokenizers.codec.mels(waves.numpy()))[..., 0]
    )
    store = TokenStore.open(prepared, "train", tokenizers.checksums)
    _, groups = store.draw(50, tiny.generator())
    assert set(groups.tolist()) == {0, 1, 2, 3}


def test_a_run_that_was_cut_short_goes_on_to_the_same_bytes(
    prepared: Path, tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLIPS_AT_ONCE", 1)
    write_tokens(prepared, tokenizers, threads=1)
    whole = content(prepared)
    (prepared / "tokens" / "tokens.json").unlink()  # begun anew, since the progress is gone too

    def stop_at_two(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tokens(prepared, tokenizers, 2, stop_at_two)
    with pytest.raises(EchoesError, match="no finished tokens"):
        read_store_description(prepared)
    seen: list[int] = []
    write_tokens(prepared, tokenizers, 1, lambda done, total: seen.append(done))
    assert seen == [3, 4]
    assert content(prepared) == whole


def test_finished_tokens_are_left_alone_until_manifest_or_model_changes(
    prepared: Path, tokenizers: Tokenizers, whole_model: Model, tmp_path: Path
) -> None:
    write_tokens(prepared, tokenizers, 1)
    seen: list[int] = []
    write_tokens(prepared, tokenizers, 1, lambda done, total: seen.append(done))
    assert seen == []
    whole_model.parts["image_vqgan"] = tiny.vqgan(tiny.vqgan_config(), 77)
    save_model(tmp_path / "other", whole_model, half=False)
    other = Tokenizers.load(str(tmp_path / "other"), torch.device("cpu"))
    write_tokens(prepared, other, 1, lambda done, total: seen.append(done))
    assert seen == [4]
    with pytest.raises(EchoesError, match="another image_vqgan"):
        TokenStore.open(prepared, "train", tokenizers.checksums)


def test_a_run_folder_brings_the_tokenizers_it_trains_with(tokenizers: Tokenizers, training: Path) -> None:
    brought = Tokenizers.load(str(training), torch.device("cpu"))
    assert (brought.checksums, brought.layout) == (tokenizers.checksums, tokenizers.layout)


def test_a_file_that_has_gone_is_named(prepared: Path, tokenizers: Tokenizers) -> None:
    (prepared.parent / "in" / "v.mp4").unlink()
    with pytest.raises(EchoesError, match=r"v\.mp4 does not exist"):
        write_tokens(prepared, tokenizers, 1)


def test_a_model_without_tokenizers_is_refused(whole_model: Model, tmp_path: Path) -> None:
    del whole_model.parts["audio_vqgan"]
    save_model(tmp_path / "half", whole_model, half=False)
    with pytest.raises(EchoesError, match="no audio_vqgan"):
        Tokenizers.load(str(tmp_path / "half"), torch.device("cpu"))


def test_labels_in_time_are_those_of_each_frame_of_each_window() -> None:
    layout = with_labels_in_time(tiny.VIDEO_LAYOUT, "labelled", ("nothing", "dog"))
    stream, step = layout.streams[-1], layout.frame_seconds
    times = [layout.sound_start + time for time in layout.frame_times]
    clip = Clip("a", "train", None, "a.mp4", "a.mp4", 0.0, 1.0, (0.5,), "a", {}, (Event(times[1] - 0.001, "dog"),))
    assert window_labels(clip, stream, [0.0, 2 * step], layout).tolist() == [[0, 1, 1], [1, 1, 1]]
    still = tiny.MEANING_LAYOUT
    one = next(each for each in still.streams if each.name == "label")
    for label, code in (("rain", 2), ("cow", one.codes), (None, one.codes)):  # what is not known is the mask id
        unlabelled = replace(clip, label=label, events=())
        assert window_labels(unlabelled, one, [0.0, 1.0], still).tolist() == [[code]]
        assert window_labels(unlabelled, stream, [0.0], layout).tolist() == [[stream.codes] * stream.positions]


def test_videos_are_encoded_at_the_times_of_their_sound_windows(tmp_path: Path, model_folder: Path) -> None:
    """And with labels in time from a file of events; a label that the model does not know is its mask id."""
    layout = with_labels_in_time(tiny.VIDEO_LAYOUT, "labelled", ("nothing", "dog"))
    tokenizers = Tokenizers.load(str(model_folder), torch.device("cpu"), layout)
    write_video(tmp_path / "in" / "v.mp4")
    events = tmp_path / "events.jsonl"
    events.write_text('{"id": "v", "seconds": 2, "events": [{"time": 0.0, "label": "dog"}]}')
    settings = Settings(tmp_path / "in", layout, window=1.0, shortest=0.1, frames=4, events=events)
    prepare(settings, tmp_path / "out", Engine(workers=1))
    write_tokens(tmp_path / "out", tokenizers, threads=1)
    clip = read_manifest(tmp_path / "out")[0]
    assert clip.events == (Event(0.0, "dog"),)
    offsets = window_offsets(clip, layout, SOUND_WINDOWS)
    image = np.fromfile(tmp_path / "out" / "tokens" / "image.u16", "<u2").reshape(-1, layout.streams[0].positions)
    for row, offset in zip(image, offsets, strict=False):
        frames = read_clip_video(clip, tmp_path / "in", layout, offset)
        expected = tokenizers.codec.encode_images(fitted_image(frames, layout).pixels[None])
        np.testing.assert_array_equal(row, expected[0, :, 0])
    labels = np.fromfile(tmp_path / "out" / "tokens" / "label.u16", "<u2")
    assert labels.tolist() == [1] * len(labels)
    events.write_text('{"id": "v", "seconds": 2, "events": [{"time": 0.0, "label": "cow"}]}')
    prepare(settings, tmp_path / "out", Engine(workers=1))
    with pytest.warns(EchoesWarning, match=r"the model does not know, the first v.* \(cow\)"):
        write_tokens(tmp_path / "out", tokenizers, threads=1)
    labels = np.fromfile(tmp_path / "out" / "tokens" / "label.u16", "<u2")
    assert labels.tolist() == [2] * len(labels)
