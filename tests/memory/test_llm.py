"""The language model's client, against a real HTTP server that answers as each test tells it to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import Settings, load_settings
from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.memory.llm import ChatModel, open_language_model, read_object
from tests.memory.embedding.test_openai import Endpoint, Reply, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-llm-0123456789"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def said(text: Any) -> Reply:
    return Reply(body=json.dumps({"choices": [{"message": {"content": text}}]}).encode())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=lambda _: said('{"a": 1}'))) as running:
        yield running


def settings(url: str, **changes: Any) -> Settings:
    given_: dict[str, Any] = {"llm_url": url, "llm_model": "m", "llm_api_key": KEY, **changes}
    return load_settings({}, **given_)


def model(endpoint: Endpoint, **changes: Any) -> ChatModel:
    return ChatModel(settings(endpoint.url, **changes), first_delay_s=0.001)


def test_without_a_url_there_is_no_model() -> None:
    assert open_language_model(load_settings({})) is None


async def test_question_schema_model_and_key_are_sent(endpoint: Endpoint) -> None:
    asking = model(endpoint)
    assert await asking.complete("be brief", "what is a?", json_schema=SCHEMA) == '{"a": 1}'
    await asking.aclose()
    (body,) = endpoint.asked
    assert [m["content"] for m in body["messages"]] == ["be brief", "what is a?"]
    assert body["model"] == "m"
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert endpoint.headers[0]["path"] == "/v1/chat/completions"


async def test_an_endpoint_without_schemas_is_asked_for_an_object(endpoint: Endpoint) -> None:
    endpoint.first.append(Reply(status=400))
    asking = model(endpoint)
    for _ in range(2):
        assert await asking.complete("s", "u", json_schema=SCHEMA) == '{"a": 1}'
    await asking.aclose()
    formats = [body["response_format"]["type"] for body in endpoint.asked]
    assert formats == ["json_schema", "json_object", "json_object"]
    assert json.dumps(SCHEMA) in endpoint.asked[1]["messages"][0]["content"]


async def test_what_passes_is_tried_again(endpoint: Endpoint) -> None:
    endpoint.first += [
        Reply(status=429, headers={"Retry-After": "0"}),
        Reply(hang_up=True),
        Reply(status=503),
    ]
    asking = model(endpoint)
    assert await asking.complete("s", "u", json_schema=None) == '{"a": 1}'
    await asking.aclose()
    assert len(endpoint.asked) == 4


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(status=401), ConfigError, "llm_key"),
        (Reply(status=404), ConfigError, "llm_model"),
        (Reply(status=418, body=json.dumps({"error": {"message": KEY}}).encode()), Unavailable,
         "llm_unavailable"),
        (Reply(body=b"<html>"), Unavailable, "llm_unavailable"),
        (Reply(body=b'{"choices": []}'), Unavailable, "llm_unavailable"),
        (said(None), Unavailable, "llm_unavailable"),
        (said(" "), Unavailable, "llm_unavailable"),
        (Reply(body=b"x" * (5 * 2**20)), Unavailable, "llm_unavailable"),
    ],
)  # fmt: skip
async def test_what_cannot_be_used_is_one_line_without_the_key(
    endpoint: Endpoint, reply: Reply, kind: type[AegisError], code: str
) -> None:
    endpoint.first.append(reply)
    asking = model(endpoint)
    with pytest.raises(kind) as caught:
        await asking.complete("s", "u", json_schema=None)
    await asking.aclose()
    assert caught.value.code == code
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_silence_ends_at_the_time_out(endpoint: Endpoint) -> None:
    endpoint.first.append(Reply(stall=True))
    asking = model(endpoint, llm_timeout_s=0.2)
    with pytest.raises(Unavailable, match=r"within 0\.2 s"):
        await asking.complete("s", "u", json_schema=None)
    await asking.aclose()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"llm_url": "ftp://x"}, "llm_url"),
        ({"llm_api_key": "two words"}, "llm_key"),
        ({"llm_model": ""}, "llm_model"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, str], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_language_model(settings("http://127.0.0.1:9/v1", **changes))
    assert caught.value.code == code


def test_object_is_read_alone_and_in_a_fence() -> None:
    assert read_object('{"a": 1}') == read_object('```json\n{"a": 1}\n```') == {"a": 1}


@pytest.mark.parametrize("text", ["", "[1]", "null", "so: {}", "{", "[" * 100_000, '{"a":' * 90])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Unavailable) as caught:
        read_object(text)
    assert caught.value.code == "llm_answer"


def test_object_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(Unavailable):
        read_object('{"a":' * 60 + "1" + "}" * 60)


@given(st.text())
def test_any_text_is_an_object_or_refused(text: str) -> None:
    try:
        assert isinstance(read_object(text), dict)
    except Unavailable as error:
        assert error.code == "llm_answer"
