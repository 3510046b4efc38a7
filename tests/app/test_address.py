"""What an address can ask for, and what of it is left out."""

from __future__ import annotations

import pytest

from visual_echoes.app.address import understood

MODELS, TABS = ("tiny", "other"), ["sound", "video"]


def test_settings_are_read_as_the_forms_take_them() -> None:
    asked = {"model": "other", "tab": "video", "seed": "7", "count": "3", "temperature": "2.5", "__theme": "dark"}
    values, refused = understood(asked, MODELS, TABS)
    assert values == {"model": "other", "tab": "video", "seed": 7, "count": 3, "temperature": 2.5}
    assert refused == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model", "../secret"),
        ("tab", "none"),
        ("preset", "slow"),
        ("seed", "-1"),
        ("seed", "seven"),
        ("count", "1000"),
        ("steps", "100000"),
        ("temperature", "nan"),
        ("colour", "red"),
        ("image", "x"),
        ("extra", "x" * 1000),
    ],
)
def test_what_cannot_be_used_is_named_in_short(name: str, text: str) -> None:
    values, (refused,) = understood({"seed": "3", name: text} if name != "seed" else {name: text}, MODELS, TABS)
    assert name not in values
    assert refused.startswith(name)
    assert len(refused) <= 45
