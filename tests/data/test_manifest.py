"""The manifest gives back what was written and refuses what is no manifest."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from visual_echoes.data.manifest import (
    DESCRIPTION,
    MANIFEST,
    Clip,
    Description,
    is_clip_folder,
    read_description,
    read_manifest,
    resolve,
    write_description,
    write_manifest,
)
from visual_echoes.errors import EchoesError

CLIP = Clip("a", "train", None, "a.mp4", "a.mp4", 0.0, 10.0, (0.5, 1.5), "a", {"picture": "00", "sound": "00"})

text = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
clips = st.builds(
    Clip, text, st.sampled_from(("train", "valid", "test")), st.none() | text, text, text, st.floats(0, 1e6),
    st.floats(0.1, 1e3), st.lists(st.floats(0, 10), min_size=1, max_size=3).map(tuple), text,
    st.fixed_dictionaries({"picture": text, "sound": text}),
)  # fmt: skip


@settings(max_examples=15)
@given(st.lists(clips, max_size=4, unique_by=(lambda clip: clip.id, lambda clip: clip.origin)))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, written: list[Clip]) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_manifest(folder, written)
    by_id = sorted(written, key=lambda clip: clip.id)
    assert read_manifest(folder) == by_id
    assert read_manifest(folder, "valid") == [clip for clip in by_id if clip.split == "valid"]


def test_the_bytes_do_not_depend_on_the_order(tmp_path: Path) -> None:
    several = [replace(CLIP, id=id, origin=id) for id in "abc"]
    write_manifest(tmp_path, several)
    first = (tmp_path / MANIFEST).read_bytes()
    write_manifest(tmp_path, several[::-1])
    assert (tmp_path / MANIFEST).read_bytes() == first


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"split": "dev"}, "split"),
        ({"start": -1.0}, "start"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": "ten"}, "seconds"),
        ({"frames": []}, "frames"),
        ({"id": ""}, "id"),
        ({"more": 1}, "more"),
        ({"label": 3}, "label"),
        ({"seconds": float("nan")}, "seconds"),
    ],
)
def test_what_is_no_clip(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    lines = [json.dumps(asdict(CLIP)), json.dumps({**asdict(CLIP), "id": "b", **change})]
    (tmp_path / MANIFEST).write_text("\n".join(lines))
    with pytest.raises(EchoesError, match=rf"Line 2 of .*manifest\.jsonl is no clip \({complaint}"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"origin": "other"}, "the id 'a' of an earlier line"), ({"id": "b", "split": "test"}, "'a' in a second split")],
)
def test_ids_are_unique_and_origins_undivided(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    write_manifest(tmp_path, [CLIP, replace(CLIP, **change)])
    with pytest.raises(EchoesError, match=complaint):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_manifest(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EchoesError, match="There is no"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(EchoesError, match=r"manifest\.jsonl"):
        read_manifest(tmp_path)


def test_paths_start_from_the_root_unless_they_are_absolute(tmp_path: Path) -> None:
    assert resolve("videos/a.mp4", tmp_path) == tmp_path / "videos/a.mp4"
    assert resolve("/elsewhere/a.mp4", tmp_path) == Path("/elsewhere/a.mp4")


def test_a_file_is_found_whose_name_a_system_has_written_in_its_other_form(tmp_path: Path) -> None:
    (tmp_path / "cafe\u0301.mp4").touch()
    assert resolve("caf\u00e9.mp4", tmp_path) == tmp_path / "cafe\u0301.mp4"


def test_the_description_round_trips_and_tells_the_kind(tmp_path: Path) -> None:
    assert not is_clip_folder(tmp_path)
    with pytest.raises(EchoesError, match="not completely prepared"):
        read_description(tmp_path)
    description = Description(tmp_path, tiny.LAYOUT, {"pairing": "clip"})
    write_description(tmp_path, description)
    assert is_clip_folder(tmp_path)
    assert read_description(tmp_path) == description
    content = json.loads((tmp_path / DESCRIPTION).read_text())
    changes: tuple[dict[str, Any], ...] = ({"kind": "pairs"}, {"format": 2}, {"layout": {}}, {"root": None})
    for change in changes:
        (tmp_path / DESCRIPTION).write_text(json.dumps({**content, **change}))
        with pytest.raises(EchoesError, match=r"dataset\.json"):
            read_description(tmp_path)
    for broken in ("", "[]", "{"):
        (tmp_path / DESCRIPTION).write_text(broken)
        assert not is_clip_folder(tmp_path)
        with pytest.raises(EchoesError, match=r"dataset\.json"):
            read_description(tmp_path)
