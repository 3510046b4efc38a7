"""An export says what it is, is whole or no export, and is never one that computes something else."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from exported import transformer_model
from visual_echoes import __version__
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.errors import EchoesError
from visual_echoes.onnx import export
from visual_echoes.onnx.export import OPSET, export_model
from visual_echoes.onnx.graphs import GRAPHS_FOLDER, MANIFEST_FILE, graph_path, has_vnni, notes, read_manifest
from visual_echoes.onnx.runtime import Graph
from visual_echoes.vocoders import build_vocoder

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)


def small_model() -> Model:
    return transformer_model(tiny.transformer_config())


def test_the_manifest_says_what_was_exported(exported: Path) -> None:
    manifest, model = read_manifest(exported), load_model(exported)
    assert manifest is not None
    assert (manifest.version, manifest.opset, manifest.int8, manifest.reduce_range) == (
        __version__,
        OPSET,
        False,
        False,
    )
    assert set(manifest.graphs) == {
        "transformer",
        *(f"{m}_{w}" for m in ("image", "audio") for w in ("encoder", "decoder")),
    }
    assert manifest.weights == {name: file.sha256 for name, file in model.files.items()}
    assert manifest.notes == ("The vocoder is Griffin-Lim, which has no weights: it stays with torch.",)
    assert (exported / "README.md").read_text(encoding="utf-8") == "# Tiny\n"


def test_what_of_a_vocos_stays_with_torch_is_said() -> None:
    for iterations, what in ((0, "transform stays"), (2, "transform, and the Griffin-Lim it starts from, stays")):
        vocoder = build_vocoder("vocos", {"width": 8, "blocks": 1, "griffin_lim_iterations": iterations}, tiny.LAYOUT)
        (note,) = notes(vocoder)
        assert what in note


@pytest.mark.parametrize("vnni", [False, True])
def test_int8_is_smaller_and_reduced_where_products_saturate(
    vnni: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    monkeypatch.setattr(export, "has_vnni", lambda: vnni)
    manifest = export_model(small_model(), tmp_path, int8=True)
    assert (manifest.int8, manifest.reduce_range) == (True, not vnni)
    graph = onnx.load(graph_path(tmp_path, "transformer")).graph
    weights = [onnx.numpy_helper.to_array(value) for value in graph.initializer]
    largest = max(abs(int(weight.min())) for weight in weights if weight.dtype == "int8")
    assert (largest > 64) == vnni
    assert {"MatMulInteger"} <= {node.op_type for node in graph.node}


def test_int8_of_a_model_without_a_transformer_is_refused(tmp_path: Path) -> None:
    model = tiny.whole_model()
    del model.parts["transformer"]
    with pytest.raises(EchoesError, match="Only a transformer is quantised"):
        export_model(model, tmp_path / "model", int8=True)
    assert not (tmp_path / "model").exists()


def test_an_interrupted_export_is_a_model_without_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_model(small_model(), tmp_path)
    stray = graph_path(tmp_path, "vocoder")  # of a model with a vocoder that lay here before
    stray.write_bytes(b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(export, "_compare", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_model(small_model(), tmp_path)
    assert read_manifest(tmp_path) is None
    assert list((tmp_path / GRAPHS_FOLDER).iterdir()) == [stray]
    assert set(load_model(tmp_path).parts) == {"transformer"}
    export_model(small_model(), tmp_path)
    assert {path.name for path in (tmp_path / GRAPHS_FOLDER).iterdir()} == {"transformer.onnx", MANIFEST_FILE}


def test_a_graph_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Graph.__call__
    monkeypatch.setattr(Graph, "__call__", lambda self, *inputs: [out + 0.01 for out in right(self, *inputs)])
    with pytest.raises(EchoesError, match=r"transformer.onnx would not compute what torch does"):
        export_model(small_model(), tmp_path)
    assert not graph_path(tmp_path, "transformer").exists()


def test_what_cannot_be_exported_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operation\nand much more")

    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(EchoesError, match=r"transformer.onnx cannot be made by torch's exporter \(no such operation\)"):
        export_model(small_model(), tmp_path)


def test_a_part_that_is_too_large_for_onnx_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_GRAPH_BYTES", 1000)
    with pytest.raises(EchoesError, match="The transformer is larger than 2 GB"):
        export_model(small_model(), tmp_path)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags\t\t: fpu avx2", False), ("flags\t\t: fpu avx_vnni", True), ("Features\t: asimddp", False)],
)
def test_vnni_is_read_from_the_processors_flags(flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"processor\t: 0\n{flags}\n")
    assert has_vnni() is expected
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert not has_vnni()
