from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from model.toy import KINDS, STREAMS, config, random_masks, random_tokens
from visual_echoes.checkpoints.model import Model
from visual_echoes.errors import EchoesError
from visual_echoes.model import precision
from visual_echoes.model.blocks import BlockSize
from visual_echoes.model.fast import CachedScore, FastTransformer
from visual_echoes.model.precision import (
    ENOUGH,
    LARGE,
    PRECISIONS,
    Precision,
    choose,
    choose_for_decoder,
    convolution_speeds_on,
    in_precision,
)
from visual_echoes.pipeline import VisualEchoes

kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
CPU = torch.device("cpu")
MEASURE = precision.speeds_on  # before a fixture of all tests replaces it


SIZE = BlockSize(width=32, heads=2)
FAST, SLOW = ENOUGH + 0.1, ENOUGH - 0.1


@pytest.mark.parametrize(
    ("bfloat16", "int8", "wanted"),
    [
        (FAST, FAST * FAST, "int8"),
        (FAST, FAST * SLOW, "bfloat16"),
        (FAST, None, "bfloat16"),
        (SLOW, FAST, "int8"),
        (SLOW, SLOW, "float32"),
    ],
)
def test_auto_takes_what_was_measured_to_be_faster_and_rounds_least(
    bfloat16: float, int8: float | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {"float32": 1.0, "bfloat16": bfloat16} | ({} if int8 is None else {"int8": int8})
    monkeypatch.setattr(precision, "speeds_on", lambda *_: speeds)
    assert choose("auto", CPU, SIZE) == wanted
    assert choose("auto", CPU, None) == "float32"
    assert [choose(name, CPU, SIZE) for name in PRECISIONS] == [*PRECISIONS]


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EchoesError, match=r"no precision 'fp8'; choose one of auto, float32, bfloat16, int8"):
        choose("fp8", CPU, SIZE)


def test_eight_bits_are_for_processors() -> None:
    with pytest.raises(EchoesError, match=r"int8 is for processors; choose another one, or cpu instead of cuda"):
        choose("int8", torch.device("cuda"), SIZE)


@pytest.mark.parametrize(
    ("wanted", "parameters", "speed", "precision_then"),
    [
        ("auto", LARGE, FAST, "bfloat16"),
        ("auto", LARGE - 1, FAST, "float32"),
        ("auto", LARGE, SLOW, "float32"),
        ("bfloat16", 1, SLOW, "bfloat16"),
        ("int8", LARGE, FAST, "float32"),
        ("float32", LARGE, FAST, "float32"),
    ],
)
def test_only_large_decoders_round_unasked(
    wanted: str, parameters: int, speed: float, precision_then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "convolution_speeds_on", lambda *_: {"float32": 1.0, "bfloat16": speed})
    with torch.device("meta"):
        tokenizer = torch.nn.Linear(parameters, 1, bias=False)
    assert choose_for_decoder(wanted, CPU, tokenizer) == precision_then


def test_the_speed_of_convolutions_is_measured_once() -> None:
    first = convolution_speeds_on("cpu")
    assert list(first) == ["float32", "bfloat16"]
    assert all(0 < speed < 1000 for speed in first.values())
    assert convolution_speeds_on("cpu") is first
    assert convolution_speeds_on("mps") == {"float32": 1.0}


def test_speed_is_measured_once() -> None:
    before = torch.get_rng_state()
    first = MEASURE("cpu", SIZE.width, SIZE.heads)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(0 < speed < 1000 for speed in first.values())
    assert MEASURE("cpu", SIZE.width, SIZE.heads) is first
    assert MEASURE("mps", SIZE.width, SIZE.heads) == {"float32": 1.0}


@kinds
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", PRECISIONS[1:])
def test_rounded_weights_give_nearly_the_same_logits_and_leave_the_model_alone(
    kind: dict[str, Any], cached: bool, name: Precision
) -> None:
    torch.manual_seed(0)
    model = FastTransformer(config(**kind)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rounded = cast(FastTransformer, in_precision(model, name))
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
    for name in PRECISIONS:
        echoes = VisualEchoes(whole_model, CPU, precision=name)
        result = echoes.generate_pair(1, steps=2)
        assert result.precision == ("bfloat16, decoders bfloat16" if name == "bfloat16" else name)
        assert result.audio is not None
