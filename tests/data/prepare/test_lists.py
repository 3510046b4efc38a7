"""Lists: what a row means, what is wrong with one, and the names that downloaded clips of VGGSound go by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visual_echoes.data.prepare.candidates import Candidate
from visual_echoes.data.prepare.lists import find_listed, find_vggsound, is_vggsound, read_split_list
from visual_echoes.errors import EchoesError

VIDEO = "-abc_DEF123"


def listed(folder: Path, text: str, name: str = "list.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_row_in_full(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    path = listed(tmp_path, "id,video,start,end,label,split,origin\none,a.mp4,2.5,7,dog,val,tape\n")
    video = str(tmp_path / "a.mp4")
    assert find_listed(path, tmp_path).candidates == [Candidate("one", "tape", video, video, "dog", "valid", 2.5, 4.5)]


def test_csv_and_jsonl_mean_the_same(tmp_path: Path) -> None:
    for name in ("a.png", "a.wav", "b.mp4"):
        (tmp_path / name).touch()
    rows: list[dict[str, Any]] = [
        {"picture": "a.png", "sound": "a.wav", "label": "dog"},
        {"picture": "b.mp4", "sound": "b.mp4", "start": 3, "label": ""},
    ]
    as_json = listed(tmp_path, "\n".join(json.dumps(row) for row in rows), "list.jsonl")
    as_csv = listed(tmp_path, "\ufeffimage,sound,start,label\r\na.png,a.wav,,dog\r\nb.mp4,b.mp4,3,\r\n")
    found = find_listed(as_csv, tmp_path)
    assert found.candidates == find_listed(as_json, tmp_path).candidates
    assert [(one.id, one.start, one.label) for one in found.candidates] == [
        ("a", None, "dog"),
        ("b_00003000", 3.0, None),
    ]
    assert found.candidates[1].origin == "b"


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ("a.mp4,1,x,train", "bad-row", "end is 'x', no number"),
        ("a.mp4,nan,2,train", "bad-row", "start is 'nan'"),
        ("a.mp4,5,2,train", "bad-row", "run backwards"),
        ("a.mp4,-1,2,train", "bad-row", "negative"),
        ("a.mp4,1,2,other", "bad-row", "no split 'other'"),
        (",1,2,train", "bad-row", "neither a video"),
        ("b.mp4,1,2,train", "missing", ""),
        ("a.mp4,0,2,train", "duplicate-id", "row 3"),
    ],
)
def test_bad_rows_are_told_with_their_number(tmp_path: Path, row: str, reason: str, detail: str) -> None:
    (tmp_path / "a.mp4").touch()
    findings = find_listed(listed(tmp_path, f"video,start,end,split\na.mp4,0,2,train\n{row}\n"), tmp_path)
    assert len(findings.candidates) == 1
    (rejected,) = findings.rejected
    assert rejected.reason == reason
    assert detail in rejected.detail
    assert "row 3" in rejected.detail


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "", "no column video"),
        ("a.csv", "id,picture\n1,2\n", "no column video, nor image and sound"),
        ("a.csv", "video,strat\n1,2\n", r"unknown columns \(strat\)"),
        ("a.jsonl", '{"video": "a"}\n{"x": 1}\n', "no column video"),
        ("a.jsonl", '{"video": "a"}\n[1]\n', "Line 2 of .* is no JSON object"),
        ("a.jsonl", "{" * 5, "Line 1 of .* is no JSON object"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(EchoesError, match=complaint):
        find_listed(listed(tmp_path, text, name), tmp_path)
    with pytest.raises(EchoesError, match="cannot be read"):
        find_listed(tmp_path / "nowhere.csv", tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"video\n\xe4.mp4\n")
    with pytest.raises(EchoesError, match="in UTF-8"):
        find_listed(tmp_path / "latin.csv", tmp_path)


def test_vggsound_is_recognised_by_its_rows(tmp_path: Path) -> None:
    assert is_vggsound(listed(tmp_path, f'{VIDEO},30,"playing bongo, drums",test\n'))
    assert not is_vggsound(listed(tmp_path, "video,start,label,split\na.mp4,3,dog,train\n"))
    assert not is_vggsound(listed(tmp_path, "", "list.jsonl"))


@pytest.mark.parametrize("stem", ["_000030", "_30", "_30_40", "_000030_000040", "_30000_40000"])
def test_vggsound_clips_by_their_usual_names(tmp_path: Path, stem: str) -> None:
    path = listed(tmp_path, f'{VIDEO},30,"playing bongo, drums",test\nzzzzzzzzzzz,0,dog,train\n')
    clip = tmp_path / "clips" / "sub" / f"{VIDEO}{stem}.mp4"
    clip.parent.mkdir(parents=True)
    clip.touch()
    (tmp_path / "clips" / "other.mp4").touch()
    findings = find_vggsound(path, tmp_path / "clips")
    assert findings.candidates == [
        Candidate(f"{VIDEO}_000030", VIDEO, str(clip), str(clip), "playing bongo, drums", "test", 0.0)
    ]
    assert {one.id: one.reason.value for one in findings.rejected} == {
        "zzzzzzzzzzz_000000": "missing",
        "other": "not-listed",
    }


def test_a_whole_source_video_serves_all_its_rows(tmp_path: Path) -> None:
    path = listed(tmp_path, f"{VIDEO},30,a,test\n{VIDEO},70,b,test\n{VIDEO},70,b,test\n{VIDEO},x,b,test\n")
    (tmp_path / f"{VIDEO}.webm").touch()
    findings = find_vggsound(path, tmp_path)
    assert [(one.id, one.start, one.maybe_cut) for one in findings.candidates] == [
        (f"{VIDEO}_000030", 30.0, True), (f"{VIDEO}_000070", 70.0, True),
    ]  # fmt: skip
    assert sorted(one.reason.value for one in findings.rejected) == ["bad-row", "duplicate-id", "not-media"]


def test_split_lists(tmp_path: Path) -> None:
    assert read_split_list(listed(tmp_path, "id,split\na,Train\nb,val\n")) == {"a": "train", "b": "valid"}
    for text in ("id\na\n", "id,split\na,some\n"):
        with pytest.raises(EchoesError, match=r"lacks split|no split 'some'"):
            read_split_list(listed(tmp_path, text))


def test_a_list_may_write_names_in_another_form_than_the_disk(tmp_path: Path) -> None:
    (tmp_path / "u\u0308").mkdir()
    for name in ("u\u0308/cafe\u0301.mp4", "a\u00a0b.mp4"):
        (tmp_path / name).touch()
    path = listed(tmp_path, "video,label\n\u00fc/caf\u00e9.mp4,Tu\u0308r\na\u00a0b.mp4,\n" + "x" * 300 + ".mp4,\n")
    findings = find_listed(path, tmp_path)
    assert [(one.id, one.label, one.picture) for one in findings.candidates] == [
        ("\u00fc/caf\u00e9", "T\u00fcr", str(tmp_path / "u\u0308/cafe\u0301.mp4")),
        ("a\u00a0b", None, str(tmp_path / "a\u00a0b.mp4")),
    ]
    assert [one.reason.value for one in findings.rejected] == ["missing"]  # a name longer than any file's


def test_splits_are_found_under_either_form(tmp_path: Path) -> None:
    assert read_split_list(listed(tmp_path, "id,split\ncafe\u0301,test\n")) == {"caf\u00e9": "test"}
