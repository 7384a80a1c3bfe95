"""`aegis memory models …` against an endpoint on loopback that has two models."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.memory.embedding.test_openai import Endpoint, serving
from tests.memory.embedding.test_usage import with_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Shell


@pytest.fixture
def endpoint(environment: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=with_usage)) as running:
        environment.setenv("AEGIS_EMBEDDER", "openai")
        environment.setenv("AEGIS_EMBEDDING_URL", running.url)
        environment.setenv("AEGIS_EMBEDDING_MODEL", "first")
        environment.setenv("AEGIS_EMBEDDING_DIMENSIONS", "4")
        environment.setenv("AEGIS_NEXT_EMBEDDER", "openai")
        environment.setenv("AEGIS_NEXT_EMBEDDING_MODEL", "second")
        environment.setenv("AEGIS_NEXT_EMBEDDING_DIMENSIONS", "4")
        environment.setenv("AEGIS_NEXT_EMBEDDING_USD_PER_MILLION_TOKENS", "0.5")
        yield running


def test_a_change_from_plan_to_switch(
    aegis: Shell, endpoint: Endpoint, environment: pytest.MonkeyPatch
) -> None:
    for n in range(1, 4):
        assert aegis("memory", "record", "note", "x" * n).status == 0
    plan = aegis("memory", "models", "plan", "--json").json
    assert (plan["source"], plan["target"], plan["texts"]) == ("first/4", "second/4", 3)
    assert Decimal(plan["cost_usd"]) == plan["tokens"] * Decimal("0.5") / 10**6
    assert "about" in aegis("memory", "models", "plan").out

    refused = aegis("memory", "models", "change")
    assert refused.status != 0
    assert "[confirmation_needed]" in refused.err
    assert "3 texts" in refused.err
    done = aegis("memory", "models", "change", "--wait", "--yes", "--json").json
    assert (done["phase"], done["remaining"], done["episodes_done"]) == ("ready", 0, 3)
    assert "ready" in aegis("memory", "models", "status").out
    assert "[change_under_way]" in aegis("memory", "models", "change", "--yes").err

    check = aegis("memory", "models", "check", "--samples", "3", "--json").json
    assert (check["missing"], check["objections"]) == (0, [])
    switched = aegis("memory", "models", "switch", "--samples", "3")
    assert (switched.status, "recall@10" in switched.out) == (0, True)
    assert "second/4 is active" in switched.err
    status = aegis("memory", "models", "status", "--json").json
    assert (status["active"], status["other"], status["phase"]) == ("second/4", "first/4", "moving")
    assert "[change_moving]" in aegis("memory", "models", "finish", "--yes").err
    found = aegis("memory", "recall", "xx", "-k", "1", "--json").json
    assert found["results"][0]["episode"]["summary"] == "xx"

    models = {m["model"]: m for m in aegis("memory", "models", "list", "--json").json["items"]}
    assert models["second/4"]["state"] == "active"
    assert Decimal(models["second/4"]["cost_usd"]) > 0
    assert models["first/4"]["episodes"] == 3
    assert "second/4" in aegis("memory", "models", "list").out

    environment.setenv("AEGIS_NEXT_EMBEDDER", "none")
    said = aegis("memory", "models", "status")
    assert "AEGIS_EMBEDDING_MODEL=second" in said.err


def test_pause_resume_and_cancel(aegis: Shell, endpoint: Endpoint) -> None:
    assert aegis("memory", "record", "note", "x").status == 0
    assert aegis("memory", "models", "change", "--yes", "--json").json["phase"] == "filling"
    assert aegis("memory", "models", "pause", "--json").json["phase"] == "paused"
    refused = aegis("memory", "models", "switch")
    assert "1 of 1 memories have no vector of second/4" in refused.err
    assert aegis("memory", "models", "resume", "--json").json["phase"] == "filling"
    assert aegis("memory", "models", "cancel", "--yes", "--json").json["phase"] == "none"
    assert "[change_none]" in aegis("memory", "models", "pause").err


def test_without_an_embedder_there_is_nothing_to_change(aegis: Shell) -> None:
    assert aegis("memory", "models", "list", "--json").json == {"items": []}
    assert "AEGIS_EMBEDDER is 'none'" in aegis("memory", "models", "plan").err
