"""Page, API and gate put together, and served."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import signal
import socket
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from visual_echoes.app.api import create_api
from visual_echoes.app.gate import LOOPBACK_NAMES, Gate
from visual_echoes.app.limits import MAX_CONNECTIONS, MAX_STORED_BYTES, MIN_TOKEN
from visual_echoes.app.service import Service
from visual_echoes.errors import EchoesError
from visual_echoes.paths import shown

_ROOT_PATH = re.compile(r"(https?://[\w.-]+(:\d+)?)?(/[\w.~-]+)*", re.ASCII)
GOODBYE_SECONDS = 2  # for answers under way when the server is told to end


def create_app(
    service: Service, uploads: Path, token: str | None, names: Collection[str] | None, root_path: str = ""
) -> ASGIApp:
    """Page and API behind the gate.

    Args:
        uploads: an empty folder of its own for what visitors send; whoever made it removes it.
        token: what visitors must show; None for nothing.
        names: host names it answers to; None for any.
        root_path: path or whole address at which a proxy serves it, without a slash at the end.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from visual_echoes.app.page import mount_page  # only now, as Gradio reads its environment when it is imported

    api = create_api(service, root_path)
    mount_page(api, service, uploads, root_path)
    return Gate(
        api, names=names, token=token, has_room=lambda: _bytes_in(uploads) < MAX_STORED_BYTES, root_path=root_path
    )


def serve(
    service: Service, host: str, port: int, token: str | None, say: Callable[[str], None], root_path: str = ""
) -> None:
    """Serve until interrupted or told to end.

    Args:
        host: where to listen; where others can reach it, a token is made unless one is given.
        port: 0 for any free one.
        say: called with the page's address once it can be opened.
        root_path: path or whole address at which a proxy serves it; "" for the proxy's or its own root.

    Raises:
        EchoesError: the address cannot be listened on, the token is too short, or the path is none.
    """
    root_path = root_path.rstrip("/")
    if not _ROOT_PATH.fullmatch(root_path):
        raise EchoesError(
            f"{shown(root_path)} is no path or address of a server; give one such as /echoes or https://echoes.example/."
        )
    local = _is_loopback(host)
    if token is not None and len(token) < MIN_TOKEN:
        raise EchoesError(f"The token has {len(token)} characters; choose one of at least {MIN_TOKEN}.")
    if token is None and not local:
        token = secrets.token_urlsafe(24)
    with _listening(host, port) as listener, tempfile.TemporaryDirectory(prefix="echoes-app-") as uploads:
        app = create_app(service, Path(uploads), token, {*LOOPBACK_NAMES, host} if local else None, root_path)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, proxy_headers=False, server_header=False,
            limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=GOODBYE_SECONDS,
        )  # fmt: skip
        name = f"[{host}]" if ":" in host else host
        query = "" if token is None else f"?token={token}"
        say(f"http://{name}:{listener.getsockname()[1]}/{query}")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that being told to end cleans up, too
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise EchoesError(
            f"{host} port {port} cannot be listened on ({error.strerror or error}); choose another --host or --port."
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder, which others may be emptying."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            total += path.stat().st_size if path.exists() else 0
    return total
