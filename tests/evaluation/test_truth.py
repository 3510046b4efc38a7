"""The truth of files is what a file of events says."""

from __future__ import annotations

from pathlib import Path

from visual_echoes.data.events import Event
from visual_echoes.evaluation.truth import read_truth

GOOD = '{"id": "a", "seconds": 3, "events": [{"time": 2, "label": "7"}, {"time": 0.5}]}'


def test_a_truth_is_read(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text(f'\ufeff{GOOD}\n\n{{"id": "deep/b\u0301", "seconds": 1.0, "events": []}}\n', encoding="utf-8")
    truth = read_truth(path, "audio")
    assert list(truth.listing.files) == ["a", "deep/b\u0301"]
    assert truth.events("a") == [Event(0.5), Event(2.0, "7")]
    assert truth.events("deep/b\u0301") == []
