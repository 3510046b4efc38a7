"""A reverse proxy that serves another server below a path, as nginx does with `proxy_pass http://SERVER/`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextmanager
def behind_a_proxy(server: str, path: str) -> Iterator[str]:
    """The address at which the proxy serves what another server has at its root."""
    name = urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if not self.path.startswith(f"{path}/"):
                self.send_error(404)
                return
            connection = HTTPConnection(name)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            connection.request(self.command, self.path.removeprefix(path), body, dict(self.headers))
            answer = connection.getresponse()
            self.send_response_only(answer.status)
            for header, value in answer.getheaders():
                if header.lower() != "transfer-encoding":
                    self.send_header(header, value)
            self.end_headers()
            while piece := answer.read1(65536):
                self.wfile.write(piece)
                self.wfile.flush()

        do_GET = do_POST = forward

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}{path}/"
    finally:
        proxy.shutdown()
        proxy.server_close()
