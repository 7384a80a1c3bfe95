"""Who acts is known in every face, and the log is read in every one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from mcp import Client

from aegis.api import security_audit as routes
from aegis.api.app import create_app
from aegis.api.scopes import scope_of
from aegis.client import Aegis
from aegis.mcp.server import server_of
from aegis.ops.health import Health
from aegis.security.audit import models
from aegis.security.audit.actor import login
from aegis.security.audit.service import AuditLog
from aegis.worker.jobs import JobsKind
from tests.api.conftest import TOKEN
from tests.cli.conftest import aegis, environment
from tests.mcp_face.clients import call, over_http, over_stdio
from tests.ops.health.looking import look
from tests.security.audit.conftest import fill, tamper

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database
    from tests.cli.conftest import Shell

__all__ = ["aegis", "environment"]


@pytest.fixture
async def client(db: Database, settings: Settings) -> Aegis:
    return Aegis(db, None, settings)


def http_of(client: Aegis, key: str = TOKEN, **headers: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=create_app(client, token=TOKEN)),
        base_url="http://127.0.0.1:8734",
        headers={"Authorization": f"Bearer {key}", **headers},
    )


async def test_over_http_it_is_the_operator_or_a_key(client: Aegis, log: AuditLog) -> None:
    issued = await client.keys.issue("acme", scopes=["memory:write"])
    async with http_of(client, **{"X-Request-Id": "request-1"}) as http:
        made = await http.post("/v1/keys", json={"customer_id": "beta"})
        assert made.status_code == 201, made.text
    episode = await client.memory.record("note", "x")
    async with http_of(client, issued.key, **{"X-Request-Id": "two words"}) as http:
        gone = await http.delete(f"/v1/memory/episodes/{episode.id}")
        assert gone.status_code == 204, gone.text
    by_key, by_operator, first = await log.list()
    assert (by_key.actor_kind, by_key.actor_id, by_key.face) == ("key", issued.record.id, "http")
    # An id that is none is not taken: the request got one of its own, which the answer tells.
    assert by_key.request_id == gone.headers["X-Request-Id"] != "two words"
    assert (by_operator.actor_kind, by_operator.actor_id, by_operator.request_id) == (
        "operator",
        None,
        "request-1",
    )
    assert first.actor_kind == "library"
    assert TOKEN not in str([by_key, by_operator])
    assert issued.key not in str([by_key, by_operator, first])


async def test_http_lists_shows_verifies(client: Aegis, db: Database) -> None:
    await fill(db, 3)
    async with http_of(client) as http:
        page = await http.get("/v1/security/audit", params={"limit": 2, "action": "keys.*"})
        found = routes.AuditList.model_validate_json(page.content)
        assert ([row.seq for row in found.items], found.next_before) == ([3, 2], 2)
        rest = await http.get("/v1/security/audit", params={"limit": 2, "before": 2})
        assert [row["seq"] for row in rest.json()["items"]] == [1]
        one = await http.get("/v1/security/audit/2")
        routes.AuditEntryAnswer.model_validate_json(one.content)
        assert (await http.get("/v1/security/audit/9")).status_code == 404
        head = routes.AuditHeadAnswer.model_validate_json(
            (await http.get("/v1/security/audit/head")).content
        )
        assert head.seq == 3
        assert (await http.get("/v1/security/audit", params={"actoor": "x"})).status_code == 422
        await tamper(db, "UPDATE audit_log SET object_id = 'x' WHERE seq = 2")
        told = await http.post("/v1/security/audit/verify")
        verdict = routes.AuditVerificationAnswer.model_validate_json(told.content)
        assert (verdict.state, verdict.findings[0].seq) == ("tampered", 2)


async def test_only_the_operator_may_read_it(client: Aegis) -> None:
    scopes = ["memory:read", "keys:read", "billing:read", "status:read"]
    issued = await client.keys.issue("acme", scopes=scopes)
    async with http_of(client, issued.key) as http:
        for method, path in (
            ("GET", "/v1/security/audit"),
            ("GET", "/v1/security/audit/1"),
            ("GET", "/v1/security/audit/head"),
            ("POST", "/v1/security/audit/verify"),
        ):
            assert (await http.request(method, path)).status_code == 403
            assert scope_of(method, path) == "operator"


def test_answers_have_the_fields_of_the_models() -> None:
    for shape, model in (
        (routes.AuditEntryAnswer, models.AuditEntry),
        (routes.AuditVerificationAnswer, models.Verification),
        (routes.AuditFindingAnswer, models.Finding),
    ):
        assert set(shape.model_fields) == {field.name for field in fields(model)}


async def test_an_agent_is_mcp_and_reads_the_log(client: Aegis, log: AuditLog) -> None:
    episode = await client.memory.record("note", "x")
    async with Client(server_of(client)) as agent:
        gone = await agent.call_tool("memory_delete", {"id": episode.id})
        assert not gone.is_error, gone
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
        hints = tools["audit_log_list"].annotations
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint) == (True, False)
        said = await agent.call_tool("audit_log_list", {"action": "memory.*"})
        assert said.structured_content is not None
        (item,) = said.structured_content["items"]
        assert (item["actor_kind"], item["actor_id"], item["face"]) == ("mcp", login(), "mcp")
        wrong = await agent.call_tool("audit_log_list", {"action": "memory.eat"})
        assert wrong.is_error
    assert len(await log.list()) == 1


@pytest.mark.parametrize(
    ("connect", "kind", "who"), [(over_stdio, "mcp", login()), (over_http, "operator", None)]
)
async def test_an_agent_elsewhere_is_whom_its_transport_let_in(
    connect: Any, kind: str, who: str | None, tmp_path: Path, dsn: str, db: Database
) -> None:
    async with connect(tmp_path / "data", dsn, "auto") as agent:
        made = await call(agent, "memory_record", event_type="note", summary="x")
        await call(agent, "memory_delete", id=made["id"])
    (row,) = await AuditLog(db, db.settings).list(action="memory.delete")
    assert (row.actor_kind, row.actor_id, row.face) == (kind, who, "mcp")


async def test_a_worker_is_known_by_its_job(client: Aegis, log: AuditLog) -> None:
    from aegis.worker.loop import Worker

    async def act(a: Any, arguments: dict[str, Any]) -> None:
        await a.keys.issue(arguments["customer"])

    client.functions.add("issue_one", act)
    job = await client.jobs.enqueue("issue_one", arguments={"customer": "acme"})
    worker = Worker(client.db, [JobsKind(client.db, client, client.functions)])
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(60):
        while (await client.jobs.get(job.id)).state != "completed":
            await asyncio.sleep(0.05)
    worker.stop()
    await running
    (row,) = await log.list()
    assert (row.actor_kind, row.face) == ("worker", "worker")
    assert row.actor_id == f"job:{job.id} issue_one"
    # Whoever started the worker is not taken for it afterwards.
    await client.keys.issue("beta")
    assert (await log.list())[0].actor_kind == "library"


async def test_the_daily_look_anchors_and_doctor_tells(
    client: Aegis, log: AuditLog, db: Database, settings: Settings
) -> None:
    from aegis.security.audit.anchors import read_anchors
    from aegis.worker.operations import verify_audit

    assert (await look(db, settings, "audit-chain")).state == "ok"
    await fill(db, 3)
    done = await verify_audit(client, {})
    assert (done["state"], done["rows"], done["complete"]) == ("warning", 3, True)
    assert [a.seq for a in read_anchors(settings).anchors] == [3]
    assert (await look(db, settings, "audit-chain")).state == "ok"
    async with db.transaction() as conn:
        await conn.execute("UPDATE audit_verifications SET verified_at = now() - interval '4 days'")
    late = await look(db, settings, "audit-chain")
    assert (late.state, late.observed) == ("warning", "verified 4.0 d ago")
    await tamper(db, "UPDATE audit_log SET object_id = 'x' WHERE seq = 2")
    done = await verify_audit(client, {})
    assert done["state"] == "tampered"
    assert "Row 2" in done["findings"][0]
    found = await look(db, settings, "audit-chain")
    assert found.state == "critical"
    assert "Row 2" in found.findings[0].observed
    assert found.findings[0].fix == "aegis security audit verify"
    # Nothing that is wrong is anchored.
    assert len(read_anchors(settings).anchors) == 1


async def test_doctor_sees_rows_that_are_gone_and_guards_that_are_off(
    db: Database, settings: Settings, log: AuditLog
) -> None:
    await fill(db, 3)
    await log.head()
    await tamper(db, "DELETE FROM audit_log WHERE seq = 3")
    assert (await look(db, settings, "audit-chain")).state == "critical"
    await tamper(
        db, "UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit_log WHERE seq = 2)"
    )
    found = await look(db, settings, "audit-chain")
    assert (found.state, found.findings[0].object) == ("critical", "row 3")
    async with db.transaction() as conn:
        await conn.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
    guards = [f for f in (await look(db, settings, "audit-chain")).findings if f.object == "guard"]
    assert {f.state for f in guards} == {"warning"}
    async with db.transaction() as conn:
        await conn.execute("DROP TABLE audit_head CASCADE")
    report = await Health(db, settings).check(only=["audit-chain"])
    assert report.results[0].state == "unknown"


def test_the_command_line_lists_shows_verifies_seals_and_exports(
    aegis: Shell, tmp_path: Path, dsn: str
) -> None:
    from tests.db.rows import execute

    empty = aegis("security", "audit", "list")
    assert "Nothing was changed." in empty.out + empty.err
    for name in ("a", "b", "c"):
        assert aegis("keys", "issue", name).status == 0
    items = aegis("security", "audit", "list", "--json").json["items"]
    assert [item["details"]["customer"] for item in items] == ["c", "b", "a"]
    assert (items[0]["actor_kind"], items[0]["actor_id"]) == ("cli", login())
    shown = aegis("security", "audit", "list", "--action", "keys.*", "--object", "key").out
    assert all(word in shown for word in ("keys.issue", "customer=c", "cli"))
    assert "A key was issued" in aegis("security", "audit", "show", "1").out
    assert aegis("security", "audit", "show", "9").status == 3
    assert aegis("security", "audit", "list", "--action", "keys.eat").status == 2
    assert aegis("security", "audit", "verify").status == 1
    head = aegis("security", "audit", "head", "--json").json
    assert (head["seq"], head["hash"]) == (3, items[0]["hash"])
    assert aegis("security", "audit", "verify").status == 0
    out = tmp_path / "log.jsonl"
    assert aegis("security", "audit", "export", "--out", str(out)).status == 0
    assert [json.loads(line)["seq"] for line in out.read_text().splitlines()] == [1, 2, 3]
    assert (out.stat().st_mode & 0o777) == 0o600
    assert aegis("security", "audit", "export", "--out", str(out)).status == 2
    later = "2020-01-01T00:00:00+00:00"
    assert "nothing as old" in aegis("security", "audit", "seal", "--before", later, "--yes").out
    at = items[0]["recorded_at"]
    assert aegis("security", "audit", "seal", "--before", at).status == 2
    sealed = aegis("security", "audit", "seal", "--before", at, "--yes", "--json").json
    assert sealed["sealed"]["rows"] == 2
    execute(
        dsn,
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "UPDATE audit_log SET object_id = 'x' WHERE seq = 3",
    )
    found = aegis("security", "audit", "verify")
    assert found.status == 2
    assert "TAMPERED" in found.out
    assert "Row 3 (keys.issue) was changed" in found.out
    assert aegis("security", "audit", "verify", "--json").json["state"] == "tampered"


def test_a_server_without_pgaudit_says_so(aegis: Shell) -> None:
    found = aegis("security", "audit", "pgaudit")
    assert found.status == 1
    assert "no pgaudit" in found.out
    assert aegis("security", "audit", "pgaudit", "--json").json["state"] == "could_not_check"


def test_what_pgaudit_needs_is_said_from_what_is_there() -> None:
    """The server of these tests has none: what it would say is made up here."""
    from aegis.security.audit.pgaudit import PROPOSED, judge

    off = judge(available="18.0", installed=None, libraries="pg_stat_statements", values={})
    assert off.state == "off"
    assert off.statements[0].startswith(
        "ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements, pgaudit;"
    )
    assert "CREATE EXTENSION pgaudit;" in off.statements
    fine = {name: value for name, (value, _) in PROPOSED.items()}
    there = {"available": "18.0", "installed": "18.0", "libraries": '"pgaudit", x'}
    assert judge(**there, values=fine).state == "ok"
    assert judge(**there, values=fine).statements == []
    assert judge(**there, values={**fine, "pgaudit.log": "ALL"}).state == "ok"
    less = judge(**there, values={**fine, "pgaudit.log": "all, -role"})
    assert less.state == "differs"
    assert less.statements == [
        "ALTER SYSTEM SET pgaudit.log = 'ddl, role';",
        "SELECT pg_reload_conf();",
    ]
