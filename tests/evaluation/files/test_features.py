"""What a judge saw, kept on disk and refused when stale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evaluation.files.material import Blocks, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.files.features import Seen, see
from visual_echoes.evaluation.files.listing import list_folder


def test_features_come_in_the_order_of_the_ids(tmp_path: Path) -> None:
    judge, listing = Blocks(), list_folder(write_sounds(tmp_path / "s", 5), "audio")
    steps: list[int] = []
    seen = see(judge, listing, progress=steps.append)
    assert seen.ids == ("000", "001", "002", "003", "004")
    assert seen.features_FD.shape == (5, 4)
    assert sum(steps) == 5
    expected = judge.look([judge.read(listing.files["003"])])[0].features_FD[0]
    assert torch.equal(seen.features_FD[3], expected)
    judge.batch = 3
    assert torch.equal(see(judge, listing).features_FD, seen.features_FD)


def test_some_of_what_was_seen_keeps_all_frames() -> None:
    seen = Seen(("a", "b", "c"), torch.arange(12.0).view(6, 2), (1, 3, 2), None)
    some = seen.of(["c", "nothing", "b"])
    assert some.ids == ("c", "b")
    assert some.features_FD[:, 0].tolist() == [8, 10, 2, 4, 6]
    assert some.one_each()[:, 0].tolist() == [10, 4]


def test_a_cache_is_used_and_gives_the_same(tmp_path: Path) -> None:
    listing = list_folder(write_sounds(tmp_path / "s", 4), "audio")
    first = see(Blocks(), listing, tmp_path / "cache")
    judge = Blocks()
    again = see(judge, listing, tmp_path / "cache")
    assert judge.shown == 0
    assert again.ids == first.ids
    assert again.counts == first.counts
    assert torch.equal(again.features_FD, first.features_FD)
    assert first.logits_BK is not None
    assert again.logits_BK is not None
    assert torch.equal(again.logits_BK, first.logits_BK)


def test_a_cache_of_changed_files_or_of_another_judge_is_refused(tmp_path: Path) -> None:
    folder = write_sounds(tmp_path / "s", 4)
    see(Blocks(), list_folder(folder, "audio"), tmp_path / "cache")
    other = Blocks()
    other.sha256 = "1" * 64
    with pytest.raises(EchoesError, match="stale: it is of another judge"):
        see(other, list_folder(folder, "audio"), tmp_path / "cache")
    write_sounds(folder, 2, seed=5)
    with pytest.raises(EchoesError, match=r"stale: it is of other files \(000 and more changed"):
        see(Blocks(), list_folder(folder, "audio"), tmp_path / "cache")


def test_a_damaged_cache_is_refused(tmp_path: Path) -> None:
    listing = list_folder(write_sounds(tmp_path / "s", 4), "audio")
    see(Blocks(), listing, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(EchoesError, match="no cache of features"):
        see(Blocks(), listing, tmp_path / "cache")
