"""Health, readiness, and what leaves when something unexpected happens."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from aegis import errors, memory
from aegis.api import answers, session_answers, upkeep_answers
from aegis.api.errors import STATUS
from aegis.memory import advice, calibration
from aegis.memory.audit import report
from aegis.memory.consolidation import proposal
from aegis.memory.consolidation.run import Consolidated
from aegis.memory.decisions import DecisionHit
from aegis.memory.facts import FactHit
from aegis.memory.models import FactSource, FactStep
from aegis.sessions import models as sessions

if TYPE_CHECKING:
    import httpx2

    from aegis.client import Aegis


async def test_ready_while_the_database_answers_and_fits(http: httpx2.AsyncClient) -> None:
    response = await http.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


async def test_not_ready_when_the_schema_does_not_fit(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE alembic_version SET version_num = '9999'")
    response = await http.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "schema_ahead")
    assert (await http.get("/healthz")).status_code == 200


async def test_not_ready_when_the_database_is_gone(http: httpx2.AsyncClient, client: Aegis) -> None:
    await client.db.close()
    response = await http.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "pool_closed")
    assert response.headers["retry-after"]
    assert (await http.get("/healthz")).status_code == 200


async def test_status_shows_the_pool(http: httpx2.AsyncClient) -> None:
    pool = (await http.get("/v1/status")).json()["pool"]
    assert pool["max_size"] == 10


async def test_traceback_never_leaves(
    http: httpx2.AsyncClient, client: Aegis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(client.memory, "recall", broken)
    response = await http.post("/v1/memory/recall", json={"query": "x"})
    assert (response.status_code, response.json()["code"]) == (500, "unexpected")
    assert "secret" not in response.text
    assert "Traceback" not in response.text


async def test_server_does_not_say_what_it_is_made_of(http: httpx2.AsyncClient) -> None:
    response = await http.get("/healthz")
    assert "server" not in response.headers
    assert "x-powered-by" not in response.headers


def test_every_kind_of_error_has_a_status() -> None:
    assert set(STATUS) == {getattr(errors, name) for name in errors.__all__}


@pytest.mark.parametrize(
    ("answer", "model"),
    [
        (answers.Episode, memory.Episode),
        (answers.Fact, memory.Fact),
        (answers.Decision, memory.Decision),
        (answers.Hit, memory.Hit),
        (answers.ScorePart, memory.ScorePart),
        (answers.FactHit, FactHit),
        (answers.FactStep, FactStep),
        (answers.FactSource, FactSource),
        (answers.DecisionHit, DecisionHit),
        (answers.DecisionEpisode, memory.DecisionEpisode),
        (answers.Advice, advice.Advice),
        (answers.OptionRecord, advice.OptionRecord),
        (answers.WeightedRate, advice.WeightedRate),
        (answers.Interval, advice.Interval),
        (answers.Lesson, advice.Lesson),
        (answers.Precedent, advice.Precedent),
        (answers.Calibration, calibration.Calibration),
        (answers.CalibrationBin, calibration.CalibrationBin),
        (upkeep_answers.Draft, proposal.Draft),
        (upkeep_answers.Proposal, proposal.Proposal),
        (upkeep_answers.Consolidated, Consolidated),
        (upkeep_answers.Example, report.Example),
        (upkeep_answers.Finding, report.Finding),
        (upkeep_answers.AuditReport, report.AuditReport),
        (upkeep_answers.Repaired, report.Repaired),
        (upkeep_answers.Quarantined, report.Quarantined),
        (session_answers.Session, sessions.Session),
        (session_answers.SessionDetail, sessions.SessionDetail),
        (session_answers.SessionEvent, sessions.SessionEvent),
        (session_answers.ToolUse, sessions.ToolUse),
        (session_answers.TouchedFile, sessions.TouchedFile),
        (session_answers.Swept, sessions.Swept),
    ],
)
def test_described_answer_has_the_fields_of_the_model(answer: Any, model: Any) -> None:
    assert list(answer.model_fields) == [field.name for field in fields(model)]


async def test_description_names_every_error_as_a_problem(http: httpx2.AsyncClient) -> None:
    description = (await http.get("/openapi.json")).json()
    assert description["openapi"].startswith("3.")
    for methods in description["paths"].values():
        for operation in methods.values():
            assert "default" in operation["responses"]
            assert operation["summary"]
