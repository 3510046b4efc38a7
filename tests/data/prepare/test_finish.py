"""Duplicates, splits and pairs by class depend on what was found, not on the order in which it was."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_echoes.data.events import Event
from visual_echoes.data.manifest import Clip, Split
from visual_echoes.data.prepare.candidates import Found, Reason, Rejected
from visual_echoes.data.prepare.finish import Splitting, finish, with_events, write_notes, write_rejected

ROOT = Path("/data")
BY_HASH = Splitting(None, valid=0.2, test=0.2)


def found(id: str, content: str | None = None, origin: str | None = None, split: Split | None = None) -> Found:
    content = content or id
    file = f"/data/{id}.mp4"
    return Found(
        id, origin or id, file, file, None, split, 0.0, 1.0, (0.5,), {"picture": content, "sound": content}
    )  # fmt: skip


def half(id: str, label: str, kind: str) -> Found:
    file = f"/data/{id}"
    picture, sound = (file, None) if kind == "picture" else (None, file)
    return Found(f"{kind}/{id}", f"{kind}/{id}", picture, sound, label, None, 0.0, 1.0, (0.0,), {kind: kind + id})


names = st.sampled_from("abcdefgh")


@given(
    st.lists(
        st.builds(found, names, names, names, st.sampled_from([None, "train", "test"])), unique_by=lambda clip: clip.id
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_does_not_matter_and_no_origin_is_divided(clips: list[Found], chance: random.Random) -> None:
    kept, rejected = finish(clips, BY_HASH, False, ROOT)
    shuffled = chance.sample(clips, len(clips))
    assert finish(shuffled, BY_HASH, False, ROOT) == (kept, rejected)
    assert len(kept) + len(rejected) == len(clips)
    assert len({clip.id for clip in kept}) == len(kept)
    assert len({clip.hashes["picture"] for clip in kept}) == len(kept)
    splits: dict[str, set[str]] = {}
    for clip in kept:
        splits.setdefault(clip.origin, set()).add(clip.split)
    assert all(len(own) == 1 for own in splits.values())


@given(st.permutations([found(name, content=name.lower()) for name in "aAbBcCd"]))
def test_of_equal_content_the_smallest_id_stays(clips: list[Found]) -> None:
    kept, rejected = finish(clips, BY_HASH, False, ROOT)
    assert [clip.id for clip in kept] == ["A", "B", "C", "d"]
    assert {(one.id, one.detail) for one in rejected} == {("a", "of A"), ("b", "of B"), ("c", "of C")}


def test_windows_of_one_file_are_no_duplicates_but_those_of_its_copy_are() -> None:
    clips = [
        replace(found(id, "same"), start=start) for id, start in (("a1", 0.0), ("a2", 1.0), ("b1", 0.0), ("b3", 2.0))
    ]
    kept, rejected = finish(clips, BY_HASH, False, ROOT)
    assert [clip.id for clip in kept] == ["a1", "a2", "b3"]
    assert {clip.origin for clip in kept} == {"a1"}  # one content is one origin
    assert len({clip.split for clip in kept}) == 1
    assert [one.id for one in rejected] == ["b1"]


def test_shares_come_out_as_asked_and_stay_when_data_are_added() -> None:
    clips = [found(str(number)) for number in range(2000)]
    kept, _ = finish(clips, Splitting(None, valid=0.1, test=0.3), False, ROOT)
    counts = Counter(clip.split for clip in kept)
    assert abs(counts["test"] - 600) < 70
    assert abs(counts["valid"] - 200) < 50
    splits = {clip.id: clip.split for clip in kept}
    fewer, _ = finish(clips[::3], Splitting(None, valid=0.1, test=0.3), False, ROOT)
    assert all(clip.split == splits[clip.id] for clip in fewer)


@pytest.mark.parametrize("share", [0.0, 0.15])
def test_of_a_few_clips_one_validates_if_any_is_to(share: float) -> None:
    splitting = Splitting(None, valid=share, test=0.0)
    names = [str(number) for number in range(60)]
    few = [found(name) for name in names if Splitting(None, valid=0.15, test=0.0).by_hash(name) == "train"][:20]
    kept, _ = finish(few, splitting, False, ROOT)
    assert Counter(clip.split for clip in kept)["valid"] == (1 if share else 0)
    assert len(kept) == 20
    (alone,), _ = finish(few[:1], splitting, False, ROOT)
    assert alone.split == "train"


def test_a_list_without_validation_leaves_its_test_split_alone() -> None:
    clips = [found(f"{split}{number}", split=split) for split in ("train", "test") for number in range(300)]
    kept, rejected = finish(clips, Splitting(None, valid=0.2, test=0.5), False, ROOT)
    assert rejected == []
    assert {clip.split for clip in kept if clip.id.startswith("test")} == {"test"}
    carved = Counter(clip.split for clip in kept if clip.id.startswith("train"))
    assert carved["test"] == 0
    assert abs(carved["valid"] - 60) < 25


def test_a_source_video_in_two_listed_splits_stays_in_the_stricter_one() -> None:
    clips = [found("a1", origin="a", split="train"), found("a2", origin="a", split="test"), found("b", split="valid")]
    kept, rejected = finish(clips, BY_HASH, False, ROOT)
    assert [(clip.id, clip.split) for clip in kept] == [("a2", "test"), ("b", "valid")]
    assert [(one.id, one.reason) for one in rejected] == [("a1", Reason.LEAK)]


def test_a_clip_without_a_split_goes_where_its_source_video_is() -> None:
    clips = [
        found(f"{n}{part}", origin=str(n), split=split)
        for n in range(20)
        for part, split in (("a", "test"), ("b", None))
    ]
    kept, rejected = finish([*clips, found("v", split="valid")], Splitting(None, 0.4, 0.2), False, ROOT)
    assert rejected == []
    assert {clip.split for clip in kept if clip.id != "v"} == {"test"}


def test_a_published_list_decides_and_leaves_out_what_it_does_not_name() -> None:
    clips = [found("a"), found("b1", origin="b"), found("c")]
    listed: dict[str, Split] = {"a": "test", "b": "valid"}
    kept, rejected = finish(clips, Splitting(listed, 0.1, 0.1), False, ROOT)
    assert [(clip.id, clip.split) for clip in kept] == [("a", "test"), ("b1", "valid")]
    assert [(one.id, one.reason) for one in rejected] == [("c", Reason.NOT_LISTED)]


def test_halves_are_paired_within_class_and_split_and_none_is_forgotten() -> None:
    halves = [half(f"d{n}", "dog", "picture") for n in range(40)] + [half(f"d{n}", "dog", "sound") for n in range(15)]
    halves += [half("c1", "cat", "picture")]
    kept, rejected = finish(halves, BY_HASH, True, ROOT)
    assert {clip.label for clip in kept} == {"dog"}
    assert ("picture/c1", Reason.NO_PARTNER) in {(one.id, one.reason) for one in rejected}
    used = {clip.picture for clip in kept} | {clip.sound for clip in kept} | {one.file for one in rejected}
    assert {f"d{n}" for n in range(40)} <= used
    for part in ("picture", "sound"):
        splits: dict[str, set[str]] = {}
        for clip in kept:
            splits.setdefault(getattr(clip, part), set()).add(clip.split)
        assert all(len(own) == 1 for own in splits.values())
    assert set(kept[0].hashes) == {"picture", "sound"}


def test_paths_below_the_root_become_relative() -> None:
    outside = replace(found("b"), picture="/other/b.mp4", sound="/other/b.mp4")
    kept, rejected = finish([found("a"), outside, Rejected("c", "/data/x/c.mp4", Reason.STILL)], BY_HASH, False, ROOT)
    assert [clip.picture for clip in kept] == ["a.mp4", "/other/b.mp4"]
    assert rejected[0].file == "x/c.mp4"


def test_rejected_csv_holds_any_name(tmp_path: Path) -> None:
    write_rejected(tmp_path, [Rejected("", 'a "b", c\n\udcff.mp4', Reason.BAD_NAME)])
    text = (tmp_path / "rejected.csv").read_text()
    assert text == 'file,id,reason,detail\n"a ""b"", c\\n\\xff.mp4",,bad-name,\n'


def test_notes_are_written_once_for_the_file_that_they_name(tmp_path: Path) -> None:
    sentence = "/data/b.wav ends at 1.00 s of the 1.05 s that its header promises; what is there is used."
    found = Found(
        "b", "b", "/data/b.png", "/data/b.wav", None, None, 0.0, 1.0, (0.0,), {}, (sentence, sentence)
    )  # fmt: skip
    assert write_notes(tmp_path, [found, Rejected("c", "c", Reason.SILENT)], Path("/data")) == 1
    lines = (tmp_path / "notes.csv").read_text().splitlines()
    assert lines == ["file,id,note", f"b.wav,b,{sentence}"]


def test_events_come_to_the_clips_of_their_file_in_the_clips_own_time() -> None:
    first, second = (
        Clip(f"a_{number}", "train", None, "a.mp4", "a.mp4", 10.0 * number, 10.0, (0.5,), "a", {}) for number in (0, 1)
    )
    other = replace(first, id="b", origin="b")
    events = [Event(2.0, "dog"), Event(8.0, "rain"), Event(10.0, "sea"), Event(12.5, "dog")]
    found = with_events([first, second, other], {"a": events})
    assert found[0].events == (Event(2.0, "dog"), Event(8.0, "rain"))
    assert found[1].events == (Event(0.0, "rain"), Event(0.0, "sea"), Event(2.5, "dog"))
    assert found[2].events == ()
    assert [found[0].label_at(time) for time in (1.9, 2.0, 9.0)] == [None, "dog", "rain"]
    assert [found[1].label_at(time) for time in (0.0, 9.9)] == ["sea", "dog"]
    assert replace(other, label="cat").label_at(5.0) == "cat"
