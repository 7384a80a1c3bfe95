"""What is refused before any key is looked at, and what every answer says."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from aegis.api import bodies
from aegis.api.app import create_app, create_routes
from aegis.api.bodies import Bodies, is_too_deep
from aegis.api.peer import Peers
from aegis.api.safety import SAFE
from aegis.api.timing import LONG, STREAMS, length_of
from aegis.client import Aegis
from aegis.config import load_settings
from aegis.errors import ConfigError
from aegis.request import REQUEST_ID
from aegis.wire.log import Lines
from tests.api.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.config import Settings
    from aegis.db import Database

FAR = "198.51.100.7"


@asynccontextmanager
async def asked(
    db: Database, settings: Settings, *, address: str = FAR, token: str = TOKEN, **changed: Any
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Yield a client at `address`."""
    client = Aegis(db, None, replace(settings, embedder="none", **changed))
    app = create_app(client, token=TOKEN)
    async with _from(app, address, token) as http:
        yield http


def _from(app: Any, address: str, token: str = TOKEN) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app, client=(address, 1)),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {token}"},
    )


class Broken:
    """A database that nobody is to ask."""

    def __init__(self) -> None:
        self.asked = 0

    def transaction(self) -> Any:
        self.asked += 1
        raise AssertionError("The database was asked.")

    connection = dedicated = transaction


async def test_address_that_asks_too_fast_waits_and_asks_no_database(
    db: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="aegis.api")
    client = Aegis(
        db,
        None,
        replace(settings, embedder="none", http_rate_per_s=0.01, http_rate_burst=3),
    )
    app = create_app(client, token=TOKEN)
    key = (await client.keys.issue("acme", scopes=["*"])).key
    async with _from(app, FAR, key) as http:
        assert [(await http.get("/v1/memory/episodes")).status_code for _ in range(3)] == [200] * 3
        broken: Any = Broken()
        client.keys._verifier._db = broken
        for _ in range(5):
            refused = await http.get("/v1/memory/episodes")
            assert (refused.status_code, refused.json()["code"]) == (429, "address_limited")
            assert 1 <= int(refused.headers["retry-after"]) <= 100
        assert broken.asked == 0
    async with _from(app, "198.51.100.8") as other:
        assert (await other.get("/v1/memory/episodes")).status_code == 200
    # One line for all of them: who floods does not fill the log, too.
    assert [r.msg for r in caplog.records].count("api.too_fast") == 1


async def test_this_machine_is_exempt_unless_a_setting_says_otherwise(
    db: Database, settings: Settings
) -> None:
    slow: Any = {"http_rate_per_s": 0.01, "http_rate_burst": 1, "address": "127.0.0.1"}
    async with asked(db, settings, **slow) as http:
        assert {(await http.get("/healthz")).status_code for _ in range(5)} == {200}
    async with asked(db, settings, http_limit_loopback="on", **slow) as http:
        assert [(await http.get("/healthz")).status_code for _ in range(2)] == [200, 429]


async def test_guesses_are_refused_before_they_are_looked_at(
    db: Database, settings: Settings
) -> None:
    client = Aegis(db, None, replace(settings, embedder="none", http_failures_per_minute=3))
    app = create_app(client, token=TOKEN)
    key = (await client.keys.issue("acme", scopes=["*"])).key
    async with _from(app, FAR, key) as http:
        assert (await http.get("/v1/memory/episodes")).status_code == 200
        other = "y" if key[-1] == "x" else "x"
        for guess in ("wrong", key[:-1] + other, "aegis_op_" + "x" * 43):
            refused = await http.get(
                "/v1/memory/episodes", headers={"Authorization": f"Bearer {guess}"}
            )
            assert refused.status_code == 401
        # The operator token is right, and not looked at: it could be the next guess.
        for guess in (TOKEN, "wrong"):
            refused = await http.get(
                "/v1/memory/episodes", headers={"Authorization": f"Bearer {guess}"}
            )
            assert (refused.status_code, refused.json()["code"]) == (429, "guesses_limited")
            assert 1 <= int(refused.headers["retry-after"]) <= 20
        # Who shares the address with the one who guesses goes on.
        assert (await http.get("/v1/memory/episodes")).status_code == 200
        # No key at all is no guess.
        assert (await http.get("/healthz")).status_code == 200
    async with _from(app, "198.51.100.8") as http:
        assert (await http.get("/v1/memory/episodes")).status_code == 200


async def test_right_key_that_may_not_do_something_is_no_guess(
    db: Database, settings: Settings
) -> None:
    client = Aegis(db, None, replace(settings, embedder="none", http_failures_per_minute=2))
    key = (await client.keys.issue("acme", scopes=["memory:read"])).key
    async with _from(create_app(client, token=TOKEN), FAR, key) as http:
        for _ in range(5):
            assert (await http.get("/v1/keys")).status_code == 403
        assert (await http.get("/v1/memory/episodes")).status_code == 200


async def test_malformed_key_asks_no_database(db: Database, settings: Settings) -> None:
    client = Aegis(db, None, replace(settings, embedder="none", http_failures_per_minute=0))
    key = (await client.keys.issue("acme", scopes=["*"])).key
    async with _from(create_app(client, token=TOKEN), FAR, key) as http:
        # The process learns once a minute that no keys of another form are about.
        bad = {"Authorization": f"Bearer {key[:-1]}"}
        assert (await http.get("/v1/memory/episodes", headers=bad)).status_code == 401
        broken: Any = Broken()
        client.keys._verifier._db = broken
        for guess in (key[:-1], key + "x", "aegis_live_", "x" * 600, "a\xffb"):
            headers = [(b"Authorization", b"Bearer " + guess.encode("latin-1"))]
            answer = await http.get("/v1/memory/episodes", headers=headers)
            assert answer.status_code == 401
        assert broken.asked == 0


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/healthz", {}, 200),
        ("GET", "/openapi.json", {}, 200),
        ("GET", "/nothing", {}, 404),
        ("GET", "/v1/memory/episodes/999999", {}, 404),
        ("PATCH", "/healthz", {}, 405),
        ("POST", "/v1/memory/recall", {}, 422),
        ("GET", "/v1/status", {"Authorization": "Bearer wrong"}, 401),
        ("GET", "/healthz", {"Host": "evil.example"}, 421),
        ("GET", "/healthz?" + "a" * 9_000, {}, 414),
        ("OPTIONS", "/v1/status", {"Origin": "https://evil.example"}, 405),
    ],
)
async def test_every_answer_has_an_id_and_the_headers_that_keep_it_safe(
    http: httpx2.AsyncClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await http.request(method, path, headers=headers)
    assert answer.status_code == status
    for name, value in SAFE:
        assert answer.headers.get_list(name.decode()) == [value.decode()]
    assert len(answer.headers["x-request-id"]) == 32
    assert not [n for n in answer.headers if n.startswith(("access-control", "server", "strict"))]
    if status >= 400:
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_request_id_of_the_caller_is_kept_where_it_is_harmless(
    http: httpx2.AsyncClient,
) -> None:
    kept = "4f1c-trace.7_A"
    answer = await http.get("/healthz", headers={"X-Request-Id": kept})
    assert answer.headers["x-request-id"] == kept
    for bad in (
        "",
        "short",
        "a" * 65,
        "with blank inside",
        "quote\"'quote",
        "-leading-dash",
        "é" * 9,
    ):
        given = [(b"X-Request-Id", bad.encode("latin-1"))]
        made = (await http.get("/healthz", headers=given)).headers["x-request-id"]
        assert made != bad and len(made) == 32


async def test_log_lines_of_a_request_carry_its_id(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(Lines().format(record))

    handler = Keep()
    logging.getLogger("aegis.api").addHandler(handler)
    try:
        given = {"Host": "evil.example", "X-Request-Id": "trace-0001"}
        assert (await http.get("/healthz", headers=given)).status_code == 421
    finally:
        logging.getLogger("aegis.api").removeHandler(handler)
    (line,) = lines
    assert line.endswith("api.host_refused host=evil.example request=trace-0001")
    assert REQUEST_ID.get() is None


async def test_pages_of_other_origins_read_answers_only_where_the_settings_say_so(
    db: Database, settings: Settings
) -> None:
    origin = "https://app.example.com"
    asking = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with asked(db, settings, http_cors_origins=f"{origin}, https://b.example") as http:
        answer = await http.get("/v1/status", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
        del http.headers["Authorization"]
        allowed = await http.request("OPTIONS", "/v1/status", headers=asking)
        assert (allowed.status_code, allowed.content) == (204, b"")
        assert "Authorization" in allowed.headers["access-control-allow-headers"]
        for other in ("https://evil.example", "https://app.example.com.evil.example", "null"):
            found = await http.request("OPTIONS", "/v1/status", headers=asking | {"Origin": other})
            assert found.status_code == 401
            assert "access-control-allow-origin" not in found.headers


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain;charset=utf-8"])
async def test_forms_of_pages_are_not_read(http: httpx2.AsyncClient, kind: str) -> None:
    answer = await http.post("/v1/memory/recall", content=b"{}", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type")


async def test_bodies_of_all_requests_have_one_bound() -> None:
    held = Bodies(30.0, all_bytes=100)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * 60, "more_body": False}

    first = await held.read(receive, 1_000)
    assert first == b"x" * 60
    second: Any = await held.read(receive, 1_000)
    assert (second.status_code, second.headers["retry-after"]) == (503, "1")
    held.release(60)
    assert await held.read(receive, 1_000) == b"x" * 60


def test_depth_is_measured_without_recursion_and_not_in_texts() -> None:
    def nested(depth: int) -> bytes:
        return json.dumps(_nest(depth)).encode()

    assert not is_too_deep(nested(bodies.DEPTH))
    assert is_too_deep(nested(bodies.DEPTH + 1))
    assert is_too_deep(b"[" * 4_000_000)
    assert is_too_deep(b'{"a":' * 100 + b"1" + b"}" * 100)
    assert not is_too_deep(json.dumps([{"a": [1, {"b": 2}]}] * 10_000).encode())
    text = "[{" * 500 + '\\" [[ \\\\'
    assert not is_too_deep(json.dumps({"a": text, text: [text]}).encode())
    assert is_too_deep(json.dumps({text: _nest(bodies.DEPTH)}).encode())


def _nest(depth: int) -> Any:
    value: Any = []
    for number in range(depth - 1):
        value = [value] if number % 2 else {"k": value}
    return value


@pytest.mark.parametrize(
    ("networks", "forwarded", "found"),
    [
        (None, ["203.0.113.1"], "10.0.0.9"),
        ("192.0.2.0/24", ["203.0.113.1"], "10.0.0.9"),
        ("10.0.0.0/8", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.0/8", ["1.1.1.1, 203.0.113.1"], "203.0.113.1"),
        ("10.0.0.0/8", ["203.0.113.1, 10.0.0.3"], "203.0.113.1"),
        ("10.0.0.0/8", ["203.0.113.1", "10.0.0.3"], "203.0.113.1"),
        ("10.0.0.0/8", ["203.0.113.1:4711"], "203.0.113.1"),
        ("10.0.0.0/8", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.0/8", ["203.0.113.1, unknown"], "10.0.0.9"),
        ("10.0.0.0/8", [], "10.0.0.9"),
        ("10.0.0.0/8, ::1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
    ],
)
def test_address_behind_proxies_is_the_first_that_is_none_of_ours(
    networks: str | None, forwarded: list[str], found: str
) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    scope = {
        "client": ("10.0.0.9", 5),
        "scheme": "http",
        "headers": [*headers, (b"x-forwarded-proto", b"https")],
    }
    assert Peers(networks).resolve(scope) == found
    assert scope["client"][0] == found
    assert scope["scheme"] == ("https" if networks and networks.startswith("10.") else "http")


async def test_rate_is_of_the_client_behind_a_trusted_proxy_alone(
    db: Database, settings: Settings
) -> None:
    slow: Any = {"http_rate_per_s": 0.01, "http_rate_burst": 1}
    async with asked(
        db, settings, address="127.0.0.1", http_trusted_proxies="127.0.0.1", **slow
    ) as http:
        for client, status in (("203.0.113.1", 200), ("203.0.113.1", 429), ("203.0.113.2", 200)):
            answer = await http.get("/healthz", headers={"X-Forwarded-For": client})
            assert answer.status_code == status
    # Who is no proxy of ours cannot be somebody else each time.
    async with asked(db, settings, **slow) as http:
        found = [
            (await http.get("/healthz", headers={"X-Forwarded-For": f"203.0.113.{n}"})).status_code
            for n in range(3)
        ]
        assert found == [200, 429, 429]


def test_every_listed_route_exists() -> None:
    paths = create_routes().openapi()["paths"]
    known = {(m.upper(), path) for path, methods in paths.items() for m in methods}
    assert (LONG | STREAMS) - {("POST", "/mcp")} <= known
    assert length_of("POST", "/v1/backups") == length_of("POST", "/mcp/") == "long"
    assert length_of("GET", "/v1/executions/abc/watch") == "stream"
    for method, path in (("GET", "/v1/backups"), ("GET", "/v1/executions/a/b/watch"), ("GET", "/")):
        assert length_of(method, path) == "short"


@pytest.mark.parametrize(
    "given",
    [
        {"AEGIS_HTTP_RATE_PER_S": "-1"},
        {"AEGIS_HTTP_RATE_BURST": "0"},
        {"AEGIS_HTTP_MAX_REQUESTS": "0"},
        {"AEGIS_HTTP_REQUEST_TIMEOUT_S": "nan"},
        {"AEGIS_HTTP_TRUSTED_PROXIES": "10.0.0.1/8"},
        {"AEGIS_HTTP_TRUSTED_PROXIES": "proxy"},
        {"AEGIS_HTTP_CORS_ORIGINS": "*"},
        {"AEGIS_HTTP_CORS_ORIGINS": "https://a.example/path"},
        {"AEGIS_TLS_KEY": "/key.pem"},
    ],
)
def test_settings_out_of_range_name_the_variable(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given))):
        load_settings(given)
