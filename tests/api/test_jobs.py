"""`/v1/jobs`, `/v1/schedules`, `/v1/workers`: the whole life of each, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import jobs as routes
from aegis.api.scopes import scope_of
from aegis.worker import models

if TYPE_CHECKING:
    import httpx2


async def test_a_job_is_enqueued_shown_cancelled_and_run_anew(http: httpx2.AsyncClient) -> None:
    body = {"function": "memory.sweep", "arguments": {"a": 1}, "priority": 7, "unique_key": "u"}
    posted = await http.post("/v1/jobs", json=body)
    assert posted.status_code == 201, posted.text
    job = routes.JobAnswer.model_validate_json(posted.content)
    assert (job.state, job.arguments, job.priority) == ("waiting", {"a": 1}, 7)
    assert (await http.post("/v1/jobs", json=body)).json()["id"] == job.id
    shown = routes.JobAnswer.model_validate_json((await http.get(f"/v1/jobs/{job.id}")).content)
    assert shown == job
    cancelled = await http.post(f"/v1/jobs/{job.id}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    again = await http.post(f"/v1/jobs/{job.id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert (await http.post(f"/v1/jobs/{job.id}/retry")).json()["state"] == "waiting"
    page = await http.get("/v1/jobs", params={"state": ["waiting", "running"], "limit": 1})
    found = routes.JobPage.model_validate_json(page.content)
    assert ([item.id for item in found.items], found.next_before) == ([job.id], job.id)
    rest = await http.get("/v1/jobs", params={"before": job.id})
    assert rest.json() == {"items": [], "next_before": None}
    assert (await http.get("/v1/jobs/999999")).status_code == 404


async def test_a_schedule_from_beginning_to_end(http: httpx2.AsyncClient) -> None:
    body: dict[str, Any] = {"cron": "0 2 * * *", "function": "memory.sweep"}
    made = await http.post("/v1/schedules", json={"name": "nightly", **body})
    assert made.status_code == 201, made.text
    schedule = routes.ScheduleAnswer.model_validate_json(made.content)
    assert (schedule.name, schedule.paused, schedule.missed) == ("nightly", False, "latest")
    taken = await http.post("/v1/schedules", json={"name": "nightly", **body})
    assert taken.status_code == 409
    at = "/v1/schedules/nightly"
    put = await http.put(at, json={**body, "timezone": "Europe/Berlin", "missed": "all"})
    assert (put.json()["timezone"], put.json()["missed"]) == ("Europe/Berlin", "all")
    assert (await http.post(f"{at}/pause")).json()["paused"] is True
    assert (await http.post(f"{at}/resume")).json()["paused"] is False
    run = await http.post(f"{at}/run")
    assert (run.status_code, run.json()["schedule"]) == (201, "nightly")
    history = routes.JobPage.model_validate_json((await http.get(f"{at}/history")).content)
    assert [job.id for job in history.items] == [run.json()["id"]]
    listed = routes.Schedules.model_validate_json((await http.get("/v1/schedules")).content)
    assert [item.name for item in listed.items] == ["nightly"]
    assert (await http.get(at)).json()["function"] == "memory.sweep"
    assert (await http.delete(at)).status_code == 204
    assert (await http.delete(at)).status_code == 404


async def test_workers_and_what_waits_for_them(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/jobs", json={"function": "memory.sweep"})
    response = await http.get("/v1/workers", params={"gone": "true"})
    found = routes.WorkersAnswer.model_validate_json(response.content)
    assert (found.items, found.jobs.due, found.jobs.running) == ([], 1, 0)


async def test_rates_of_providers_are_set_shown_and_lifted(http: httpx2.AsyncClient) -> None:
    put = await http.put("/v1/workers/rates/perplexity", json={"per_minute": 30, "burst": 2})
    assert put.status_code == 200, put.text
    rate = routes.RateAnswer.model_validate_json(put.content)
    assert (rate.provider, rate.per_minute, rate.burst) == ("perplexity", 30, 2)
    listed = routes.Rates.model_validate_json((await http.get("/v1/workers/rates")).content)
    assert listed.items == [rate]
    wrong = await http.put("/v1/workers/rates/perplexity", json={"per_minute": 0})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_input")
    assert (await http.delete("/v1/workers/rates/perplexity")).status_code == 204
    assert (await http.get("/v1/workers/rates")).json() == {"items": []}
    assert scope_of("PUT", "/v1/workers/rates/perplexity") == "operator"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs", {"function": "os.system"}),
        ("/v1/jobs", {"function": "memory.sweep", "priority": "9"}),
        ("/v1/jobs", {"function": "memory.sweep", "colour": "red"}),
        ("/v1/jobs", {"function": "memory.sweep", "arguments": []}),
        ("/v1/jobs", {"function": "memory.sweep", "due_at": "soon"}),
        ("/v1/jobs", {}),
        ("/v1/schedules", {"name": "a/b", "cron": "0 2 * * *", "function": "memory.sweep"}),
        ("/v1/schedules", {"name": "a", "cron": "0 2 * *", "function": "memory.sweep"}),
        ("/v1/schedules", {"name": "a", "cron": "0 2 * * *", "function": "os.system"}),
    ],
)
async def test_what_cannot_be_is_a_problem(
    http: httpx2.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    response = await http.post(path, json=body)
    assert response.status_code in (400, 422), response.text
    assert response.json()["code"] in ("invalid_input", "function_unknown", "cron_invalid")
    assert (await http.get(path)).json()["items"] == []


def test_changing_what_runs_is_the_operators_alone() -> None:
    for path in ("/v1/jobs", "/v1/schedules", "/v1/workers"):
        assert scope_of("GET", path) == "jobs:read"
    for method, path in (
        ("POST", "/v1/jobs"),
        ("POST", "/v1/jobs/1/cancel"),
        ("PUT", "/v1/schedules/a"),
        ("DELETE", "/v1/schedules/a"),
        ("POST", "/v1/schedules/a/run"),
    ):
        assert scope_of(method, path) == "operator"


def test_the_answers_have_the_fields_of_the_models() -> None:
    for answer, model in (
        (routes.JobAnswer, models.Job),
        (routes.JobBody, models.NewJob),
        (routes.ScheduleAnswer, models.Schedule),
        (routes.WorkerAnswer, models.WorkerRow),
    ):
        assert set(answer.model_fields) == {field.name for field in fields(model)}
    given = {field.name for field in fields(models.NewSchedule)} - {"created_by"}
    assert set(routes.NewScheduleBody.model_fields) == given
