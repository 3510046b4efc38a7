"""`echoes app` as its own process: the address it prints, the token it makes, how it ends; and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cli.conftest import Command
from visual_echoes.app.limits import MIN_TOKEN

PATIENCE = 120  # seconds; a busy machine is no failure


@contextmanager
def running(model_folder: Path, temporary: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and what it prints first."""
    command = [sys.executable, "-m", "visual_echoes", "app", "--model", str(model_folder), "--port", "0", *arguments]
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
        "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary),
    }  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_this_machine_and_leaves_nothing(model_folder: Path, tmp_path: Path, sent: signal.Signals) -> None:
    with running(model_folder, tmp_path, "--longest", "7.5") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{address}healthz", timeout=PATIENCE).json()["alive"]
        assert httpx.get(f"{address}api/v1/models").json()["models"] == ["tiny", "digits", "digits-in-time", "scenes"]
        assert httpx.get(address).status_code == 200
        description = httpx.get(f"{address}api/v1/openapi.json").json()["info"]["description"]
        assert "up to 7.5 seconds of sound" in description
        httpx.post(f"{address}gradio_api/upload", files={"files": ("a.png", b"0")})
        assert list(tmp_path.rglob("a.png"))
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout, stderr) == (0, "", "")
    assert not [*tmp_path.glob("echoes-*"), *tmp_path.rglob("a.png")]


def test_beyond_this_machine_it_makes_a_token(model_folder: Path, tmp_path: Path) -> None:
    with running(model_folder, tmp_path, "--host", "0.0.0.0") as (_, printed):
        address, token = printed.replace("0.0.0.0", "127.0.0.1").split("?token=")
        assert len(token) >= MIN_TOKEN
        assert httpx.get(f"{address}api/v1/models", timeout=PATIENCE).status_code == 401
        answer = httpx.get(f"{address}api/v1/models", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200


def test_a_token_that_can_be_guessed_is_refused(command: Command, model_folder: Path) -> None:
    result = command("app", "--model", model_folder, "--token", "secret", "--port", 0)
    assert result.exit_code == 1
    assert result.stderr == f"Error: The token has 6 characters; choose one of at least {MIN_TOKEN}.\n"


def test_a_port_in_use_is_named(command: Command, model_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = command("app", "--model", model_folder, "--port", port)
    assert result.exit_code == 1
    assert f"127.0.0.1 port {port} cannot be listened on" in result.stderr


def test_a_model_that_is_not_there_is_named(command: Command) -> None:
    result = command("app", "--model", "nowhere")
    assert (result.exit_code, "There is no model 'nowhere'" in result.stderr) == (1, True)


@pytest.mark.parametrize("path", ["below", "/a b", "ftp://echoes.example"])
def test_a_root_path_that_is_none_is_refused(command: Command, model_folder: Path, path: str) -> None:
    result = command("app", "--model", model_folder, "--root-path", path, "--port", 0)
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"Error: {path} is no path or address of a server; give one such as /echoes or https://echoes.example/.\n"
    )
