"""The commands, the route and the tool."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.api.scopes import scope_of
from aegis.mcp.server import create_server
from aegis.memory import Memory
from aegis.security.service import Security
from tests.serving import CALL, environment, serving

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database
    from tests.security.conftest import Guarded


def run(guarded: Guarded, *arguments: str, url: str | None = None, status: int = 0) -> Any:
    settings = environment(
        guarded.settings.data_dir,
        database_url=url or guarded.dsn,
        role_prefix=guarded.settings.role_prefix,
        embedder="none",
    )
    done = subprocess.run([*CALL, *arguments], env=settings, capture_output=True, text=True)
    assert done.returncode == status, done.stderr + done.stdout
    return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr


def test_commands_from_nothing_to_a_tenant_and_back(bare: Guarded) -> None:
    script = run(bare, "security", "apply", "--dry-run")
    assert script.startswith("BEGIN;\nCREATE ROLE")
    assert "SCRAM" not in script
    assert "Nothing was done" in run(bare, "security", "apply", status=2)
    applied = run(bare, "security", "apply", "--yes", "--json")
    assert len(applied["steps"]) > 100
    shown = run(bare, "security", "apply", "--yes", "--show-passwords")
    password = (bare.roles().folder / bare.names["app"]).read_text().strip()
    assert password in shown
    assert "Nothing to do" in shown
    assert password not in run(bare, "security", "apply", "--yes")
    rotated = run(bare, "security", "apply", "--yes", "--rotate", "app")
    assert password not in rotated
    assert (bare.roles().folder / bare.names["app"]).read_text().strip() != password
    run(bare, "security", "apply", "--rotate", "tenant", status=2)
    # The tests' servers trust whoever comes by the socket: that is bad, the rest is not.
    report = run(bare, "security", "check", "--json", status=2)
    bad = {found["id"] for found in report["checks"] if found["verdict"] == "bad"}
    assert bad == {"hba-trust"}
    assert "hba-trust" in run(bare, "security", "check", status=2)
    added = run(bare, "security", "tenant", "add", "acme", "--namespace", "acme", "--json")
    assert added["role_name"].endswith("_tenant_acme")
    listed = run(bare, "security", "tenant", "list", "--json")
    assert [t["namespace"] for t in listed["tenants"]] == ["acme"]
    with bare.connect(added["role_name"]) as tenant:
        assert tenant.execute("SELECT count(*) FROM episodic_memory").fetchone() == (0,)
    run(bare, "security", "tenant", "remove", "acme", "--yes")
    assert run(bare, "security", "tenant", "list", "--json") == {"tenants": []}
    run(bare, "security", "tenant", "remove", "acme", "--yes", status=3)


def test_a_server_of_ones_own_is_served_by_the_application_alone(
    guarded: Guarded, tmp_path: Path
) -> None:
    settings = {"database_url": guarded.url("app"), "embedder": "none"}
    with serving(tmp_path / "up", **settings) as served, served.http() as http:
        said = http.post(
            "/v1/memory/episodes", json={"event_type": "learning", "summary": "it works"}
        )
        assert said.status_code < 300, said.text
        found = http.post("/v1/memory/recall", json={"query": "works"})
        assert found.status_code == 200
        health = http.get("/v1/health").json()
        assert health["state"] in ("ok", "warning", "critical", "unknown")
        assert http.get("/metrics").status_code == 200
        report = http.get("/v1/security/check").json()
        assert report["mode"] == "roles"
    with guarded.admin() as admin:
        admin.execute("UPDATE alembic_version SET version_num = '0025'")
    behind = subprocess.run(
        [*CALL, "up"], env=environment(tmp_path / "up", **settings), capture_output=True, text=True
    )
    assert behind.returncode == 9
    assert "[schema_needs_owner]" in behind.stderr
    assert "AEGIS_OWNER_URL" in behind.stderr


async def test_the_route_is_the_operators_and_the_tool_reads(
    db: Database, settings: Settings
) -> None:
    assert scope_of("GET", "/v1/security/check") == "operator"
    server = create_server(Memory(db, None, namespace="default"), security=Security(db, settings))
    async with Client(server) as agent:
        (tool,) = [t for t in (await agent.list_tools()).tools if t.name == "security_check"]
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        found = await agent.call_tool("security_check", {})
        assert found.structured_content is not None
        assert found.structured_content["mode"] == "single"
        assert {f["id"] for f in found.structured_content["not_ok"]} >= {"hba-trust"}
