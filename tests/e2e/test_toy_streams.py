"""Three streams, one of them a video and one of residual codes: trained, sampled, saved, loaded and exported.

All of it by what the package offers: a layout is enough.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model, kind_and_config
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.data.tokens import TokenCache
from visual_echoes.layout import get_layout
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer, dense, scorer
from visual_echoes.model.interface import ScoringModel
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.onnx.export import export_model
from visual_echoes.onnx.runtime import OnnxTransformer, load_graphs
from visual_echoes.streams import Stream, TimeAxis, by_name, empty_tokens
from visual_echoes.training.loop import fit
from visual_echoes.training.transformer import MaskingObjective, TransformerTask

CPU = torch.device("cpu")
VIDEO = Stream(name="video", source="video", shape=(3, 2, 2), codes=8, time=TimeAxis(axis=0, start=0.04, step=0.08))
LAYOUT = replace(get_layout("debug"), name="toy", audio_depth=3, extra_streams=(VIDEO,))
STREAMS = by_name(LAYOUT.streams)
SOURCES = tuple(STREAMS)  # each has one stream, of its name
SETTINGS = SamplingSettings(steps=6, residual_steps=2, temperature=2.0, guidance=1.5)
GROUPS, COUNT = 4, 3
# Which sources are known, of every task: all others are made.
TASKS = [known for count in range(len(SOURCES)) for known in combinations(SOURCES, count)]


def token_cache(seed: int) -> TokenCache:
    """Every code is the group's number plus its level, except at every fourth position, which is noise."""
    noise = tiny.generator(seed)
    tokens: dict[str, dict[str, Tensor]] = {}
    groups = torch.arange(GROUPS).repeat_interleave(6)
    for stream in LAYOUT.streams:
        levels_Q = torch.arange(stream.depth)
        own = (groups[:, None, None] + levels_Q).expand(-1, stream.positions, -1).clone()
        own[:, ::4] = torch.randint(stream.codes, own[:, ::4].shape, generator=noise)
        tokens[stream.source] = {stream.name: own.short()}
    return TokenCache(tokens, dict.fromkeys(tokens, groups))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TransformerTask, dict[str, float], Model]:
    """The task, what an untrained network's validation gave, and the model that training made."""
    torch.manual_seed(0)
    sizes = {"width": 48, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "mlp_ratio": 2, "dropout": 0.0}
    config = TransformerConfig.for_layout(LAYOUT, **sizes)
    task = TransformerTask(config, MaskingObjective(), token_cache(0), token_cache(1))
    with torch.no_grad():
        before = task.validate(task.model.eval(), CPU).metrics
    settings = tiny.train_settings(100, batch_size=16, learning_rate=5e-3, validate_every=999, checkpoint_every=999)
    network = fit(task, settings, tmp_path_factory.mktemp("run"), "toy")
    model = Model(
        name="toy", version="1.0", layout=LAYOUT, parts={"transformer": network.eval()}, sampling=SETTINGS,
    )  # fmt: skip
    return task, before, model


def transformer(model: Model) -> FastTransformer:
    part = model.parts["transformer"]
    assert isinstance(part, FastTransformer)
    return part


def given() -> dict[str, Tensor]:
    return token_cache(2).draw(COUNT, tiny.generator(5))[0]


def draw(
    model: ScoringModel, known: tuple[str, ...], kept: float = 0.0, settings: SamplingSettings = SETTINGS
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tokens where some sources are known, and a share of the positions of all others; and what was masked."""
    tokens = given() if known or kept else empty_tokens(LAYOUT.streams, COUNT)
    shown = {name: torch.rand(s.positions, generator=tiny.generator(9)) < kept for name, s in STREAMS.items()}
    masked = {
        name: (~shown[name])[:, None].expand_as(own) if name not in known else torch.zeros_like(own, dtype=torch.bool)
        for name, own in tokens.items()
    }
    plan = settings.plan(LAYOUT.streams, [source for source in SOURCES if source not in known])
    generators = [tiny.generator(seed) for seed in range(COUNT)]
    scores = scorer(model, settings.kv_refresh_every)
    return generate(scores, LAYOUT.streams, tokens, masked, plan, settings, generators), masked


def test_training_teaches_every_stream_and_what_the_others_tell_of_it(
    trained: tuple[TransformerTask, dict[str, float], Model],
) -> None:
    task, before, model = trained
    with torch.no_grad():
        after = task.validate(transformer(model), CPU).metrics
    assert set(after) == {f"{figure}/{name}" for name in STREAMS for figure in ("loss", "cross_modal_gain")}
    for name in STREAMS:
        assert after[f"loss/{name}"] < 0.7 * before[f"loss/{name}"]
        assert after[f"cross_modal_gain/{name}"] > 1.0


@pytest.mark.parametrize("known", TASKS, ids=lambda known: "+".join(known) or "nothing")
def test_every_task_fills_what_is_unknown_and_keeps_what_is_known(
    trained: tuple[TransformerTask, dict[str, float], Model], known: tuple[str, ...]
) -> None:
    tokens, _ = draw(transformer(trained[2]), known)
    for name, stream in STREAMS.items():
        assert tokens[name].shape == (COUNT, stream.positions, stream.depth)
        assert 0 <= int(tokens[name].min()) <= int(tokens[name].max()) < stream.codes
        assert torch.equal(tokens[name], given()[name]) == (name in known)


def test_what_is_made_fits_what_is_given(trained: tuple[TransformerTask, dict[str, float], Model]) -> None:
    """The group shows in every level of residual codes of a sound that was made for image and video."""
    groups = given()["image"][:, 1, 0]  # a position that holds the group
    audio, _ = draw(transformer(trained[2]), ("image", "video"))
    right = audio["audio"] == (groups[:, None, None] + torch.arange(3))
    assert bool((right.double().mean((0, 1)) > 0.35).all())  # a model that does not listen: 0.75 / 4 = 0.19


def test_inpainting_keeps_every_code_of_the_positions_outside(
    trained: tuple[TransformerTask, dict[str, float], Model],
) -> None:
    tokens, masked = draw(transformer(trained[2]), (), kept=0.5)
    for name, own in given().items():
        assert torch.equal(tokens[name][~masked[name]], own[~masked[name]])
        assert not torch.equal(tokens[name], own)


@pytest.mark.parametrize("known", [(), ("image", "video")])
def test_the_fast_network_draws_what_the_dense_one_does(
    trained: tuple[TransformerTask, dict[str, float], Model], known: tuple[str, ...]
) -> None:
    model = transformer(trained[2])
    fast, plain = (draw(network, known)[0] for network in (model, dense(model)))
    assert all(torch.equal(fast[name], plain[name]) for name in STREAMS)
    kept = draw(model, known, settings=SETTINGS.model_copy(update={"kv_refresh_every": 3}))[0]
    assert {name: tokens.shape for name, tokens in kept.items()} == {name: t.shape for name, t in fast.items()}


def test_a_folder_holds_it_and_gives_the_same_tokens(
    trained: tuple[TransformerTask, dict[str, float], Model], tmp_path: Path
) -> None:
    model = trained[2]
    save_model(tmp_path, model, half=False)
    loaded = load_model(tmp_path)
    assert loaded.layout == LAYOUT
    assert loaded.sampling == SETTINGS
    assert kind_and_config(loaded.parts["transformer"]) == kind_and_config(model.parts["transformer"])
    for known in TASKS:
        found, expected = (draw(transformer(one), known)[0] for one in (loaded, model))
        assert all(torch.equal(found[name], expected[name]) for name in STREAMS)


def test_its_graph_draws_the_same_tokens(
    trained: tuple[TransformerTask, dict[str, float], Model], tmp_path: Path
) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    manifest = export_model(trained[2], tmp_path)
    assert set(manifest.graphs) == {"transformer"}
    loaded = load_model(tmp_path)
    graph = load_graphs(loaded, CPU).transformer
    assert isinstance(graph, OnnxTransformer)
    for known in TASKS:
        found, expected = (draw(one, known)[0] for one in (graph, transformer(loaded)))
        assert all(torch.equal(found[name], expected[name]) for name in STREAMS)
