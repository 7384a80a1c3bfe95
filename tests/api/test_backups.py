"""`/v1/backups`: reading for keys with the scope, starting for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.api.scopes import scope_of

if TYPE_CHECKING:
    import httpx2

    from aegis.client import Aegis


async def test_backups_are_started_listed_and_shown(
    http: httpx2.AsyncClient, client: Aegis, dsn: str
) -> None:
    from dataclasses import replace

    client.backups.settings = replace(client.settings, database_url=dsn)
    assert (await http.get("/v1/backups")).json() == {"items": []}
    assert (await http.get("/v1/backups/latest")).status_code == 404
    begun = await http.post("/v1/backups")
    assert (begun.status_code, begun.json()) == (202, {"state": "started"})
    assert (await http.post("/v1/backups")).status_code == 409
    await client.backups.settled()
    (item,) = (await http.get("/v1/backups")).json()["items"]
    assert (item["verdict"], item["local"], item["copies"]) == ("verified", True, [])
    assert (await http.get(f"/v1/backups/{item['name']}")).json() == item
    status = (await http.get("/v1/backups/status")).json()
    assert {c["id"]: c["state"] for c in status["checks"]}["backup-age"] == "ok"
    assert status["drill"] is None
    assert (await http.get("/v1/backups/status", params={"x": 1})).status_code == 422


def test_only_the_operator_starts_one() -> None:
    assert scope_of("GET", "/v1/backups/latest") == "backups:read"
    assert scope_of("POST", "/v1/backups") == "operator"
