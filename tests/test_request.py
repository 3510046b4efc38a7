"""Labels of a request: one for all the time, or foretold for every frame."""

from __future__ import annotations

import pytest
import torch

import tiny
from visual_echoes.codec import Codec
from visual_echoes.errors import EchoesError
from visual_echoes.layout import with_labels_in_time
from visual_echoes.request import Given, label_codes, names_of, start

LAYOUT = with_labels_in_time(tiny.VIDEO_LAYOUT, "labels in time", ("nothing", "dog", "rain"))


def test_labels_in_time_have_the_times_of_the_frames() -> None:
    image, _, label = LAYOUT.streams
    assert label.shape == (3,)
    assert image.time is not None
    assert label.time is not None
    assert (label.time.start, label.time.step) == (image.time.start, image.time.step)


def test_a_label_that_is_given_holds_all_the_time() -> None:
    model = tiny.video_model()
    model.layout = LAYOUT
    given = Given(2, labels=label_codes(LAYOUT, ["dog", "rain"], 2))
    tokens, masked = start(Codec(model, torch.device("cpu")), given, slice(0, 2), None)
    assert tokens["label"].squeeze(-1).tolist() == [[1, 1, 1], [2, 2, 2]]
    assert not masked["label"].any()
    assert masked["image"].all()


def test_what_is_foretold_is_named_one_after_another() -> None:
    tokens = {"label": torch.tensor([[0, 1, 1], [2, 2, 2]])[..., None]}
    assert names_of(LAYOUT, tokens) == ["nothing, dog", "rain"]
    assert names_of(tiny.LAYOUT, tokens) == []


def test_unknown_labels_and_other_numbers_are_refused() -> None:
    with pytest.raises(EchoesError, match="no label 'cat'; choose one of nothing, dog, rain"):
        label_codes(LAYOUT, "cat", 1)
    with pytest.raises(EchoesError, match="2 items but 1 labels"):
        label_codes(LAYOUT, ["dog"], 2)
    with pytest.raises(EchoesError, match="has no labels"):
        label_codes(tiny.LAYOUT, "dog", 1)
