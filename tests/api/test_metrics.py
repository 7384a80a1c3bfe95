"""`/v1/metrics`: samples in, the newest of each, charts; what is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import metrics as routes
from aegis.api.scopes import scope_of
from aegis.metrics import models

if TYPE_CHECKING:
    import httpx2


async def test_samples_are_stored_and_shown(http: httpx2.AsyncClient) -> None:
    body = {"samples": [{"container_name": "web", "cpu_percent": 12, "net_io_mb": 3.5}]}
    posted = await http.post("/v1/metrics", json=body)
    assert (posted.status_code, posted.json()) == (201, {"recorded": 1})
    (item,) = (await http.get("/v1/metrics")).json()["items"]
    assert (item["container_name"], item["cpu_percent"], item["mem_percent"]) == ("web", 12, None)
    found = await http.get("/v1/metrics/chart", params={"container_name": "web", "points": 5000})
    assert found.status_code == 200
    shown = routes.ChartAnswer.model_validate_json(found.content)
    assert shown.container_name == "web"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"samples": [{"container_name": "web", "cpu": 1}]}, 422),
        ({"samples": [{"container_name": "web", "cpu_percent": "1"}]}, 422),
        ({"samples": [{"container_name": "web", "cpu_percent": -1}]}, 422),
        ({"samples": [{"container_name": "web", "timestamp": "soon"}]}, 422),
        ({"samples": [{}]}, 422),
        ([], 422),
    ],
)
async def test_what_is_no_sample_is_a_problem(
    http: httpx2.AsyncClient, body: Any, status: int
) -> None:
    response = await http.post("/v1/metrics", json=body)
    assert response.status_code in (status, 400), response.text
    assert response.json()["code"] == "invalid_input"
    assert (await http.get("/v1/metrics")).json() == {"items": []}


async def test_limits_by_hand_are_made_replaced_and_deleted(http: httpx2.AsyncClient) -> None:
    made = await http.put(
        "/v1/metrics/rules/hot", json={"kind": "threshold", "value": 90, "container": "web-*"}
    )
    assert made.status_code == 200, made.text
    rule = routes.MetricRuleAnswer.model_validate_json(made.content)
    assert (rule.name, rule.value, rule.above, rule.for_s) == ("hot", 90, True, 60)
    await http.put("/v1/metrics/rules/hot", json={"kind": "rate", "value": 5, "above": False})
    (item,) = (await http.get("/v1/metrics/rules")).json()["items"]
    assert (item["kind"], item["value"], item["container"]) == ("rate", 5, "*")
    assert (await http.delete("/v1/metrics/rules/hot")).status_code == 204
    assert (await http.delete("/v1/metrics/rules/hot")).status_code == 404
    assert (await http.get("/v1/metrics/rules")).json() == {"items": []}


@pytest.mark.parametrize(
    ("name", "more"),
    [("hot", {"kind": "magic"}), ("a b", {}), ("hot", {"metric": "ram"}), ("hot", {"for_s": -1}),
     ("hot", {"severity": "info"}), ("hot", {"value": "90"}), ("hot", {"extra": 1})],
)  # fmt: skip
async def test_what_is_no_limit_is_a_problem(
    http: httpx2.AsyncClient, name: str, more: dict[str, Any]
) -> None:
    body = {"kind": "threshold", "value": 90, **more}
    response = await http.put(f"/v1/metrics/rules/{name}", json=body)
    assert response.status_code in (400, 422), response.text
    assert response.json()["code"] == "invalid_input"


def test_who_measures_need_not_be_the_operator_and_who_sets_limits_is() -> None:
    assert scope_of("POST", "/v1/metrics") == "metrics:write"
    assert scope_of("GET", "/v1/metrics/chart") == "metrics:read"
    assert scope_of("GET", "/v1/metrics/rules") == "metrics:read"
    assert scope_of("PUT", "/v1/metrics/rules/hot") == "operator"


def test_the_answers_have_the_fields_of_the_models() -> None:
    for answer, model in (
        (routes.LatestSample, models.Latest),
        (routes.ChartPoint, models.Point),
        (routes.ChartAnswer, models.Chart),
        (routes.SampleBody, models.Sample),
        (routes.MetricRuleAnswer, models.MetricRule),
    ):
        assert set(answer.model_fields) == {field.name for field in fields(model)}
