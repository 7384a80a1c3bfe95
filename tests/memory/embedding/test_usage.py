"""What calls of an endpoint come to, and how fast it may be asked."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Unavailable
from aegis.memory import Memory
from aegis.memory.embedding.openai import OpenAI
from aegis.memory.embedding.usage import MAX_TOKENS, tokens_answered
from tests.memory.embedding.test_openai import Endpoint, Reply, honest, serving, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.db import Database


def with_usage(body: dict[str, Any]) -> Reply:
    """Answer as OpenAI does, seven tokens a text."""
    reply = honest(body)
    answer = json.loads(reply.body) | {"usage": {"total_tokens": 7 * len(body["input"])}}
    return replace(reply, body=json.dumps(answer).encode())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=with_usage)) as running:
        yield running


async def test_tokens_and_cost_of_calls_are_written_down(db: Database, endpoint: Endpoint) -> None:
    priced = settings(endpoint.url, embedding_usd_per_million_tokens=0.02)
    memory = Memory(db, OpenAI(priced, first_delay_s=0.001), namespace="default")
    await memory.record("note", "one")
    await memory.record("note", "two")
    endpoint.first = [Reply(status=500)] * 5
    assert not (await memory.record("note", "three")).embedded
    await memory.models.flush()
    await memory.models.flush()  # counted once
    (model,) = await memory.models.list()
    assert (model.model, model.provider, model.state) == ("test-model/4", "openai", "active")
    assert (model.calls, model.texts, model.tokens) == (2, 2, 14)
    assert model.cost_usd == Decimal("0.00000028")
    assert model.usd_per_million_tokens == Decimal("0.02")
    assert model.failures == 1
    assert model.last_error is not None
    assert "HTTP 500" in model.last_error


async def test_what_cannot_be_written_down_is_kept(
    db: Database, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(db, OpenAI(settings(endpoint.url)), namespace="default")
    await memory.record("note", "one")

    def away() -> None:
        raise Unavailable("The database is away.")

    with monkeypatch.context() as patch:
        patch.setattr(db, "transaction", away)
        await memory.models.flush()
    await memory.models.flush()
    assert [m.tokens for m in await memory.models.list()] == [7]


async def test_tokens_are_estimated_where_the_answer_names_none(
    db: Database, endpoint: Endpoint
) -> None:
    endpoint.answer = honest
    memory = Memory(db, OpenAI(settings(endpoint.url)), namespace="default")
    await memory.record("note", "x" * 40)
    await memory.models.flush()
    (model,) = await memory.models.list()
    assert (model.tokens, model.cost_usd) == (10, 0)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"usage": 5},
        {"usage": {"total_tokens": -3}},
        {"usage": {"total_tokens": "9"}},
        {"usage": {"total_tokens": True}},
        {"usage": {"total_tokens": MAX_TOKENS + 1}},
    ],
)
def test_an_answer_that_is_not_credible_counts_no_tokens(answer: Any) -> None:
    assert tokens_answered(answer) is None


def test_older_answers_name_the_prompt_alone() -> None:
    assert tokens_answered({"usage": {"prompt_tokens": 3}}) == 3


async def test_a_question_does_not_wait_for_a_limit_longer_than_the_time_out(
    endpoint: Endpoint,
) -> None:
    embedder = OpenAI(settings(endpoint.url, embedding_requests_per_minute=1))
    await embedder.embed(["one"])
    with pytest.raises(Unavailable, match="AEGIS_EMBEDDING_REQUESTS_PER_MINUTE"):
        await embedder.embed(["two"])
    await embedder.aclose()
    assert len(endpoint.asked) == 1


async def test_a_pause_that_the_endpoint_asks_for_holds_other_questions_too(
    endpoint: Endpoint,
) -> None:
    endpoint.first = [Reply(status=429, headers={"Retry-After": "30"})]
    embedder = OpenAI(settings(endpoint.url))
    for text in ("one", "two"):
        with pytest.raises(Unavailable):
            await embedder.embed([text])
    await embedder.aclose()
    assert len(endpoint.asked) == 1  # the second one was not even sent


async def test_many_texts_wait_as_long_as_they_are_asked_to(endpoint: Endpoint) -> None:
    endpoint.first = [Reply(status=429, headers={"Retry-After": "1"})]
    embedder = OpenAI(settings(endpoint.url, embedding_timeout_s=0.5))
    assert len(await embedder.embed([f"text {n}" for n in range(20)])) == 20
    await embedder.aclose()


async def test_a_refused_text_has_a_code_of_its_own(endpoint: Endpoint) -> None:
    endpoint.answer = lambda _: Reply(status=400, body=b'{"error": {"message": "too long"}}')
    embedder = OpenAI(settings(endpoint.url), prefix="AEGIS_NEXT_EMBEDDING")
    with pytest.raises(Unavailable, match="AEGIS_NEXT_EMBEDDING_URL") as caught:
        await embedder.embed(["text"])
    await embedder.aclose()
    assert caught.value.code == "embedder_refused"
