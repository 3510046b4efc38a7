"""Who may ask for what: names, tokens, other pages, sizes, addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from app.conftest import ADDRESS, TOKEN, png
from visual_echoes.app import gate
from visual_echoes.app import server as server_module
from visual_echoes.app.api import API, create_api
from visual_echoes.app.gate import COOKIE, LOOPBACK_NAMES, Gate
from visual_echoes.app.service import Service

PAIR = f"{API}/jobs/pair"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("[::1]:7860", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.1@evil.example", 421),
        ("[bad", 421),
        ("", 421),
    ],
)
def test_a_local_server_answers_to_its_own_names_only(client: TestClient, host: str, status: int) -> None:
    assert client.get(f"{API}/models", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 202),
        ("http://127.0.0.1:7860", 202),
        ("http://evil.example", 403),
        ("http://127.0.0.1:8000", 403),
        ("null", 403),
    ],
)
def test_other_pages_give_no_orders(client: TestClient, origin: str | None, status: int) -> None:
    answer = client.post(PAIR, headers={} if origin is None else {"origin": origin})
    assert answer.status_code == status


NEEDLESS = (
    "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/file=http://example.com/", "/gradio_api/run/predict",
    "/gradio_api/call/x", "/gradio_api/component_server", "/gradio_api/vibe-code/", "/monitoring", "/docs",
    "/gradio_api/deep_link", "/gradio_api/openapi.json", "/login", "/custom_component/1/client/x/y",
    f"{API}/../../etc/passwd", f"{API}/jobs\\..", "/gradio_api/file=/../etc/passwd",
)  # fmt: skip


def test_addresses_that_nobody_needs_are_not_there(page: TestClient) -> None:
    for path in NEEDLESS:
        assert page.get(path).status_code == 404, path


def test_a_token_is_asked_for(remote: TestClient) -> None:
    answer = remote.get(f"{API}/models")
    assert answer.status_code == 401
    assert (
        answer.json()["detail"]
        == "A token is needed; open the address that `echoes app` printed, or send it as a bearer token."
    )
    assert remote.post(PAIR).status_code == 401
    assert remote.get("/metrics").status_code == 401
    assert remote.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"bearer {TOKEN}"}, 200),
        ({"authorization": TOKEN}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer \udcff".encode("utf-8", "surrogateescape")}, 401),
        ({"cookie": f'{COOKIE}="{TOKEN}"'}, 200),
        ({"cookie": f"{COOKIE}=wrong"}, 401),
        ({"cookie": "=;;;"}, 401),
    ],
)
def test_the_token_is_compared(remote: TestClient, headers: dict[str, str | bytes], status: int) -> None:
    assert remote.get(f"{API}/models", headers=headers).status_code == status  # type: ignore[arg-type]


def test_the_token_in_the_address_becomes_a_cookie(remote: TestClient) -> None:
    answer = remote.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert remote.get(f"{API}/models").status_code == 200


def test_the_token_in_the_address_of_anything_else_is_nothing(remote: TestClient) -> None:
    assert remote.get(f"{API}/models", params={"token": TOKEN}).status_code == 401
    assert remote.get("/", params={"token": "wrong"}).status_code == 401


def test_a_promised_length_beyond_the_limit_is_refused_unread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAX_UPLOAD_BYTES", 1000)
    answer = client.post(f"{API}/jobs/sound", files={"image": ("a.png", png())})
    assert answer.status_code == 413
    assert "make it smaller" in answer.json()["detail"]


@pytest.mark.parametrize("headers", [{}, {"content-length": "10"}, {"content-length": "-1"}, {"content-length": "x"}])
def test_a_body_longer_than_promised_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(gate, "MAX_UPLOAD_BYTES", 2000)

    def body() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(10):
            yield b"0" * 1000

    headers = {"content-type": "multipart/form-data; boundary=x", **headers}
    assert client.post(f"{API}/jobs/sound", content=body(), headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("path", "headers", "taken"),
    [
        (f"{API}/nothing", {"content-length": "50"}, 5),
        ("/nothing", {"content-length": "50"}, 5),
        ("/nothing", {"transfer-encoding": "chunked"}, 5),
        (f"{API}/models", {"content-length": "50", "host": "evil.example"}, 5),
        (f"{API}/nothing", {"content-length": "50", "expect": "100-continue"}, 0),
        ("/nothing", {}, 0),
    ],
)
def test_a_refusal_waits_for_what_is_still_sent(
    service: Service, path: str, headers: dict[str, str], taken: int
) -> None:
    """Else the connection ends while a proxy still writes to it, and the visitor gets the proxy's own failure."""
    served = Gate(create_api(service), names=LOOPBACK_NAMES, token=None, has_room=lambda: True)
    waiting, answers = [10] * 5, list[tuple[Message, int]]()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"0" * waiting.pop(), "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        answers.append((message, 5 - len(waiting)))

    named = {"host": "127.0.0.1", **headers}
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }  # fmt: skip
    asyncio.run(served(scope, receive, send))
    assert answers[0][0]["status"] in (404, 421)
    assert answers[0][1] == taken


def test_no_more_than_a_bound_is_waited_for(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Gate(create_api(service), names=None, token=None, has_room=lambda: True)
    monkeypatch.setattr(gate, "MAX_DROPPED_BYTES", 1000)
    monkeypatch.setattr(gate, "DROPPED_SECONDS", 0.1)
    scope = {
        "type": "http", "method": "POST", "path": "/nothing", "raw_path": b"/nothing", "query_string": b"",
        "headers": [(b"host", b"x"), (b"content-length", b"99")],
    }  # fmt: skip

    async def endless() -> Message:
        return {"type": "http.request", "body": b"0" * 100, "more_body": True}

    async def never() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    for receive in (endless, never):
        answers: list[Message] = []

        async def send(message: Message, answers: list[Message] = answers) -> None:
            answers.append(message)

        asyncio.run(served(scope, receive, send))
        assert answers[0]["status"] == 404


def test_uploads_stop_when_the_disk_holds_enough(
    page: TestClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_STORED_BYTES", 1000)
    (uploads / "waiting").mkdir()
    (uploads / "waiting" / "a.png").write_bytes(b"0" * 1000)
    answer = page.post("/gradio_api/upload", files={"files": ("b.png", b"0")})
    assert (answer.status_code, "as many uploads as it can" in answer.text) == (503, True)


def test_what_a_proxy_would_say_is_not_believed(page: TestClient) -> None:
    headers = {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https", "forwarded": "host=evil.example"}
    assert "evil.example" not in page.get("/config", headers=headers).text


def test_browsers_are_told_to_stay_here(client: TestClient) -> None:
    for path in (f"{API}/models", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.parametrize("path", [f"/below/here{API}/models", f"{API}/models"])
def test_a_proxy_may_hand_its_prefix_on_or_leave_it_out(service: Service, path: str) -> None:
    inner = create_api(service, "/below/here")
    gate = Gate(inner, names=LOOPBACK_NAMES, token=None, has_room=lambda: True, root_path="/below/here")
    with TestClient(gate, base_url=ADDRESS) as client:
        assert client.get(path).json() == {"models": ["tiny", "other"]}
        assert client.get(f"/below/here{path}x").status_code == 404
        assert client.get("/below/here", follow_redirects=False).headers["location"] == "/below/here/"
        made = client.post(path.replace("models", "jobs/pair"), data={"steps": 1})
        assert made.headers["location"] == f"/below/here{API}/jobs/{made.json()['id']}"
        assert client.get(f"{API}/openapi.json").json()["servers"] == [{"url": "/below/here"}]


def test_the_token_leaves_the_address_and_settings_stay(service: Service) -> None:
    gate = Gate(create_api(service), names=None, token=TOKEN, has_room=lambda: True, root_path="/below")
    with TestClient(gate, base_url="http://echoes.example") as client:
        answer = client.get("/", params={"token": TOKEN, "seed": "7", "tab": "pair"}, follow_redirects=False)
        assert answer.headers["location"] == "/below/?seed=7&tab=pair"
        assert COOKIE in answer.cookies


def test_a_whole_address_says_the_name_and_that_it_is_safe(service: Service, tmp_path: Path) -> None:
    home = "https://echoes.example/below"
    inner = server_module.create_app(service, tmp_path, TOKEN, LOOPBACK_NAMES, home)
    for name in ("echoes.example", "127.0.0.1:7860"):  # whether the proxy hands the name on, or not
        with TestClient(inner, base_url=f"http://{name}") as client:
            shown = client.get("/", params={"token": TOKEN}, follow_redirects=False)
            assert shown.headers["location"] == "/below/"
            assert "; Secure" in shown.headers["set-cookie"]
            headers = {"authorization": f"Bearer {TOKEN}"}
            assert client.get("/config", headers=headers).json()["root"] == home
            made = client.post(PAIR, headers={**headers, "origin": "https://echoes.example"}, data={"steps": 1})
            assert made.headers["location"] == f"{home}{API}/jobs/{made.json()['id']}"
            assert client.post(PAIR, headers={**headers, "origin": "null"}).status_code == 403
