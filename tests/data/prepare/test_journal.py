"""The journal keeps what was recorded, whatever cuts it short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from visual_echoes.data.prepare.candidates import Candidate, Reason, Rejected
from visual_echoes.data.prepare.journal import JOURNAL, Journal
from visual_echoes.errors import EchoesError

SETTINGS = {"window": 1.0}


def candidate(folder: Path, id: str) -> Candidate:
    path = folder / f"{id}.mp4"
    if not path.exists():
        path.write_bytes(b"x")
    return Candidate(id, id, str(path), str(path))


def outcome(id: str) -> list[Rejected]:
    return [Rejected(id, id, Reason.SILENT)]


def test_what_was_recorded_is_there_again(tmp_path: Path) -> None:
    one, two = candidate(tmp_path, "a"), candidate(tmp_path, "b")
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        assert journal.outcomes(one) is None
        journal.record(one, outcome("a"))
        assert journal.outcomes(one) == outcome("a")
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        assert journal.outcomes(one) == outcome("a")
        assert journal.outcomes(two) is None


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_line_is_forgotten_and_overwritten(tmp_path: Path, cut: int) -> None:
    one, two = candidate(tmp_path, "a"), candidate(tmp_path, "b")
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        journal.record(one, outcome("a"))
        journal.record(two, outcome("b"))
    whole = (tmp_path / JOURNAL).read_bytes()
    os.truncate(tmp_path / JOURNAL, len(whole) - cut)
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        assert journal.outcomes(one) == outcome("a")
        assert journal.outcomes(two) is None
        journal.record(two, outcome("b"))
    assert (tmp_path / JOURNAL).read_bytes() == whole


def test_changed_files_and_candidates_are_examined_again(tmp_path: Path) -> None:
    one, two = candidate(tmp_path, "a"), candidate(tmp_path, "b")
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        journal.record(one, outcome("a"))
        journal.record(two, outcome("b"))
        (tmp_path / "a.mp4").write_bytes(b"xy")
        assert journal.outcomes(one) is None
        assert journal.outcomes(Candidate("b", "b", two.picture, two.sound, label="dog")) is None
        journal.record(one, [])
        assert journal.outcomes(one) == []


def test_other_settings_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, tmp_path, SETTINGS):
        pass
    with pytest.raises(EchoesError, match=r"other settings \(window\)"):
        Journal(tmp_path, tmp_path, {"window": 2.0})


def test_records_move_along_with_the_files_when_told_so(tmp_path: Path) -> None:
    old, new, third = (tmp_path / name for name in ("old", "new", "third"))
    old.mkdir()
    one, two = candidate(old, "a"), candidate(old, "b")
    with Journal(tmp_path, old, SETTINGS) as journal:
        journal.record(one, outcome(str(old / "a.mp4")))
    old.rename(new)
    with pytest.raises(EchoesError, match=rf"was prepared from {old}; if its files have moved to {new}, add --moved"):
        Journal(tmp_path, new, SETTINGS)
    one, two = candidate(new, "a"), candidate(new, "b")
    with Journal(tmp_path, new, SETTINGS, moved=True) as journal:
        assert journal.outcomes(one) == outcome(str(new / "a.mp4"))
        journal.record(two, outcome(str(new / "b.mp4")))
    with Journal(tmp_path, new, SETTINGS) as journal:  # once is enough
        assert journal.outcomes(one) == outcome(str(new / "a.mp4"))
        assert journal.outcomes(two) == outcome(str(new / "b.mp4"))
    new.rename(third)
    (third / "a.mp4").write_bytes(b"changed on the way")
    with Journal(tmp_path, third, SETTINGS, moved=True) as journal:
        assert journal.outcomes(candidate(third, "a")) is None
        assert journal.outcomes(candidate(third, "b")) == outcome(str(third / "b.mp4"))


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, tmp_path, SETTINGS), pytest.raises(EchoesError, match="Another preparation"):
        Journal(tmp_path, tmp_path, SETTINGS)


@pytest.mark.parametrize("line", [b"{}\n", b"no json\n", b"[1]\n"])
def test_damage_before_the_end_is_told(tmp_path: Path, line: bytes) -> None:
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        journal.record(candidate(tmp_path, "a"), [])
    with open(tmp_path / JOURNAL, "ab") as file:
        file.write(line)
    with pytest.raises(EchoesError, match="is damaged"):
        Journal(tmp_path, tmp_path, SETTINGS)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing beyond it fails in the same way."""
    resource = pytest.importorskip("resource", reason="there is no limit on the size of files")
    one, two = candidate(tmp_path, "a"), candidate(tmp_path, "b")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        journal.record(one, outcome("a"))
        size = (tmp_path / JOURNAL).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            with pytest.raises(EchoesError, match="cannot be written .* run the same command again"):
                journal.record(two, outcome("b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with Journal(tmp_path, tmp_path, SETTINGS) as journal:
        assert journal.outcomes(one) == outcome("a")
        assert journal.outcomes(two) is None
