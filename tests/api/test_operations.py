"""`/v1/health`, `/v1/maintenance`, `/v1/stats`: for the operator, and nobody else."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from aegis.api import health as routes
from aegis.api.scopes import scope_of
from aegis.ops.health import models

if TYPE_CHECKING:
    import httpx2


async def test_checks_are_run_and_summed_up(http: httpx2.AsyncClient) -> None:
    response = await http.get("/v1/health/checks", params={"only": ["access", "sequences"]})
    assert response.status_code == 200
    report = routes.HealthReport.model_validate_json(response.content)
    assert {r.group for r in report.results} == {"access", "data"}
    wrong = await http.get("/v1/health/checks", params={"only": "indices"})
    assert wrong.json()["code"] == "invalid_input"
    summary = (await http.get("/v1/health")).json()
    assert summary["not_ok"]["durability"] == "critical"
    assert summary["state"] == "critical"


def test_the_answers_have_the_fields_of_the_models() -> None:
    for answer, model in (
        (routes.HealthReport, models.Report),
        (routes.CheckResult, models.Result),
        (routes.CheckFinding, models.Finding),
    ):
        assert set(answer.model_fields) == {field.name for field in fields(model)}


async def test_plans_history_and_views_are_read(http: httpx2.AsyncClient) -> None:
    plan = (await http.get("/v1/maintenance/plan")).json()
    assert plan["window"] == "01:00-05:00"
    assert {p["table"] for p in plan["partitioned"]} >= {"api_usage_events"}
    assert (await http.get("/v1/maintenance/history")).json() == {"items": []}
    tables = (await http.get("/v1/stats/tables", params={"limit": 5})).json()
    assert (tables["view"], len(tables["items"])) == ("tables", 5)
    missing = await http.get("/v1/stats/statements")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (await http.get("/v1/stats/growth")).json() == {"items": []}
    unknown = await http.get("/v1/stats/nothing")
    assert unknown.json()["code"] == "invalid_input"


def test_only_the_operator_may_ask() -> None:
    for path in ("/v1/health", "/v1/health/checks", "/v1/maintenance/plan", "/v1/stats/locks",
                 "/metrics"):  # fmt: skip
        assert scope_of("GET", path) == "operator"
