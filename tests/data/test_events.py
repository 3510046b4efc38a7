"""Events are read line by line, and a wrong line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from visual_echoes.data.events import MOST_EVENTS, Event, read_events
from visual_echoes.errors import EchoesError

GOOD = '{"id": "a", "seconds": 3, "events": [{"time": 2, "label": "7"}, {"time": 0.5}]}'


def test_events_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'\ufeff{GOOD}\n\n{{"id": "deep/b\u0301", "seconds": 1.0, "events": []}}\n', encoding="utf-8")
    assert read_events(path) == {"a": [Event(0.5), Event(2.0, "7")], "deep/b\u0301": []}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2, is no clip"),
        ("[]", "line 2, is no clip"),
        (GOOD, "line 2, has the id a for the second time"),
        ('{"id": "b", "events": []}', "seconds: Field required"),
        ('{"id": "b", "seconds": 1, "events": [{"time": 1.5}]}', r"1\.5 s is after the end at 1 s"),
        ('{"id": "b", "seconds": 1, "events": [{"time": -1}]}', r"events\.0\.time"),
        ('{"id": "b", "seconds": NaN, "events": []}', "seconds"),
        ('{"id": "b", "seconds": 1e999, "events": []}', "seconds"),
        ('{"id": "b", "seconds": 1, "events": [{"time": "1"}]}', r"events\.0\.time"),
        ('{"id": "b", "seconds": 1, "events": [{"time": 1, "label": 7}]}', r"events\.0\.label"),
        ('{"id": "b", "seconds": 1, "events": [{"time": 1, "class": "7"}]}', r"events\.0\.class"),
        ('{"id": "", "seconds": 1, "events": []}', "id"),
        (f'{{"id": "b", "seconds": 1, "events": [{"{}, " * MOST_EVENTS}{{}}]}}', "events"),
        ("[" * 100_000, "line 2, is no clip"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(EchoesError, match=problem) as caught:
        read_events(path)
    assert "events.jsonl" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"id": "a", "seconds": 1, "events": []}'])
def test_a_file_without_events_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(content)
    with pytest.raises(EchoesError, match="events.jsonl"):
        read_events(path)
