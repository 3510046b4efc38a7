"""An exported model makes by onnxruntime what it makes by torch, and says in one sentence where it cannot."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from exported import CPU, change_manifest, put_graph, through, transformer_model, vocoder_model
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.codec import Codec
from visual_echoes.errors import EchoesError
from visual_echoes.layout import MODALITIES, Modality, other
from visual_echoes.model import fast
from visual_echoes.model.confidence import weigh
from visual_echoes.model.fast import scorer
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.onnx.graphs import GRAPHS_FOLDER, MANIFEST_FILE, MAX_MANIFEST_BYTES, graph_path
from visual_echoes.onnx.runtime import Graphs, OnnxTransformer, load_graphs
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.streams import masked_but
from visual_echoes.tokenizers.base import Tokenizer, TokenizerName
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer
from visual_echoes.vocoders import Vocoder, build_vocoder
from vocoders.small import SMALL, random_mel, small

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)

Both = tuple[EchoTransformer, OnnxTransformer]
COUNT = 3
WANTED: list[list[Modality]] = [["audio"], ["image", "audio"], ["image"]]


@contextmanager
def warnings_of() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def both_ways(folder: Path, int8: bool = False, **config: object) -> Both:
    """A transformer by torch and by its graph."""
    model, graphs = through(transformer_model(tiny.transformer_config(**config)), folder, int8)
    transformer = model.parts["transformer"]
    assert isinstance(transformer, EchoTransformer)
    assert graphs.transformer is not None
    return transformer, graphs.transformer


@pytest.fixture(scope="module", params=[("masked", "full"), ("visible", "full"), ("visible", "cross")])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    encoder_input, decoder = request.param
    return both_ways(tmp_path_factory.mktemp("kind"), encoder_input=encoder_input, decoder=decoder)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both_ways(tmp_path_factory.mktemp("int8"), int8=True)


def some_tokens() -> dict[str, torch.Tensor]:
    return tiny.token_cache().draw(COUNT, tiny.generator())[0]


def masks(hidden: str) -> dict[str, torch.Tensor]:
    """One source wholly masked, the other known."""
    return {name: torch.full_like(own, name == hidden, dtype=torch.bool) for name, own in some_tokens().items()}


def scores(model: EchoTransformer | OnnxTransformer, rows: slice = slice(None)) -> torch.Tensor:
    """Of all samples asked for different things, side by side; zero elsewhere."""
    tokens = some_tokens()
    masked = {name: torch.rand(t.shape, generator=tiny.generator(2)) < 0.6 for name, t in tokens.items()}
    asked = {
        (name, 0): mask[..., 0] & torch.tensor([[name in wanted] for wanted in WANTED]) for name, mask in masked.items()
    }
    with torch.inference_mode():
        found = model.score(  # type: ignore[call-arg]
            *({name: values[rows] for name, values in side.items()} for side in (tokens, masked)),
            {level: asked_BP[rows] for level, asked_BP in asked.items()},
        )
    assert set(found) == set(asked)
    return torch.cat([(part * asked[level][rows, :, None]).flatten(1) for level, part in found.items()], 1)


def test_scores_are_those_of_torch(both: Both) -> None:
    model, graph = both
    torch.testing.assert_close(scores(graph), scores(model), atol=1e-4, rtol=1e-4)
    assert torch.equal(scores(graph) == 0.0, scores(model) == 0.0)


@pytest.mark.parametrize("target", MODALITIES)
def test_only_what_is_asked_for_is_computed(both: Both, target: Modality) -> None:
    masked = masks(target)
    asked = {(target, 0): masked[target][..., 0]}
    with torch.inference_mode():
        found, expected = (model.score(some_tokens(), masked, asked) for model in both)
    assert list(found) == list(expected) == [(target, 0)]
    torch.testing.assert_close(found[target, 0], expected[target, 0], atol=1e-4, rtol=1e-4)


def draw(model: EchoTransformer | OnnxTransformer, target: Modality, **settings: int) -> dict[str, torch.Tensor]:
    """Tokens in which the target is new."""
    chosen, streams = SamplingSettings.model_validate(settings), tiny.LAYOUT.streams
    scored, plan = scorer(model, chosen.kv_refresh_every), chosen.plan(streams, [target])
    generators = [tiny.generator(i) for i in range(COUNT)]
    return generate(scored, streams, some_tokens(), masks(target), plan, chosen, generators)


@pytest.mark.parametrize("target", MODALITIES)
def test_the_same_tokens_are_drawn(both: Both, target: Modality) -> None:
    tokens = some_tokens()
    by_torch, by_graph = (draw(model, target, steps=7) for model in both)
    assert all(torch.equal(by_torch[name], by_graph[name]) for name in tokens)
    assert not torch.equal(by_graph[target], tokens[target])


@pytest.mark.parametrize("target", MODALITIES)
def test_conditions_weigh_the_same(both: Both, target: Modality) -> None:
    evidence = [weigh(model, some_tokens(), other(target), target, torch.zeros(COUNT)) for model in both]
    for by_torch, by_graph in zip(*evidence, strict=True):
        torch.testing.assert_close(by_graph, by_torch, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("int8", [False, True])
def test_codes_by_depth_are_scored_by_torch_s_heads(tmp_path: Path, int8: bool) -> None:
    layout = replace(tiny.LAYOUT, audio_depth=3)
    config = tiny.transformer_config(streams=layout.streams, residual="depth", encoder_input="visible", decoder="cross")
    whole, graphs = through(replace(transformer_model(config), layout=layout), tmp_path, int8)
    model, graph = whole.parts["transformer"], graphs.transformer
    assert isinstance(model, EchoTransformer)
    assert graph is not None
    noise = tiny.generator()
    tokens = {s.name: torch.randint(s.codes, (COUNT, s.positions, s.depth), generator=noise) for s in layout.streams}
    masked = masked_but(layout.streams, tokens, ["image"])
    settings = SamplingSettings(steps=3)
    plan = settings.plan(layout.streams, ["audio"], by_depth=True)
    asked = dict.fromkeys(plan[0].levels, masked["audio"][..., 0])
    with torch.inference_mode():
        found, expected = (way.score(tokens, masked, asked) for way in (graph, model))
    for level, logits in expected.items():
        error = (found[level] - logits).square().mean().sqrt() / logits.square().mean().sqrt()
        assert float(error) < (0.1 if int8 else 1e-5)
    by_graph, by_torch = (
        generate(
            scorer(way, 1), layout.streams, tokens, masked, plan, settings, [tiny.generator(i) for i in range(COUNT)]
        )["audio"]
        for way in (graph, model)
    )
    assert int8 or torch.equal(by_graph, by_torch)
    assert by_graph.shape == by_torch.shape


def test_keys_and_values_are_always_new_and_one_warning_says_so(both: Both) -> None:
    fast._warn_of_exactness.cache_clear()
    with pytest.warns(UserWarning, match="kv_refresh_every is taken for 1") as caught:
        found = [draw(both[1], "audio", steps=5, kv_refresh_every=3) for _ in range(2)]
    assert len(caught) == 1
    exact = draw(both[1], "audio", steps=5)
    for tokens in found:
        assert torch.equal(tokens["audio"], exact["audio"])


def test_int8_is_close_and_does_not_depend_on_the_rest_of_the_batch(quantised: Both) -> None:
    model, graph = quantised
    found, expected = scores(graph), scores(model)
    error = (found - expected)[expected != 0.0].square().mean().sqrt() / expected[expected != 0.0].std()
    assert 1e-4 < error < 0.05  # of the spread; below, nothing would be quantised
    for row in range(COUNT):
        assert torch.equal(scores(graph, slice(row, row + 1)), found[row : row + 1])


@pytest.mark.parametrize("name", ["image_vqgan", "audio_vqgan"])
@torch.inference_mode()
def test_tokenizers_encode_and_decode_the_same(exported_once: Path, name: TokenizerName) -> None:
    model = load_model(exported_once)
    by_torch, by_graph = model.parts[name], load_graphs(model, CPU).tokenizers[name]
    assert isinstance(by_torch, Tokenizer)
    size = (tiny.LAYOUT.image_size,) * 2 if name == "image_vqgan" else (tiny.LAYOUT.n_mels, tiny.LAYOUT.mel_frames)
    image_BCHW = torch.rand(COUNT, 1, *size, generator=tiny.generator()) * 2 - 1
    tokens_Bhw = by_torch.encode_unit(image_BCHW)
    assert torch.equal(by_graph.encode_unit(image_BCHW), tokens_Bhw)
    assert len(tokens_Bhw.unique()) > 4
    torch.testing.assert_close(by_graph.decode_unit(tokens_Bhw), by_torch.decode_unit(tokens_Bhw), atol=1e-5, rtol=1e-5)


def test_residual_codes_are_encoded_and_decoded_the_same_in_any_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = tiny.LAYOUT.n_mels // 4
    sizes = CellConfig(channels=1, codes=32, code_dim=8, depth=2, cell=(4, 8), rows=rows)
    layout = replace(tiny.LAYOUT, audio_factor=sizes.cell, audio_codes=32)
    parts: dict[PartName, torch.nn.Module] = {"audio_vqgan": CellTokenizer(sizes).eval()}
    whole = Model(name="cells", version="0", layout=layout, parts=parts, sampling=SamplingSettings())
    model, graphs = through(whole, tmp_path)
    by_torch, by_graph = model.parts["audio_vqgan"], graphs.tokenizers["audio_vqgan"]
    assert isinstance(by_torch, Tokenizer)
    for count in (1, COUNT):
        image_BCHW = torch.rand(count, 1, layout.n_mels, layout.mel_frames, generator=tiny.generator()) * 2 - 1
        with torch.inference_mode():
            tokens_BhwL = by_torch.encode_unit(image_BCHW)
            expected = by_torch.decode_unit(tokens_BhwL)
        assert tokens_BhwL.shape == (count, *layout.audio_grid, 2)
        assert torch.equal(by_graph.encode_unit(image_BCHW), tokens_BhwL)
        torch.testing.assert_close(by_graph.decode_unit(tokens_BhwL), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["hifigan", "vocos", "vocos from griffin-lim", "melgan", "remapped-hifigan"])
def test_vocoders_make_the_same_sounds(kind: str, tmp_path: Path) -> None:
    vocoder = small(kind) if kind in SMALL else _vocos_from_griffin_lim()
    model, graphs = through(vocoder_model(vocoder), tmp_path)
    assert graphs.vocoder is not None
    mel_BMT = random_mel(2, tiny.LAYOUT.mel_frames)
    by_torch, by_graph = Codec(model, CPU).vocode(mel_BMT), Codec(model, CPU, graphs).vocode(mel_BMT)
    assert by_graph.shape == (2, tiny.LAYOUT.samples)
    assert np.abs(by_torch).max() > 1e-3
    np.testing.assert_allclose(by_graph, by_torch, atol=1e-4)


def _vocos_from_griffin_lim() -> Vocoder:
    vocoder = build_vocoder("vocos", {"width": 16, "blocks": 1, "griffin_lim_iterations": 2}, tiny.LAYOUT).eval()
    torch.nn.init.normal_(vocoder.head.weight, std=0.1)  # else what the network sees would not matter
    return vocoder


def test_a_folder_is_run_by_its_graphs_with_the_same_results(exported: Path) -> None:
    model = load_model(exported)
    by_graph, by_torch = VisualEchoes.from_pretrained(exported, device="cpu"), VisualEchoes(model, CPU)
    graphs = by_graph.codec.graphs
    assert isinstance(by_graph.codec.transformer, OnnxTransformer)
    assert set(graphs.tokenizers) == {"image_vqgan", "audio_vqgan"}
    assert graphs.vocoder is None  # Griffin-Lim
    images = list(tiny.pair_split().images.movedim(1, -1).numpy()[::7])
    made, alone, expected = (
        echoes.image_to_audio(images, seed=3, batch_size=size, confidence=True)
        for echoes, size in ((by_graph, 16), (by_graph, 1), (by_torch, 16))
    )
    for result in (alone, expected):
        np.testing.assert_allclose(made.mels, result.mels, atol=1e-5)
        np.testing.assert_allclose(made.confidence, result.confidence, atol=1e-5)  # type: ignore[arg-type]
    made, expected = (echoes.generate_pair(3, seed=1) for echoes in (by_graph, by_torch))
    assert np.abs(made.images.astype(int) - expected.images).max() <= 1  # type: ignore[union-attr]
    by_graph.save_pretrained(exported.parent / "copy")
    assert load_model(exported.parent / "copy").files["transformer"].sha256 == model.files["transformer"].sha256


# Where graphs cannot be run


def test_without_onnxruntime_torch_runs_the_model(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.warns(
        UserWarning, match=r"onnxruntime is not installed \(pip install .*torch runs the model"
    ) as caught:
        echoes = VisualEchoes.from_pretrained(exported, device="cpu")
    assert len(caught) == 1
    assert echoes.codec.graphs == Graphs()
    assert isinstance(echoes.codec.transformer, EchoTransformer)
    assert echoes.generate_pair(1).images is not None


def test_on_another_device_torch_runs_the_model(exported: Path) -> None:
    with pytest.warns(UserWarning, match="the device is meta, and they are for the CPU; torch runs the model"):
        assert load_graphs(load_model(exported), torch.device("meta")) == Graphs()


def test_a_folder_without_graphs_is_run_by_torch(model_folder: Path, exported: Path) -> None:
    assert load_graphs(load_model(model_folder), CPU) == Graphs()
    assert load_graphs(tiny.whole_model(), CPU) == Graphs()


def test_int8_of_another_processor_warns(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_manifest(exported, int8=True)
    for vnni, expected in ((False, 1), (True, 0)):
        monkeypatch.setattr("visual_echoes.onnx.runtime.has_vnni", lambda vnni=vnni: vnni)
        with warnings_of() as caught:
            load_graphs(load_model(exported), CPU)
        assert len([w for w in caught if "VNNI" in str(w.message)]) == expected


def damage(folder: Path, kind: str) -> str:
    """Spoil an exported folder; returns what is to be said of it."""
    path, manifest = graph_path(folder, "image_decoder"), folder / GRAPHS_FOLDER / MANIFEST_FILE
    content = path.read_bytes()
    if kind == "altered":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return "image_decoder.onnx does not match its checksum, so it is damaged or altered; export"
    if kind == "missing":
        path.unlink()
        return "image_decoder.onnx is missing; export"
    if kind == "no graph":
        put_graph(folder, "image_decoder", b"no graph")
        return "image_decoder.onnx cannot be loaded by onnxruntime"
    if kind == "another graph":
        put_graph(folder, "image_decoder", graph_path(folder, "audio_decoder").read_bytes())
        return "image_decoder.onnx is no graph of this model; export"
    if kind == "other weights":
        other_model = tiny.whole_model()
        other_model.parts["transformer"] = tiny.transformer(seed=9)
        save_model(folder, other_model, half=True)
        return "are not of its transformer; export"
    if kind == "a graph of nothing":
        change_manifest(folder, graphs={"vocoder": "0" * 64})
        return "vocoder.onnx belongs to no network of this model"
    if kind == "large manifest":
        manifest.write_text(" " * (MAX_MANIFEST_BYTES + 1))
        return r"no valid manifest of graphs \(more than"
    if kind == "broken manifest":
        manifest.write_bytes(b"{\xff")
        return "manifest.json is no valid manifest of graphs"
    if kind == "deep manifest":
        manifest.write_text("[" * 200_000)
        return "manifest.json is no valid manifest of graphs"
    if kind == "newer manifest":
        change_manifest(folder, format=2)
        return r"no valid manifest of graphs \(format: "
    change_manifest(folder, graphs={"../transformer": "0" * 64})
    return r"no valid manifest of graphs \(graphs"


DAMAGES = (
    "altered", "missing", "no graph", "another graph", "other weights", "a graph of nothing", "large manifest",
    "broken manifest", "deep manifest", "newer manifest", "an unknown graph",
)  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_damaged_is_one_sentence(exported: Path, kind: str) -> None:
    problem = damage(exported, kind)
    with pytest.raises(EchoesError, match=problem) as caught:
        VisualEchoes.from_pretrained(exported, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_graph_that_fails_when_it_runs_is_one_sentence(exported: Path) -> None:
    decoder = load_graphs(load_model(exported), CPU).tokenizers["image_vqgan"]
    with pytest.raises(EchoesError, match=r"image_decoder.onnx cannot be run \("):
        decoder.decode_unit(torch.full((1, *tiny.LAYOUT.image_grid), 10_000))
