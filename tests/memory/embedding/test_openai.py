"""Against a real HTTP server on loopback that answers as each test tells it to."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aegis.config import Settings
from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.memory.embedding.openai import OpenAI
from tests.memory.endpoint import Endpoint, Reply, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.memory.embedding import Vectors

KEY = "sk-test-0123456789"
DIMENSIONS = 4


def vector_of(text: str, dimensions: int) -> list[float]:
    return [float(len(text) + 1), *(float(n) for n in range(1, dimensions))]


def honest(body: dict[str, Any], dimensions: int = DIMENSIONS) -> Reply:
    """Answer as OpenAI does, last text first to see that the index counts."""
    rows: list[dict[str, Any]] = []
    for index, text in enumerate(body["input"]):
        vector = vector_of(text, dimensions)
        packed = base64.b64encode(np.array(vector, "<f4").tobytes()).decode()
        embedding = packed if body["encoding_format"] == "base64" else vector
        rows.append({"object": "embedding", "index": index, "embedding": embedding})
    return Reply(body=json.dumps({"data": rows[::-1]}).encode())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=honest)) as running:
        yield running


def settings(url: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "embedder": "openai",
        "embedding_url": url,
        "embedding_api_key": KEY,
        "embedding_model": "test-model",
        "embedding_dimensions": DIMENSIONS,
        "embedding_timeout_s": 5.0,
    }
    return Settings(**(values | changes))


def embed(endpoint: Endpoint, texts: list[str], **changes: Any) -> Vectors:
    async def once() -> Vectors:
        embedder = OpenAI(settings(endpoint.url, **changes), first_delay_s=0.001)
        try:
            return await embedder.embed(texts)
        finally:
            await embedder.aclose()

    return asyncio.run(once())


def refused(endpoint: Endpoint, kind: type[AegisError], **changes: Any) -> AegisError:
    with pytest.raises(kind) as caught:
        embed(endpoint, ["text"], **changes)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def expected(texts: list[str]) -> Vectors:
    rows = np.array([vector_of(text, DIMENSIONS) for text in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_texts_come_back_as_unit_vectors_in_order(endpoint: Endpoint) -> None:
    texts = ["a", "bbb", "cccccc", "a"]
    assert embed(endpoint, texts) == pytest.approx(expected(texts), abs=1e-6)
    (asked,) = endpoint.asked
    assert asked == {
        "model": "test-model",
        "input": ["a", "bbb", "cccccc"],
        "encoding_format": "base64",
    }
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert endpoint.headers[0]["path"] == "/v1/embeddings"


def test_no_texts_ask_nothing(endpoint: Endpoint) -> None:
    assert embed(endpoint, []).shape == (0, DIMENSIONS)
    assert endpoint.asked == []


def test_many_texts_are_split_into_batches(endpoint: Endpoint) -> None:
    texts = ["x" * n for n in range(1, 301)]
    assert embed(endpoint, texts) == pytest.approx(expected(texts), abs=1e-6)
    assert sorted(len(asked["input"]) for asked in endpoint.asked) == [44, 128, 128]


def test_long_texts_are_cut_and_split_by_size(endpoint: Endpoint) -> None:
    embed(endpoint, [f"{n}" + "x" * 100_000 for n in range(10)])
    assert sorted(len(asked["input"]) for asked in endpoint.asked) == [2, 8]
    assert max(len(text) for asked in endpoint.asked for text in asked["input"]) == 24_000


def test_empty_text_is_sent_as_a_space(endpoint: Endpoint) -> None:
    assert embed(endpoint, [""]).shape == (1, DIMENSIONS)
    assert endpoint.asked[0]["input"] == [" "]


def test_without_a_key_no_authorization_is_sent(endpoint: Endpoint) -> None:
    embed(endpoint, ["text"], embedding_api_key=None)
    assert "Authorization" not in endpoint.headers[0]


def test_a_server_that_ignores_base64_is_understood(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: honest(body | {"encoding_format": "float"})
    assert embed(endpoint, ["text"]) == pytest.approx(expected(["text"]), abs=1e-6)


def test_a_server_that_refuses_base64_is_asked_for_numbers(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: (
        honest(body) if body["encoding_format"] == "float" else Reply(status=422)
    )
    assert embed(endpoint, ["text"]) == pytest.approx(expected(["text"]), abs=1e-6)


def test_a_model_that_can_be_shortened_is_asked_to(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: honest(body, body.get("dimensions", 16))
    assert embed(endpoint, ["text"]) == pytest.approx(expected(["text"]), abs=1e-6)
    assert [asked.get("dimensions") for asked in endpoint.asked] == [None, DIMENSIONS]


@pytest.mark.parametrize("dimensions", [3, 16])
def test_wrong_dimensions_are_a_config_error(endpoint: Endpoint, dimensions: int) -> None:
    endpoint.answer = lambda body: honest(body, dimensions)
    error = refused(endpoint, ConfigError)
    assert error.code == "embedder_dimensions"
    assert f"set it to {dimensions}" in str(error)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_trouble_is_tried_again(endpoint: Endpoint, status: int) -> None:
    endpoint.first = [Reply(status=status), Reply(status=status)]
    assert embed(endpoint, ["text"]) == pytest.approx(expected(["text"]), abs=1e-6)
    assert len(endpoint.asked) == 3


def test_a_dropped_connection_is_tried_again(endpoint: Endpoint) -> None:
    endpoint.first = [Reply(hang_up=True), Reply(hang_up=True)]
    assert embed(endpoint, ["text"]).shape == (1, DIMENSIONS)


def test_trouble_that_stays_is_unavailable_after_five_attempts(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Reply(status=503)
    error = refused(endpoint, Unavailable)
    assert error.code == "embedder_unavailable"
    assert "HTTP 503" in str(error)
    assert len(endpoint.asked) == 5


def test_retry_after_is_waited_for(endpoint: Endpoint) -> None:
    endpoint.first = [Reply(status=429, headers={"Retry-After": "0.2"})]
    started = datetime.now(UTC)
    embed(endpoint, ["text"])
    assert datetime.now(UTC) - started >= timedelta(seconds=0.2)


def test_a_retry_after_date_that_has_passed_is_retried_at_once(endpoint: Endpoint) -> None:
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    endpoint.first = [Reply(status=503, headers={"Retry-After": past})]
    assert embed(endpoint, ["text"]).shape == (1, DIMENSIONS)


def test_a_retry_after_beyond_the_time_out_fails_at_once(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Reply(status=429, headers={"Retry-After": "3600"})
    error = refused(endpoint, Unavailable)
    assert "wait 3600 s" in str(error)
    assert len(endpoint.asked) == 1


def test_a_silent_server_is_given_up_at_the_time_out(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Reply(stall=True)
    started = datetime.now(UTC)
    error = refused(endpoint, Unavailable, embedding_timeout_s=0.3)
    assert error.code == "embedder_unavailable"
    assert datetime.now(UTC) - started < timedelta(seconds=3)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with serving(Endpoint(url="", answer=honest)) as stopped:
        pass
    assert refused(stopped, Unavailable).code == "embedder_unavailable"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "embedder_key"),
        (403, "embedder_key"),
        (404, "embedder_model"),
        (302, "embedder_model"),
    ],
)
def test_a_refusal_that_stays_is_a_config_error_at_once(
    endpoint: Endpoint, status: int, code: str
) -> None:
    echo = json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}}).encode()
    endpoint.answer = lambda body: Reply(status=status, body=echo)
    assert refused(endpoint, ConfigError).code == code
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("padding", ["", "x" * 195])
def test_the_servers_reason_is_told_without_the_key(endpoint: Endpoint, padding: str) -> None:
    reason = json.dumps({"error": {"message": f"too long\n{padding}{KEY}"}}).encode()
    endpoint.answer = lambda body: Reply(status=400, body=reason)
    error = refused(endpoint, Unavailable)
    assert "too long" in str(error)
    assert KEY[:4] not in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"data": []}',
        b'{"data": {}}',
        b'{"data": [{"index": 1, "embedding": [1, 2, 3, 4]}]}',
        b'{"data": [{"index": 0, "embedding": null}]}',
        b'{"data": [{"index": 0, "embedding": ["a", 2, 3, 4]}]}',
        b'{"data": [{"index": 0, "embedding": [[1], [2]]}]}',
        b'{"data": [{"index": 0, "embedding": "!!!"}]}',
        b'{"data": [{"index": 0, "embedding": "AAAA"}]}',
        b'{"data": [{"index": 0, "embedding": [0, 0, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN, 0, 0, 1]}]}',
        b'{"data": [{"index": 0, "embedding": [Infinity, 0, 0, 1]}]}',
        b'{"data": [{"index": 0, "embedding": [1e300, 0, 0, 1]}]}',
        b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b", 0, 0, 1]}]}",
    ],
)
def test_an_answer_without_usable_vectors_is_unavailable(endpoint: Endpoint, body: bytes) -> None:
    endpoint.answer = lambda _: Reply(body=body)
    assert refused(endpoint, Unavailable).code == "embedder_unavailable"


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "clé"])
def test_a_key_that_cannot_be_sent_is_a_config_error(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAI(settings("http://localhost", embedding_api_key=key))
    assert caught.value.code == "embedder_key"
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "api.openai.com", "ftp://x", "http://", "http://h:port/", "http://[x"]
)
def test_a_url_that_is_none_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAI(settings(url))
    assert caught.value.code == "embedder_url"


def test_a_password_in_the_url_is_in_no_message(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: Reply(status=503)
    endpoint.url = endpoint.url.replace("http://", "http://user:hunter2@")
    assert "hunter2" not in str(refused(endpoint, Unavailable))


def test_calls_at_the_same_time_do_not_mix(endpoint: Endpoint) -> None:
    texts = ["x" * n for n in range(1, 41)]

    async def all_at_once() -> list[Vectors]:
        embedder = OpenAI(settings(endpoint.url))
        try:
            return await asyncio.gather(*(embedder.embed([text]) for text in texts))
        finally:
            await embedder.aclose()

    assert np.concatenate(asyncio.run(all_at_once())) == pytest.approx(expected(texts), abs=1e-6)
