"""What every request passes first: host, token and size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.api.bodies import BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

RECALL = "/v1/memory/recall"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic aegis_op_", "Bearer \xff\xfe"]
)
async def test_request_without_the_token_is_refused(
    http: httpx2.AsyncClient, header: str | None
) -> None:
    del http.headers["Authorization"]
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    response = await http.post(RECALL, json={"query": "x"}, headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
async def test_health_and_description_need_no_token(http: httpx2.AsyncClient, path: str) -> None:
    del http.headers["Authorization"]
    assert (await http.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/docs", "/redoc", "/v1/memory/episodes/"])
async def test_unknown_address_is_refused_without_a_token_and_not_found_with_one(
    http: httpx2.AsyncClient, path: str
) -> None:
    found = await http.get(path)
    assert (found.status_code, found.json()["code"]) == (404, "not_found")
    del http.headers["Authorization"]
    assert (await http.get(path)).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8734", "127.0.0.1.evil.example", ""]
)
async def test_name_that_was_rebound_to_this_host_is_refused(
    http: httpx2.AsyncClient, host: str
) -> None:
    response = await http.get("/healthz", headers={"Host": host})
    assert (response.status_code, response.json()["code"]) == (421, "host_refused")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:1", "localhost:8734", "LOCALHOST", "[::1]:8734", "::1"]
)
async def test_address_of_this_host_is_answered(http: httpx2.AsyncClient, host: str) -> None:
    assert (await http.get("/healthz", headers={"Host": host})).status_code == 200


async def test_other_origins_are_granted_nothing(http: httpx2.AsyncClient) -> None:
    response = await http.get("/healthz", headers={"Origin": "https://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_body_that_says_it_is_too_large_is_refused_unread(http: httpx2.AsyncClient) -> None:
    body = b'{"query": "' + b"x" * BODY_BYTES + b'"}'
    response = await http.post(RECALL, content=body)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_body_that_grows_too_large_is_refused(http: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES // 2**16 + 1):
            yield b" " * 2**16

    response = await http.post(RECALL, content=chunks())
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_body_without_a_declared_length_is_read(http: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"query": '
        yield b'"x"}'

    response = await http.post(
        RECALL, content=chunks(), headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()) == (200, {"results": [], "warnings": []})


async def test_batch_may_be_larger_than_one_episode(http: httpx2.AsyncClient) -> None:
    episodes = [{"event_type": "note", "summary": "y" * 900_000} for _ in range(6)]
    response = await http.post("/v1/memory/episodes/batch", json={"episodes": episodes})
    assert response.status_code == 201
    assert len(response.json()["ids"]) == 6
