"""First weights come from a trained part, whatever its layout, and what is frozen does not move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

import tiny
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.run_folder import checkpoint_path
from visual_echoes.errors import EchoesError
from visual_echoes.layout import MODALITIES
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.streams import Stream
from visual_echoes.tokenizers.vqgan import VQGAN
from visual_echoes.training.fine_tuning import freeze, interpolate_positions, start_from
from visual_echoes.training.loop import fit
from visual_echoes.training.transformer import TransformerTask
from visual_echoes.vocoders import build_vocoder

pytestmark = pytest.mark.filterwarnings("ignore:only .* of the codebook is in use")
sides = st.integers(1, 9)


def trained(folder: Path) -> EchoTransformer:
    part = load_model(folder, wanted=["transformer"]).parts["transformer"]
    assert isinstance(part, EchoTransformer)
    return part


def streams(**changes: dict[str, Any]) -> tuple[Stream, ...]:
    """Those of the layout, some of them changed."""
    return tuple(stream.model_copy(update=changes.get(stream.name, {})) for stream in tiny.LAYOUT.streams)


def started(folder: Path, **changes: Any) -> tuple[EchoTransformer, dict[str, Tensor]]:
    """A transformer with weights from the folder, and what it was before."""
    torch.manual_seed(9)
    model = FastTransformer(tiny.transformer_config(**changes))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start_from(model, str(folder), "transformer")
    return model, before


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.3}, {"encoder_input": "visible", "mask_fill": "cls"}])
def test_the_same_sizes_take_every_tensor(model_folder: Path, changes: dict[str, Any]) -> None:
    model, _ = started(model_folder, **changes)
    expected = trained(model_folder).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_a_larger_grid_changes_its_positions_only(model_folder: Path) -> None:
    rows, columns = tiny.LAYOUT.image_grid
    model, _ = started(model_folder, streams=streams(image={"shape": (2 * rows, columns + 1)}))
    old, new = trained(model_folder).state_dict(), model.state_dict()
    changed = {key for key in new if new[key].shape != old[key].shape or not torch.equal(new[key], old[key])}
    assert changed == {"positions.image", "decoder_positions.image"}
    for key in changed:
        grids = tiny.LAYOUT.image_grid, (2 * rows, columns + 1)
        assert torch.equal(new[key], interpolate_positions(old[key], *grids))


def test_a_turned_grid_is_not_mistaken_for_the_same(model_folder: Path) -> None:
    turned = (tiny.LAYOUT.audio_grid[0] * 2, tiny.LAYOUT.audio_grid[1] // 2)  # as many places
    model, _ = started(model_folder, streams=streams(audio={"shape": turned}))
    fitted, old = (net.positions.audio for net in (model, trained(model_folder)))
    assert not torch.equal(fitted, old)


def test_new_codes_are_added_and_the_old_ones_keep_their_meaning(model_folder: Path) -> None:
    model, before = started(model_folder, streams=streams(audio={"codes": 40}))
    old, new = trained(model_folder).state_dict(), model.state_dict()
    table, bias = "token_embedding.audio.weight", "heads.audio.0.bias"
    assert torch.equal(new[table][:32], old[table][:32])
    assert torch.equal(new[table][32:40], before[table][32:40])
    assert torch.equal(new[table][40], old[table][32])  # the mask id
    assert torch.equal(new[bias], torch.cat([old[bias], torch.zeros(8)]))
    tokens = tiny.token_cache().draw(3, tiny.generator())[0]
    nothing = {name: torch.zeros_like(own, dtype=torch.bool) for name, own in tokens.items()}
    for modality in MODALITIES:
        scores = [
            net.eval().logits((modality, 0), net(tokens, nothing)[modality]) for net in (trained(model_folder), model)
        ]
        torch.testing.assert_close(scores[1][..., :32], scores[0])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"heads": 4}, ["heads is 2 there and 4 here"]),
        ({"width": 32, "encoder_layers": 2}, ["width is 16 there and 32 here", "encoder_layers is 1 there and 2 here"]),
        ({"streams": streams(image={"codes": 31}, audio={"codes": 64})}, ["image_codes is 32 there and 31 here"]),
        (
            {"streams": streams(image={"shape": (16,)}, audio={"depth": 2})},
            ["image is (4, 4) x 1 there and (16,) x 1 here", "audio is (4, 4) x 1 there and (4, 4) x 2 here"],
        ),
        ({"streams": streams()[:1]}, ["the streams are image, audio there and image here"]),
    ],
)
def test_every_misfit_is_named_and_nothing_else(model_folder: Path, changes: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(EchoesError) as caught:
        started(model_folder, **changes)
    assert f"does not fit the recipe: {', '.join(named)};" in str(caught.value)


def test_tokenizers_and_vocoders_must_be_the_same_network(model_folder: Path) -> None:
    with pytest.raises(EchoesError, match=r"codes is 32 there and 64 here"):
        start_from(VQGAN(tiny.vqgan_config(codes=64)), str(model_folder), "image_vqgan")
    with pytest.raises(EchoesError, match=r"another network \(griffin-lim\)"):
        start_from(build_vocoder("vocos", {"width": 16, "blocks": 1}, tiny.LAYOUT), str(model_folder), "vocoder")


def test_a_tokenizer_may_go_on_with_more_tokens_a_image(model_folder: Path) -> None:
    finer = VQGAN(tiny.vqgan_config(strides=((2, 2), (1, 2))))
    start_from(finer, str(model_folder), "image_vqgan")
    assert finer.encode(torch.zeros(1, 1, 16, 16)).indices.shape == (1, 8, 4)
    trained = load_model(model_folder).parts["image_vqgan"].state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in finer.state_dict().items())


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.integers(0, 99))
def test_interpolation_stays_within_the_positions(old: tuple[int, int], new: tuple[int, int], seed: int) -> None:
    positions = torch.randn(old[0] * old[1], 4, generator=tiny.generator(seed))
    found = interpolate_positions(positions, old, new)
    assert found.shape == (new[0] * new[1], 4)
    assert (found <= positions.amax(0) + 1e-5).all()
    assert (found >= positions.amin(0) - 1e-5).all()
    if old == new:
        assert torch.equal(found, positions)


def test_interpolation_follows_rows_and_columns() -> None:
    """A plane over the grid stays a plane, away from the edges."""
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    found = interpolate_positions(torch.stack([rows, columns], -1).flatten(0, 1), (4, 6), (8, 12)).unflatten(0, (8, 12))
    inner = found[1:-1, 1:-1]
    torch.testing.assert_close(inner[:, 0, 0], torch.arange(6) * 0.5 + 0.25)
    torch.testing.assert_close(inner[0, :, 1], torch.arange(10) * 0.5 + 0.25)


# Freezing


FREEZABLE = ["encoder", "encoder.0", "heads.audio", "cls_token", "token_embedding"]


@pytest.mark.parametrize("name", FREEZABLE)
def test_what_is_frozen_neither_moves_nor_has_optimizer_state(name: str, tmp_path: Path) -> None:
    task = tiny.transformer_task()
    freeze(task.model, [name])
    before = {key: value.detach().clone() for key, value in task.model.named_parameters()}
    frozen = {key for key in before if key == name or key.startswith(f"{name}.")}
    model = fit(task, tiny.train_settings(3, weight_decay=0.5), tmp_path, "f")
    unmoved = {key for key, value in model.named_parameters() if torch.equal(value, before[key])}
    assert frozen
    assert frozen <= unmoved
    assert "decoder_embed.weight" not in unmoved
    with safe_open(checkpoint_path(tmp_path / "checkpoints", 3), framework="pt") as file:
        moments = [key for key in file.keys() if key.startswith("optimizer/") and key.endswith("/exp_avg")]  # noqa: SIM118
    assert len(moments) == sum(parameter.requires_grad for parameter in task.model.parameters())


@pytest.mark.parametrize(
    ("older", "name"),
    [
        ("class_slot", "cls_token"), ("bridge", "decoder_embed"), ("bridge.weight", "decoder_embed.weight"),
        ("embeddings.image", "token_embedding.image"), ("places_embedding", "positions"),
        ("places_embedding.modality", "positions.modality"), ("places_embedding.image", "positions.image"),
        ("decoder_positions.audio", "decoder_positions.audio"), ("heads.audio", "heads.audio"),
    ],
)  # fmt: skip
def test_names_of_older_recipes_are_frozen_too(older: str, name: str) -> None:
    frozen = []
    for given_name in (older, name):
        model = tiny.transformer()
        freeze(model, [given_name])
        frozen.append([key for key, parameter in model.named_parameters() if not parameter.requires_grad])
    assert frozen[0] == frozen[1]
    assert frozen[0]


class Killed(Exception):
    """Ends a run in the middle of a step."""


def kill() -> None:
    raise Killed


def frozen_task() -> TransformerTask:
    task = tiny.transformer_task()
    freeze(task.model, ["encoder"])
    return task


def test_a_frozen_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = fit(frozen_task(), tiny.train_settings(6), tmp_path / "whole", "f").state_dict()
    with pytest.raises(Killed):
        fit(tiny.at_step(frozen_task(), 4, kill), tiny.train_settings(6), tmp_path / "resumed", "f")
    resumed = fit(frozen_task(), tiny.train_settings(6), tmp_path / "resumed", "f").state_dict()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    model = VQGAN(tiny.vqgan_config())
    for name in ("encode", "encoder.", "", "decoder.conv"):
        with pytest.raises(EchoesError, match=r"choose among encoder, decoder, quantize, quant_conv, post_quant_conv"):
            freeze(model, [name])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_freezing_everything_is_refused() -> None:
    model = VQGAN(tiny.vqgan_config())
    with pytest.raises(EchoesError, match="nothing to train"):
        freeze(model, ["encoder", "decoder", "quantize", "quant_conv", "post_quant_conv"])


def test_a_model_of_videos_starts_from_one_of_stills(model_folder: Path) -> None:
    """Every frame has the still's positions; what differs between times is what it was in the fresh model of videos."""
    video = replace(tiny.LAYOUT, name="video", frames=3)
    model, before = started(model_folder, streams=video.streams)
    was = trained(model_folder)
    for table in ("positions", "decoder_positions"):
        frames_FPD = model.get_parameter(f"{table}.image").unflatten(0, (3, -1))
        fresh_FPD = before[f"{table}.image"].unflatten(0, (3, -1))
        torch.testing.assert_close(frames_FPD.mean(0), was.get_parameter(f"{table}.image"))
        torch.testing.assert_close(frames_FPD[2] - frames_FPD[0], fresh_FPD[2] - fresh_FPD[0])
        columns = tuple(video.audio_grid)
        bands = model.get_parameter(f"{table}.audio").unflatten(0, columns).mean(1)
        torch.testing.assert_close(bands, was.get_parameter(f"{table}.audio").unflatten(0, columns).mean(1))
    assert torch.equal(model.encoder_norm.weight, was.encoder_norm.weight)


def test_streams_that_the_trained_one_lacks_start_afresh(model_folder: Path) -> None:
    label = Stream(name="label", source="label", shape=(2,), codes=5, detail=-1)
    model, before = started(model_folder, streams=(tiny.LAYOUT.streams[0], label, tiny.LAYOUT.streams[1]))
    expected = trained(model_folder).state_dict()
    for key, value in model.state_dict().items():
        if "label" in key.split("."):
            assert torch.equal(value, before[key]), key
        elif key.endswith("modality"):
            assert torch.equal(value[[0, 2]], expected[key])
            assert torch.equal(value[1], before[key][1])
        else:
            assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize(("there", "here"), [("levels", "depth"), ("depth", "levels"), ("depth", "depth")])
def test_residual_codes_may_follow_each_other_in_another_way(
    monkeypatch: pytest.MonkeyPatch, whole_model: Model, there: str, here: str
) -> None:
    streams = (tiny.LAYOUT.streams[0], tiny.LAYOUT.streams[1].model_copy(update={"depth": 2}))
    part = tiny.transformer(tiny.transformer_config(streams=streams, residual=there))
    model = tiny.transformer(tiny.transformer_config(streams=streams, residual=here), seed=1)
    whole_model.parts["transformer"] = part
    monkeypatch.setattr("visual_echoes.training.fine_tuning.load_model", lambda *_, **__: whole_model)
    before, expected = {name: t.clone() for name, t in model.state_dict().items()}, part.state_dict()
    start_from(model, "somewhere", "transformer")
    for key, value in model.state_dict().items():
        fresh = there != here and key.startswith("depth.")
        assert torch.equal(value, before[key] if fresh else expected[key]), key
