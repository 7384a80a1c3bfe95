"""`aegis up` does the work of a change that HTTP begins, and every process follows the switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import models as answers
from aegis.db.postmaster import wait_until
from tests.memory.embedding.test_openai import Endpoint
from tests.memory.embedding.test_openai import serving as endpoint_serving
from tests.memory.embedding.test_usage import with_usage
from tests.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODELS = "/v1/memory/models"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_serving(Endpoint(url="", answer=with_usage)) as running:
        yield running


def test_a_change_over_http(tmp_path: Path, dsn: str, endpoint: Endpoint) -> None:
    settings = {
        "database_url": dsn,
        "embedder": "openai",
        "embedding_url": endpoint.url,
        "embedding_model": "first",
        "embedding_dimensions": "4",
        "next_embedder": "openai",
        "next_embedding_model": "second",
        "next_embedding_dimensions": "4",
    }
    with serving(tmp_path / "data", **settings) as served, served.http() as http:

        def ask(path: str, body: Any = None, *, post: bool = True) -> Any:
            response = http.post(MODELS + path, json=body) if post else http.get(MODELS + path)
            assert response.status_code < 300, response.text
            return response.json()

        for n in range(1, 4):
            note = {"event_type": "note", "summary": "x" * n}
            assert http.post("/v1/memory/episodes", json=note).status_code == 201
        answers.ModelPlan.model_validate(ask("/plan", post=False))
        answers.ModelChange.model_validate(ask("/change"))
        assert http.post(MODELS + "/change").json()["code"] == "change_under_way"
        assert wait_until(lambda: ask("/status", post=False)["phase"] == "ready", 30)
        answers.RecallCheck.model_validate(ask("/check?samples=3", post=False))
        answers.RecallCheck.model_validate(ask("/switch", {"samples": 3}))
        note = {"event_type": "note", "summary": "x" * 9}
        made = http.post("/v1/memory/episodes", json=note).json()
        assert made["embedding_model"] == "second/4"
        found = http.post("/v1/memory/recall", json={"query": "xx", "k": 1}).json()
        assert found["results"][0]["episode"]["summary"] == "xx"
        assert ask("/cancel", {})["active"] == "first/4"
        listed = answers.EmbeddingModels.model_validate(ask("", post=False))
        assert {m.model: m.state for m in listed.items} == {
            "first/4": "active",
            "second/4": "filling",
        }
        assert http.post(MODELS + "/finish").json()["code"] == "change_not_switched"
        assert ask("/pause")["active"] == "first/4"
        assert ask("/resume")["active"] == "first/4"
