"""The bounds of what may be asked for lie within those of the sampler."""

from __future__ import annotations

import pytest

from visual_echoes import EchoesError, SamplingSettings
from visual_echoes.app.tasks import Options


def bounds(model: type, name: str) -> tuple[float, float]:
    metadata = list(model.model_fields[name].metadata)  # type: ignore[attr-defined]
    return (
        next(entry.ge for entry in metadata if hasattr(entry, "ge")),
        next(entry.le for entry in metadata if hasattr(entry, "le")),
    )


@pytest.mark.parametrize("name", ["steps", "temperature", "guidance"])
def test_the_bounds_are_the_sampler_s_or_narrower(name: str) -> None:
    low, high = bounds(SamplingSettings, name)
    for value in (low, high):
        try:
            Options.of(**{name: value})
        except EchoesError:
            assert value == high
    for value in (low - 1, high + 1):
        with pytest.raises(EchoesError, match=f"The value of {name} cannot be used"):
            Options.of(**{name: value})


def test_what_is_not_set_is_the_model_s_own() -> None:
    assert Options().arguments == {"seed": 0, "batch_size": 1}
    assert Options.of(preset="fast").arguments == {"seed": 0, "batch_size": 1, "preset": "fast"}
    with pytest.raises(EchoesError, match="The value of preset cannot be used"):
        Options.of(preset="slow")
    assert Options.of(count=3, guidance=2).arguments == {"seed": 0, "batch_size": 3, "guidance": 2.0}
