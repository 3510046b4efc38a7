"""Settings by name: presets, former names, and the fields that options and forms derive from."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError, create_model

from visual_echoes import EchoesError, EchoesWarning, SamplingSettings
from visual_echoes.model.settings import RENAMED, limits, optional_fields, with_changes

Changes: Any = create_model("Changes", **optional_fields(steps=100))


def test_former_names_are_read_with_a_note() -> None:
    assert set(RENAMED.values()) <= set(SamplingSettings.model_fields)
    with pytest.warns(EchoesWarning, match="'settled_every' is now called 'kv_refresh_every'"):
        assert with_changes(SamplingSettings(), {"settled_every": 4}).kv_refresh_every == 4


def test_what_is_no_setting_or_no_value_is_named() -> None:
    for changes in ({"step": 3}, {"steps": 0}, {"temperature": float("nan")}):
        with pytest.raises(EchoesError, match=f"The sampling setting '{next(iter(changes))}' cannot be"):
            with_changes(SamplingSettings(), changes)


def test_every_setting_has_a_title_and_a_description() -> None:
    for field in SamplingSettings.model_fields.values():
        assert field.title
        assert field.description
        assert field.description.endswith(".")


def test_every_setting_may_be_left_out_and_has_its_bounds() -> None:
    assert set(Changes.model_fields) == {"preset", *SamplingSettings.model_fields}
    assert set(Changes().model_dump().values()) == {None}
    for name in SamplingSettings.model_fields:
        low, high = limits(name)
        if low is None or high is None:
            with pytest.raises(ValidationError):
                Changes(**{name: "none"})
            continue
        Changes(**{name: low})
        for value in (low - 1, high + 1, "much"):
            with pytest.raises(ValidationError):
                Changes(**{name: value})
    assert Changes(steps=100).steps == 100
    with pytest.raises(ValidationError):
        Changes(steps=101)
