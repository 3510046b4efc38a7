"""What figures follow from is told apart: a cell of one way to run a model is never taken for another's."""

from __future__ import annotations

from collections.abc import Callable

from visual_echoes.onnx.runtime import Graphs
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.bench import Bench


def test_graphs_in_place_of_parts_are_told(echoes: VisualEchoes, bench: Callable[[VisualEchoes], Bench]) -> None:
    graphs = Graphs(checksums={"transformer": "0" * 64})
    by_torch, by_graphs = (bench(each).facts for each in (echoes, VisualEchoes(echoes.model, echoes.device, graphs)))
    assert "graphs" not in by_torch["model"]
    assert by_graphs == by_torch | {"model": by_torch["model"] | {"graphs": {"transformer": "0" * 64}}}
