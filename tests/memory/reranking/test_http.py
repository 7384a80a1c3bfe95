"""Against a real HTTP server on loopback that answers as each test tells it to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from aegis.config import load_settings
from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.memory.reranking import open_reranker
from aegis.memory.reranking.http import HTTPReranker
from tests.memory.endpoint import Endpoint, Reply, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-secret-0123456789"
TEXTS = ["aa", "bbbb", "c"]


def length_scores(texts: list[str]) -> list[tuple[int, float]]:
    """Score each text by its length, the last first: an endpoint answers in the order it likes."""
    return [(i, float(len(text))) for i, text in enumerate(texts)][::-1]


def cohere(body: dict[str, Any]) -> Reply:
    rows = [{"index": i, "relevance_score": s} for i, s in length_scores(body["documents"])]
    return Reply(body=json.dumps({"id": "x", "results": rows, "meta": {}}).encode())


def inference(body: dict[str, Any]) -> Reply:
    """Answer as text-embeddings-inference does, which does not know `documents`."""
    if "texts" not in body:
        return Reply(status=422, body=b'{"error": "missing field `texts`"}')
    rows = [{"index": i, "score": s} for i, s in length_scores(body["texts"])]
    return Reply(body=json.dumps(rows).encode())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=cohere)) as running:
        yield running


def reranker(endpoint: Endpoint, **changes: Any) -> HTTPReranker:
    values = {"reranker": "http", "reranker_url": endpoint.url} | changes
    return HTTPReranker(load_settings({}, **values))


async def test_scores_come_back_in_the_order_of_the_texts(endpoint: Endpoint) -> None:
    asking = reranker(endpoint, reranker_model="m", reranker_api_key=KEY)
    assert await asking.score("why?", TEXTS) == [2.0, 4.0, 1.0]
    assert endpoint.asked == [{"query": "why?", "documents": TEXTS, "top_n": 3, "model": "m"}]
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert endpoint.headers[0]["path"] == "/v1/rerank"
    await asking.aclose()


async def test_an_endpoint_that_wants_texts_gets_them_from_the_second_question_on(
    endpoint: Endpoint,
) -> None:
    endpoint.answer = inference
    asking = reranker(endpoint)
    assert await asking.score("why?", TEXTS) == [2.0, 4.0, 1.0]
    assert await asking.score("why?", TEXTS) == [2.0, 4.0, 1.0]
    assert ["texts" in body for body in endpoint.asked] == [False, True, True]
    assert endpoint.asked[-1]["truncate"] is True
    await asking.aclose()


async def test_a_refusal_of_both_formats_is_no_reason_to_remember_one(endpoint: Endpoint) -> None:
    endpoint.first = [Reply(status=400), Reply(status=400)]
    asking = reranker(endpoint)
    with pytest.raises(Unavailable, match="HTTP 400"):
        await asking.score("why?", TEXTS)
    assert await asking.score("why?", TEXTS) == [2.0, 4.0, 1.0]
    await asking.aclose()


async def test_nothing_to_score_asks_nobody(endpoint: Endpoint) -> None:
    assert await reranker(endpoint).score("why?", []) == []
    assert endpoint.asked == []


def rows(*scores: Any) -> bytes:
    found = [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]
    return json.dumps({"results": found}).encode()


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (Reply(status=429), Unavailable, "HTTP 429"),
        (Reply(status=500), Unavailable, "HTTP 500"),
        (Reply(status=401), ConfigError, "AEGIS_RERANKER_API_KEY"),
        (Reply(status=404), ConfigError, "AEGIS_RERANKER_URL"),
        (Reply(status=307), ConfigError, "AEGIS_RERANKER_URL"),
        (Reply(hang_up=True), Unavailable, "cannot be reached"),
        (Reply(body=b"<html>"), Unavailable, "no scores"),
        (Reply(body=b"\xff\xfe\x00"), Unavailable, "no usable answer"),
        (Reply(body=b"null"), Unavailable, "no scores"),
        (Reply(body=b"[1, 2, 3]"), Unavailable, "no scores"),
        (Reply(body=b"[" * 100_000), Unavailable, "no scores"),
        (Reply(body=b'{"results": {"index": 0}}'), Unavailable, "no scores"),
        (Reply(body=rows(1, 2)), Unavailable, "2 scores for 3 texts"),
        (Reply(body=rows(1, 2, 3, 4)), Unavailable, "4 scores for 3 texts"),
        (Reply(body=rows(1, 2, float("nan"))), Unavailable, "no finite number"),
        (Reply(body=rows(1, 2, float("inf"))), Unavailable, "no finite number"),
        (Reply(body=rows(1, 2, "3")), Unavailable, "no finite number"),
        (Reply(body=rows(1, 2, True)), Unavailable, "no finite number"),
        (Reply(body=rows(1, 2, None)), Unavailable, "no finite number"),
        (Reply(body=rows(1, 2, 10**400)), Unavailable, "no scores"),
        (
            Reply(body=json.dumps([{"index": 0, "score": 1.0}] * 3).encode()),
            Unavailable,
            "3 scores for 3 texts",
        ),
        (
            Reply(body=json.dumps([{"index": -1, "score": 1.0}] * 3).encode()),
            Unavailable,
            "3 scores for 3 texts",
        ),
        (Reply(body=b'[{"index": 0.5, "score": 1}]'), Unavailable, "no whole number"),
        (Reply(body=b" " * 1_000_001), Unavailable, "more than 1,000,000 bytes"),
    ],
)
async def test_what_cannot_be_used_is_refused_in_one_line_without_the_key(
    endpoint: Endpoint, reply: Reply, kind: type[AegisError], says: str
) -> None:
    endpoint.first = [reply]
    asking = reranker(endpoint, reranker_api_key=KEY)
    with pytest.raises(kind, match=says) as error:
        await asking.score("why?", TEXTS)
    assert KEY not in error.value.message
    assert "\n" not in error.value.message
    assert error.value.code.startswith("reranker_")
    # One that recovers serves again.
    assert await asking.score("why?", TEXTS) == [2.0, 4.0, 1.0]
    await asking.aclose()


async def test_giving_up_on_an_answer_leaves_the_next_question_unharmed(endpoint: Endpoint) -> None:
    endpoint.first = [Reply(stall=True)]
    asking = reranker(endpoint)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(asking.score, "why?", TEXTS)
            while not endpoint.asked:
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
    assert await asking.score("why?", TEXTS) == [2.0, 4.0, 1.0]
    await asking.aclose()


@pytest.mark.parametrize("url", [None, "", "ftp://x", "http://", "http://[", "http://a b\n", "x"])
def test_a_url_that_cannot_be_asked_is_refused_before_anything_runs(url: str | None) -> None:
    with pytest.raises(ConfigError, match="AEGIS_RERANKER_URL"):
        open_reranker(load_settings({}, reranker="http", reranker_url=url))


@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="AEGIS_RERANKER_API_KEY") as error:
        open_reranker(
            load_settings(
                {}, reranker="http", reranker_url="http://localhost/", reranker_api_key=key
            )
        )
    assert key not in error.value.message


def test_no_reranker_is_the_default_and_its_name_is_checked() -> None:
    assert open_reranker(load_settings({})) is None
    with pytest.raises(ConfigError, match="none, http, fastembed"):
        load_settings({"AEGIS_RERANKER": "magic"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RERANKER_BUDGET_MS", "0"),
        ("RERANKER_TOP", "1"),
        ("RERANKER_WEIGHT", "-1"),
        ("RERANKER_WEIGHT", "nan"),
        ("EMBEDDING_BUDGET_MS", "0"),
    ],
)
def test_a_setting_out_of_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"AEGIS_{name}"):
        load_settings({f"AEGIS_{name}": value})
