"""`/v1/intel`: competitors, pages, checks, changes, and who may do what."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from aegis.api import intel_answers as answers
from aegis.api.scopes import scope_of
from aegis.client import Aegis
from aegis.intel import discovering, models
from tests.intel.conftest import pricing
from tests.intel.site import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as served:
        served.pages |= {"/": "<h1>Acme</h1><a href=/pricing>P</a>", "/pricing": pricing("49")}
        yield served


@pytest.fixture
async def client(db: Database, settings: Settings) -> Aegis:
    return Aegis(
        db,
        None,
        replace(
            settings,
            embedder="none",
            outbound_allow="127.0.0.1",
            intel_delay_s=0,
            intel_confirm_s=0,
        ),
    )


async def test_a_change_is_found_shown_and_taken_note_of(
    http: httpx2.AsyncClient, site: Site
) -> None:
    body = {"domain": site.url, "name": "Acme"}
    added = await http.post("/v1/intel/competitors", json=body)
    assert added.status_code == 201, added.text
    answers.AddedAnswer.model_validate_json(added.content)
    assert (await http.post("/v1/intel/competitors", json=body)).status_code == 409
    pages = (await http.get("/v1/intel/pages", params={"type": "pricing"})).json()["items"]
    (page,) = pages
    answers.PageAnswer.model_validate(page)
    for _ in range(4):
        await http.post("/v1/intel/check", json={"page_id": page["id"]})
    site.pages["/pricing"] = pricing("59")
    for _ in range(2):
        await http.post("/v1/intel/check", json={"page_id": page["id"]})
    done = await http.post("/v1/intel/check", json={"page_id": page["id"]})
    (checked,) = answers.ChecksAnswer.model_validate_json(done.content).items
    assert checked.outcome == "changed"
    found = await http.get("/v1/intel/changes", params={"competitor": "Acme", "unseen": "true"})
    (change,) = answers.ChangesAnswer.model_validate_json(found.content).items
    assert change.summary == "Pro: 49 USD/month → 59 USD/month (+20%)."
    one = await http.get(f"/v1/intel/changes/{change.id}")
    assert answers.ChangeAnswer.model_validate_json(one.content) == change
    noted = await http.post("/v1/intel/changes/ack", json={"ids": [change.id]})
    assert noted.json() == {"acknowledged": [change.id]}
    report = await http.get("/v1/intel/report", params={"days": 1})
    assert report.headers["content-type"].startswith("text/markdown")
    assert "Pro: 49 USD/month" in report.text
    patched = await http.patch(f"/v1/intel/pages/{page['id']}", json={"state": "ignored"})
    assert patched.json()["state"] == "ignored"
    gone = await http.delete("/v1/intel/competitors/Acme")
    assert answers.RemovedAnswer.model_validate_json(gone.content).competitors == 1


async def test_what_cannot_be_is_a_problem(http: httpx2.AsyncClient) -> None:
    refused = await http.post("/v1/intel/competitors", json={"domain": "file:///etc/passwd"})
    assert refused.json()["code"] == "invalid_input"
    assert (await http.get("/v1/intel/changes/7")).status_code == 404
    assert (await http.get("/v1/intel/pages", params={"stat": "x"})).json()["code"] == (
        "invalid_input"
    )
    wrong = await http.post("/v1/intel/check", json={"page": 1})
    assert wrong.json()["code"] == "invalid_input"


def test_who_reads_may_not_have_us_ask_websites() -> None:
    assert scope_of("GET", "/v1/intel/changes") == "intel:read"
    assert scope_of("POST", "/v1/intel/changes/ack") == "intel:write"
    for path in ("competitors", "check", "competitors/1/pages", "competitors/1/discover"):
        assert scope_of("POST", f"/v1/intel/{path}") == "operator"


def test_the_answers_have_the_fields_of_the_models() -> None:
    for answer, model in (
        (answers.CompetitorAnswer, models.Competitor),
        (answers.PageAnswer, models.Page),
        (answers.ChangeAnswer, models.Change),
        (answers.CheckedAnswer, models.Checked),
        (answers.DiscoveredAnswer, discovering.Discovered),
    ):
        assert set(answer.model_fields) == {field.name for field in fields(model)}
