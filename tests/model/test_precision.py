from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from model.toy import KINDS, STREAMS, config, random_masks, random_tokens
from visual_echoes.checkpoints.model import Model
from visual_echoes.errors import EchoesError
from visual_echoes.model import precision
from visual_echoes.model.fast import CachedScore, FastTransformer
from visual_echoes.model.precision import ENOUGH, choose, in_precision
from visual_echoes.pipeline import VisualEchoes

kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
CPU = torch.device("cpu")
MEASURE = precision.speed_of_bfloat16  # before a fixture of all tests replaces it


def test_auto_takes_bfloat16_where_it_was_measured_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for speed, wanted in ((ENOUGH + 0.1, "bfloat16"), (ENOUGH - 0.1, "float32")):
        monkeypatch.setattr(precision, "speed_of_bfloat16", lambda _, speed=speed: speed)
        assert choose("auto", CPU) == wanted
        assert (choose("float32", CPU), choose("bfloat16", CPU)) == ("float32", "bfloat16")


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EchoesError, match=r"no precision 'fp8'; choose one of auto, float32, bfloat16"):
        choose("fp8", CPU)


def test_speed_is_measured_once() -> None:
    first = MEASURE("cpu")
    assert 0 < first < 1000
    assert MEASURE("cpu") is first
    assert MEASURE("mps") == 1.0


@kinds
@pytest.mark.parametrize("cached", [False, True])
def test_rounded_weights_give_nearly_the_same_logits_and_leave_the_model_alone(
    kind: dict[str, Any], cached: bool
) -> None:
    torch.manual_seed(0)
    model = FastTransformer(config(**kind)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rounded = cast(FastTransformer, in_precision(model, "bfloat16"))
    assert in_precision(model, "float32") is model
    tokens, masked = random_tokens(5), random_masks(5)
    asked = {(s.name, 0): masked[s.name][..., 0] for s in STREAMS}
    with torch.inference_mode():
        exact = model.score(tokens, masked, asked)
        near = (CachedScore(rounded, 2) if cached else rounded.score)(tokens, masked, asked)
    for level, logits in exact.items():
        assert near[level].dtype == torch.float32
        error = (near[level] - logits).square().mean().sqrt() / logits.square().mean().sqrt()
        assert 0 < float(error) < 0.03
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_result_says_its_precision(whole_model: Model) -> None:
    for name in ("float32", "bfloat16"):
        echoes = VisualEchoes(whole_model, CPU, precision=name)
        result = echoes.generate_pair(1, steps=2)
        assert result.precision == name
        assert result.audio is not None
