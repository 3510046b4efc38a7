"""The token store draws what was written, fairly, survives a kill and refuses tokens of other tokenizers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import tiny
from visual_echoes.data.manifest import SPLITS
from visual_echoes.data.token_store import (
    PROGRESS,
    TOKENS_FOLDER,
    StoreDescription,
    TokenStore,
    TokenStoreWriter,
    read_store_description,
)
from visual_echoes.errors import EchoesError
from visual_echoes.streams import Stream, TimeAxis

# Two streams of one source, one of them of residual codes, and one of another.
STREAMS = (
    Stream(name="image", source="image", shape=(3,), codes=1 << 16),
    Stream(name="meaning", source="image", shape=(2,), codes=1 << 16, depth=2),
    Stream(name="audio", source="audio", shape=(1, 2), codes=1 << 16),
)
CHECKSUMS = {"image_vqgan": "aa", "audio_vqgan": "bb"}

Rows = dict[str, np.ndarray]


def plan(clips: int, pairing: str = "clip", manifest: str = "") -> StoreDescription:
    values = {
        "format": 2, "tokenizers": CHECKSUMS, "streams": STREAMS, "pairing": pairing, "clips": clips,
        "manifest": manifest, "labels": [],
    }  # fmt: skip
    return StoreDescription.model_validate(values)


def rows_of(clip: int) -> Rows:
    """Tokens that tell clip and row: 100 * clip + row everywhere; clip i has i + 1 frames and 2 windows."""
    counts = {"image": clip + 1, "audio": 2}
    return {
        stream.name: np.zeros((counts[stream.source], stream.positions, stream.depth), np.int64)
        + 100 * clip + np.arange(counts[stream.source])[:, None, None]
        for stream in STREAMS
    }  # fmt: skip


def write(folder: Path, splits: Sequence[int], groups: Sequence[int], pairing: str = "clip") -> None:
    writer = TokenStoreWriter(folder, plan(len(splits), pairing))
    for clip in range(len(splits)):
        writer.append(rows_of(clip))
    writer.finish(np.array(splits), np.array(groups))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / TOKENS_FOLDER).iterdir())}


def test_draws_are_frames_with_sounds_of_the_same_clip(tmp_path: Path) -> None:
    write(tmp_path, splits=[0, 1, 0, 0], groups=[0, 0, 1, 2])
    store = TokenStore.open(tmp_path, "train", CHECKSUMS)
    assert len(store) == 3
    tokens, groups = store.draw(4000, tiny.generator())
    assert tokens["image"].dtype == tokens["audio"].dtype == groups.dtype == torch.int64
    assert tokens["image"].shape == (4000, 3, 1)
    assert tokens["audio"].shape == (4000, 2, 1)
    assert tokens["meaning"].shape == (4000, 2, 2)
    assert torch.equal(tokens["meaning"][:, 1, 1], tokens["image"][:, 0, 0])  # of the same frame
    clips = torch.tensor([0, 2, 3])
    assert torch.equal(tokens["image"][:, 0, 0] // 100, clips[groups])
    assert torch.equal(tokens["audio"][:, 0, 0] // 100, clips[groups])
    # Every clip a third; of the last one every frame a quarter and every window a half.
    assert (torch.bincount(groups) - 4000 / 3).abs().max() < 120
    last = groups == 2
    assert (torch.bincount(tokens["image"][last, 0, 0] - 300) / last.sum() - 1 / 4).abs().max() < 0.05
    assert (torch.bincount(tokens["audio"][last, 0, 0] - 300) / last.sum() - 1 / 2).abs().max() < 0.05
    again, _ = store.draw(4000, tiny.generator())
    assert torch.equal(tokens["image"], again["image"])


def test_data_paired_by_class_takes_the_sound_of_any_clip_of_the_label(tmp_path: Path) -> None:
    write(tmp_path, splits=[0, 0, 0, 2, 0], groups=[1, 0, 1, 0, 1], pairing="class")
    tokens, groups = TokenStore.open(tmp_path, "train", None).draw(3000, tiny.generator())
    labels = torch.tensor([1, 0, 1, 0, 1])
    assert torch.equal(labels[tokens["image"][:, 0, 0] // 100], groups)
    assert torch.equal(labels[tokens["audio"][:, 0, 0] // 100], groups)
    partners = torch.bincount(tokens["audio"][groups == 1, 0, 0] // 100, minlength=5) / (groups == 1).sum()
    assert partners[[1, 3]].tolist() == [0, 0]
    assert (partners[[0, 2, 4]] - 1 / 3).abs().max() < 0.05
    own = tokens["audio"][groups == 1, 0, 0] // 100 == tokens["image"][groups == 1, 0, 0] // 100
    assert abs(own.float().mean() - 1 / 3) < 0.05


def test_the_largest_codes_survive(tmp_path: Path) -> None:
    writer = TokenStoreWriter(tmp_path, plan(1))
    writer.append({name: np.full_like(rows, 40_000 + 25_535 * (name != "audio")) for name, rows in rows_of(0).items()})
    writer.finish(np.zeros(1), np.zeros(1))
    tokens, _ = TokenStore.open(tmp_path, "train", None).draw(1, tiny.generator())
    assert (tokens["image"] == 65_535).all()
    assert (tokens["audio"] == 40_000).all()


@pytest.mark.parametrize(
    "bad",
    [np.full((1, 3, 1), 65_536), np.full((1, 3, 1), -1), np.zeros((0, 3, 1)), np.zeros((1, 4, 1)), np.zeros((2, 3, 1))],
)
def test_what_does_not_fit_is_not_written(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="tokens must"):
        TokenStoreWriter(tmp_path, plan(1)).append({**rows_of(0), "image": bad})


@pytest.mark.parametrize("committed", [0, 1, 4])
@pytest.mark.parametrize("torn", [False, True])
def test_a_killed_writer_is_continued_to_the_same_bytes(tmp_path: Path, committed: int, torn: bool) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    write(whole, [0] * 5, range(5))
    writer = TokenStoreWriter(killed, plan(5))
    for clip in range(committed):
        writer.append(rows_of(clip))
        writer.commit()
    writer.append(rows_of(3))  # of which the kill leaves a part
    writer.close()
    if torn:
        with open(killed / TOKENS_FOLDER / PROGRESS, "a") as file:
            file.write("[[1, 2")
    with pytest.raises(EchoesError, match="no finished tokens"):
        TokenStore.open(killed, "train", None)
    writer = TokenStoreWriter(killed, plan(5))
    assert writer.done == committed
    for clip in range(committed, 5):
        writer.append(rows_of(clip))
    writer.finish(np.zeros(5), np.arange(5))
    assert content(killed) == content(whole)


def test_an_unfinished_store_of_another_manifest_is_begun_anew(tmp_path: Path) -> None:
    writer = TokenStoreWriter(tmp_path, plan(2, manifest="one"))
    writer.append(rows_of(0))
    writer.commit()
    writer.close()
    assert TokenStoreWriter(tmp_path, plan(2, manifest="two")).done == 0


def test_lost_data_are_not_continued(tmp_path: Path) -> None:
    writer = TokenStoreWriter(tmp_path, plan(2))
    writer.append(rows_of(0))
    writer.commit()
    writer.close()
    (tmp_path / TOKENS_FOLDER / "audio.u16").write_bytes(b"")
    assert TokenStoreWriter(tmp_path, plan(2)).done == 0


def test_tokens_of_other_tokenizers_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [0], [0])
    TokenStore.open(tmp_path, "train", {"image_vqgan": "aa"})
    with pytest.raises(EchoesError, match="another audio_vqgan than the model's"):
        TokenStore.open(tmp_path, "train", {"image_vqgan": "aa", "audio_vqgan": "cc"})


def test_a_split_without_clips_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [0, 2], [0, 0])
    with pytest.raises(EchoesError, match="no clip of the split 'valid'"):
        TokenStore.open(tmp_path, SPLITS[1], None)


@pytest.mark.parametrize("name", ["image.u16", "meaning.u16", "audio.u16", "index.safetensors", "tokens.json"])
@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "empty"])
def test_damaged_stores_are_refused(tmp_path: Path, name: str, damage: str) -> None:
    write(tmp_path, [0, 0, 0], [0, 1, 2])
    path = tmp_path / TOKENS_FOLDER / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"shorter": data[:-2], "longer": data + b"{}", "empty": b""}[damage])
    with pytest.raises(EchoesError, match="make the tokens again"):
        TokenStore.open(tmp_path, "train", None)


def test_descriptions_with_impossible_values_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [0], [0])
    path = tmp_path / TOKENS_FOLDER / "tokens.json"
    good = json.loads(path.read_text())
    streams = good["streams"]
    many = [{**streams[0], "codes": 70_000}, *streams[1:]]
    changes: list[dict[str, Any]] = [{"format": 3}, {"streams": []}, {"streams": many}]
    for change in changes:
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(EchoesError, match="describes no tokens"):
            read_store_description(tmp_path)


def test_a_store_of_before_there_were_streams_is_read(tmp_path: Path) -> None:
    old = {
        "format": 1, "tokenizers": CHECKSUMS, "places": {"image": 3, "audio": 2}, "codes": {"image": 9, "audio": 9},
        "pairing": "clip", "clips": 1, "manifest": "", "labels": [],
    }  # fmt: skip
    folder = tmp_path / TOKENS_FOLDER
    folder.mkdir()
    (folder / "tokens.json").write_text(json.dumps(old))
    np.array([1, 2, 3, 4, 5, 6], "<u2").tofile(folder / "image.u16")
    np.array([7, 8], "<u2").tofile(folder / "audio.u16")
    index = {"split": np.zeros(1, np.uint8), "group": np.zeros(1, np.int64)}
    for source, count in (("image", 2), ("audio", 1)):
        index |= {f"{source}_start": np.zeros(1, np.int64), f"{source}_count": np.full(1, count)}
    save_file(index, folder / "index.safetensors")
    tokens, _ = TokenStore.open(tmp_path, "train", CHECKSUMS).draw(20, tiny.generator())
    assert sorted({tuple(row) for row in tokens["image"][..., 0].tolist()}) == [(1, 2, 3), (4, 5, 6)]
    assert tokens["audio"][0].tolist() == [[7], [8]]


def test_the_frames_of_a_video_and_its_sound_are_of_the_same_seconds(tmp_path: Path) -> None:
    streams = tuple(
        Stream(name=name, source=name, shape=(2,), codes=1 << 16, time=TimeAxis(axis=0, step=1.0))
        for name in ("image", "audio")
    )
    writer = TokenStoreWriter(tmp_path, plan(2).model_copy(update={"streams": streams}))
    for clip in range(2):
        rows = np.arange(5)[:, None, None].repeat(2, 1) + 100 * clip
        writer.append({"image": rows, "audio": rows})
    writer.finish(np.zeros(2), np.arange(2))
    tokens, _ = TokenStore.open(tmp_path, "train", None).draw(200, tiny.generator(0))
    assert torch.equal(tokens["image"], tokens["audio"])
    assert len(tokens["image"].unique()) == 10
