"""What every request passes before page or API see it: who may ask, for what, how much of it, and under which name.

Browsers let any web page send requests to this machine. So a server on the loopback interface answers under its own
names only (a foreign name that resolves here is DNS rebinding), one that can be reached from elsewhere asks for a
token, and none takes orders that come from another page. Of Starlette's own middleware only the one for host names fits
this, and it lets a request with two names pass.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from visual_echoes.app.limits import DROPPED_SECONDS, MAX_DROPPED_BYTES, MAX_MESSAGE_BYTES, MAX_UPLOAD_BYTES

COOKIE = "echoes_token"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEALTH = "/healthz"
UPLOAD = "/gradio_api/upload"

# Gradio answers to more than the page needs, such as to requests that make the server fetch other addresses.
_KNOWN = re.compile(
    r"/|/healthz|/metrics|/api/v1/.+|/config|/theme\.css|/manifest\.json|/favicon\.ico|/robots\.txt"
    r"|/(assets|static|svelte)/.+|/gradio_api/(info|app_id|startup-events|upload|upload_progress|cancel|reset|theme\.css)"
    r"|/gradio_api/queue/(join|data)|/gradio_api/heartbeat/\w+|/gradio_api/file=/.+"
)
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_ANSWER_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}  # Gradio needs inline scripts; nothing may be fetched from, or sent to, another server


class _TooMuch(Exception):
    """A body is larger than its header said or than may be."""


class Gate:
    """Stands before an application.

    Args:
        app: page and API.
        names: host names the server answers to; None for any.
        token: what a visitor must show, as a bearer token, as the cookie, or once in the address as `?token=`; None for
            nothing.
        has_room: whether another upload may be stored.
        root_path: where a proxy serves the application, such as "/echoes"; it may hand the prefix on or leave it out.
            A whole address, such as "https://echoes.example/below", also tells under which name and whether safely.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        names: Collection[str] | None,
        token: str | None,
        has_room: Callable[[], bool],
        root_path: str = "",
    ) -> None:
        self.app, self.token, self.has_room = app, token, has_room
        public = urlsplit(root_path)
        self.root_path, self.public_host, self.safe = public.path, public.netloc or None, public.scheme == "https"
        self.names = names if names is None or not public.hostname else {*names, public.hostname}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = _marked(send)
        scope = self._within(scope)
        body = _Body(_limit(scope["path"]), Headers(scope=scope), receive, send)
        refusal = self._refusal(Request(scope))
        if refusal is not None:
            await refusal(scope, receive, body.answer)
            return
        # What a proxy says of the visitor is not to be believed from a visitor, and Gradio builds addresses of it.
        scope = {**scope, "headers": [pair for pair in scope["headers"] if b"forwarded" not in pair[0].lower()]}
        try:
            await self.app(scope, body.receive, body.send)
        except _TooMuch:
            await body.refuse(scope)

    def _within(self, scope: Scope) -> Scope:
        """The request as the application knows it, without the prefix."""
        if not self.root_path or not scope["path"].startswith(f"{self.root_path}/"):
            return scope
        path = scope["path"].removeprefix(self.root_path)
        return {**scope, "path": path, "raw_path": scope["raw_path"].removeprefix(self.root_path.encode())}

    def _refusal(self, request: Request) -> Response | None:
        """Why a request goes no further, or where it goes instead."""
        path, method, headers = request.scope["path"], request.method, request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or (self.names is not None and _host_name(hosts[0]) not in self.names):
            return _said(421, path, "The server does not answer under this name; open the address that it printed.")
        if self.root_path and path == self.root_path:
            return RedirectResponse(f"{path}/", 308)  # addresses within the page are relative to it
        if not _KNOWN.fullmatch(path) or any(part in (".", "..") for part in path.split("/")) or "\\" in path:
            return _said(404, path, "There is nothing at this address.")
        origin = headers.get("origin", f"//{hosts[0]}")
        if method not in _SAFE_METHODS and urlsplit(origin).netloc not in (hosts[0], self.public_host):
            return _said(403, path, "Requests that another page makes are refused; use the server's own page.")
        if self.token is not None and path != HEALTH:
            if path == "/" and self._is_token(request.query_params.get("token")):
                return self._with_cookie(request)
            kind, _, bearer = headers.get("authorization", "").partition(" ")
            bearer = bearer.strip() if kind.lower() == "bearer" else ""
            if not self._is_token(bearer) and not self._is_token(request.cookies.get(COOKIE)):
                return _said(
                    401,
                    path,
                    "A token is needed; open the address that `echoes app` printed, or send it as a bearer token.",
                )
        if _promised(headers) > _limit(path):
            return _too_much(path)
        if path == UPLOAD and method == "POST" and not self.has_room():
            return _said(503, path, "The server holds as many uploads as it can; try again in an hour.")
        return None

    def _is_token(self, shown: str | None) -> bool:
        expected = (self.token or "").encode()
        return shown is not None and secrets.compare_digest(shown.encode(errors="surrogateescape"), expected)

    def _with_cookie(self, request: Request) -> Response:
        """To the page itself, so that the token is not left in the address; the settings are."""
        left = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "token"])
        answer = RedirectResponse(f"{self.root_path}/{'?' if left else ''}{left}", 303)
        secure = self.safe or request.url.scheme == "https"
        answer.set_cookie(COOKIE, self.token or "", httponly=True, samesite="lax", secure=secure)
        return answer


class _Body:
    """Counts what comes in; once it is too much, the application's answer is replaced.

    An answer waits until all has come in, and what nobody asked for is dropped: the server would end the connection
    while it is still written to, and a proxy then tells of its own failure instead of passing the answer on.
    """

    def __init__(self, limit: int, headers: Headers, receive: Receive, send: Send) -> None:
        self._left, self._receive, self._send = limit, receive, send
        self._started = False
        # Who asks whether to go on sends nothing before it is told to; of more than is dropped the end never comes.
        has_body = 0 < _promised(headers) <= MAX_DROPPED_BYTES or "transfer-encoding" in headers
        self._coming = has_body and "expect" not in headers

    async def receive(self) -> Message:
        message = await self._next()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _TooMuch
        return message

    async def send(self, message: Message) -> None:
        if self._left < 0 and not self._started:
            raise _TooMuch  # also if the application has made another error of it
        await self.answer(message)

    async def refuse(self, scope: Scope) -> None:
        if not self._started:
            await _too_much(scope["path"])(scope, self._receive, self.answer)

    async def answer(self, message: Message) -> None:
        if not self._started:
            self._started = True
            await self._drop()
        await self._send(message)

    async def _next(self) -> Message:
        message = await self._receive()
        self._coming = self._coming and bool(message.get("more_body"))
        return message

    async def _drop(self) -> None:
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DROPPED_SECONDS):
                while self._coming and dropped <= MAX_DROPPED_BYTES:
                    dropped += len((await self._next()).get("body", b""))


def _limit(path: str) -> int:
    return MAX_UPLOAD_BYTES if path == UPLOAD or path.startswith("/api/v1/") else MAX_MESSAGE_BYTES


def _promised(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else MAX_UPLOAD_BYTES + 1


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _said(status: int, path: str, sentence: str) -> Response:
    """A refusal: JSON for programs, plain text for people."""
    return (
        JSONResponse({"detail": sentence}, status) if path.startswith("/api/") else PlainTextResponse(sentence, status)
    )


def _too_much(path: str) -> Response:
    return _said(413, path, f"This is more than the {_limit(path) / 1024**2:g} MB that are taken; make it smaller.")


def _marked(send: Send) -> Send:
    """Send with the headers that tell a browser to stay on this server."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _ANSWER_HEADERS.items():
                headers[name] = value
            message = {**message, "headers": headers.raw}
        await send(message)

    return marked
