"""What a backbone said, kept on disk and refused when stale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evaluation.material import Blocks, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.features import Seen, see_files, see_items
from visual_echoes.evaluation.listing import list_folder


def test_features_come_in_the_order_of_the_ids(tmp_path: Path) -> None:
    backbone, listing = Blocks(), list_folder(write_sounds(tmp_path / "s", 5), "audio")
    steps: list[int] = []
    seen = see_files(backbone, listing, progress=steps.append)
    assert seen.ids == ("000", "001", "002", "003", "004")
    assert seen.features_FD.shape == (5, 4)
    assert sum(steps) == 5
    expected = backbone.look([backbone.read(listing.files["003"])])[0].features_FD[0]
    assert torch.equal(seen.features_FD[3], expected)
    backbone.batch = 3
    assert torch.equal(see_files(backbone, listing).features_FD, seen.features_FD)
    items = see_items(backbone, [backbone.read(path) for path in listing.files.values()])
    assert torch.equal(items.features_FD, seen.features_FD)
    assert items.ids == ("0", "1", "2", "3", "4")


def test_some_of_what_was_seen_keeps_all_frames() -> None:
    seen = Seen(("a", "b", "c"), torch.arange(12.0).view(6, 2), (1, 3, 2), None)
    some = seen.of(["c", "nothing", "b"])
    assert some.ids == ("c", "b")
    assert some.features_FD[:, 0].tolist() == [8, 10, 2, 4, 6]
    assert some.one_each()[:, 0].tolist() == [10, 4]


def test_a_cache_is_used_and_gives_the_same(tmp_path: Path) -> None:
    listing = list_folder(write_sounds(tmp_path / "s", 4), "audio")
    first = see_files(Blocks(), listing, tmp_path / "cache")
    backbone = Blocks()
    again = see_files(backbone, listing, tmp_path / "cache")
    assert backbone.shown == 0
    assert again.ids == first.ids
    assert again.counts == first.counts
    assert torch.equal(again.features_FD, first.features_FD)
    assert first.logits_BK is not None
    assert again.logits_BK is not None
    assert torch.equal(again.logits_BK, first.logits_BK)


def test_a_cache_of_changed_files_or_of_another_backbone_is_refused(tmp_path: Path) -> None:
    folder = write_sounds(tmp_path / "s", 4)
    see_files(Blocks(), list_folder(folder, "audio"), tmp_path / "cache")
    other = Blocks()
    other.sha256 = "1" * 64
    with pytest.raises(EchoesError, match="stale: it is of another backbone"):
        see_files(other, list_folder(folder, "audio"), tmp_path / "cache")
    write_sounds(folder, 2, seed=5)
    with pytest.raises(EchoesError, match=r"stale: it is of other files \(000 and more changed"):
        see_files(Blocks(), list_folder(folder, "audio"), tmp_path / "cache")


def test_a_damaged_cache_is_refused(tmp_path: Path) -> None:
    listing = list_folder(write_sounds(tmp_path / "s", 4), "audio")
    see_files(Blocks(), listing, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(EchoesError, match="no cache of features"):
        see_files(Blocks(), listing, tmp_path / "cache")


def test_what_was_said_of_several_sets_is_joined() -> None:
    parts = [Seen(("a", "b"), torch.tensor([[1.0], [2.0], [3.0]]), (1, 2), torch.eye(2)) for _ in range(2)]
    joined = Seen.joined(parts)
    assert (joined.ids, joined.counts) == (("0", "1", "2", "3"), (1, 2, 1, 2))
    assert joined.features_FD.flatten().tolist() == [1, 2, 3, 1, 2, 3]
    assert joined.classes_B.tolist() == [0, 1, 0, 1]
