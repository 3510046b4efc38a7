"""How well image and sound belong together: by hand, from what a stub says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.model.agreement import agreement
from visual_echoes.model.config import TransformerConfig
from visual_echoes.streams import Level, Stream, Tokens

ALL = ("label", "image", "audio")
SHARES = {"image": (0.5, 0.3, 0.2), "audio": (0.1, 0.2, 0.7)}  # of three labels, each source seen alone


def config(*streams: Stream) -> TransformerConfig:
    return TransformerConfig.model_validate({**tiny.transformer_config().model_dump(), "streams": streams})


class Stub:
    """Knows a share of each code for what is seen; notes how many items it is asked about at once."""

    IMAGE = Stream(name="image", source="image", shape=(2,), codes=3, depth=2)
    AUDIO = Stream(name="audio", source="audio", shape=(1,), codes=3)
    LABEL = Stream(name="label", source="label", shape=(1,), codes=3, names=("a", "b", "c"))

    def __init__(self, *labels: Stream) -> None:
        self.config = config(self.IMAGE, self.AUDIO, *labels)
        self.sizes: set[int] = set()

    def score(self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor]) -> dict[Level, Tensor]:
        seen = [name for name in masked if not masked[name].all()]
        self.sizes.add(len(tokens["image"]))
        found = {}
        for name, level in asked:
            share_K = torch.tensor(SHARES[seen[0]] if seen else (1 / 3,) * 3)
            if name != "label" and seen:  # the code that the other has is three times as likely as each of the others
                share_K = torch.where(torch.arange(3) == tokens[seen[0]][0, 0, 0], 0.6, 0.2)
            found[name, level] = (share_K.log() + 1.0).expand(*masked[name].shape[:2], 3)
        return found


def some(image: int, audio: int, label: int = 0) -> dict[str, Tensor]:
    """One item; the second codes of the image are none that its first ones are."""
    return {
        "image": torch.tensor([[[image, 2 - image], [image, 2 - image]]]), "audio": torch.tensor([[[audio]]]),
        "label": torch.tensor([[[label]]]),
    }  # fmt: skip


def test_with_labels_it_is_the_probability_of_the_same_one() -> None:
    same = sum(i * a for i, a in zip(SHARES["image"], SHARES["audio"], strict=True))
    found = agreement(Stub(Stub.LABEL), some(0, 1), ALL)
    assert found.exp().tolist() == pytest.approx([same])


def test_where_the_label_is_told_both_are_to_be_of_it() -> None:
    for label in range(3):
        both = SHARES["image"][label] * SHARES["audio"][label]
        assert agreement(Stub(Stub.LABEL), some(0, 1, label), ["audio"]).exp().tolist() == pytest.approx([both])


def test_labels_in_time_all_count() -> None:
    label = Stub.LABEL.model_copy(update={"shape": (4,)})
    once = agreement(Stub(Stub.LABEL), some(0, 1), ALL)
    tokens = {**some(0, 1), "label": torch.zeros(1, 4, 1, dtype=torch.int64)}
    assert agreement(Stub(label), tokens, ALL).tolist() == pytest.approx((4 * once).tolist())


def test_without_labels_it_is_what_was_made_gains_in_likelihood_by_the_other() -> None:
    tokens = {"image": 2, "audio": 1}  # the positions of each
    for image, audio, share in ((1, 1, 0.6), (1, 0, 0.2)):
        for made in (["audio"], ["image"], ["label", "image", "audio"]):
            gain = (3 * share) ** sum(count for source, count in tokens.items() if source in made)
            assert agreement(Stub(), some(image, audio), made).exp().tolist() == pytest.approx([gain])


def test_items_are_scored_one_by_one_whatever_their_number() -> None:
    items = [some(1, 1), some(0, 2), some(2, 0)]
    joined = {name: torch.cat([item[name] for item in items]) for name in items[0]}
    for stub in (Stub(), Stub(Stub.LABEL)):
        assert torch.equal(agreement(stub, joined, ALL), torch.cat([agreement(stub, item, ALL) for item in items]))
        assert stub.sizes == {1}
