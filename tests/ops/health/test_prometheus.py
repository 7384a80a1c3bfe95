"""What Prometheus reads: the format, the rules, who may read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING

import httpx2
import pytest

from aegis.api.app import create_app
from aegis.client import Aegis
from aegis.ops.health import Health, grafana
from aegis.ops.health.exporting import expose
from aegis.ops.health.exposition import Family, render

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database

TOKEN = "aegis_op_" + "t" * 43


def promtool() -> str:
    """Return the program; `.ci/run` sees to it that it is there."""
    found = shutil.which("promtool")
    assert found is not None, "promtool is missing: apt-get install prometheus"
    return found


def names_in(name: str) -> set[str]:
    text = resources.files(grafana).joinpath(name).read_text()
    return set(re.findall(r"\baegis_[a-z_]+", text))


@pytest.mark.servers("18", "16")
async def test_promtool_accepts_what_is_exposed_and_the_rules(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    text = await expose(db, Health(db, settings), now=datetime.now(UTC))
    checked = subprocess.run(
        [promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert "aegis_up 1\n" in text
    assert re.search(r'aegis_check_state\{check="durability",group="settings"\} 3\n', text)
    rules, dashboard = grafana.write_files(tmp_path / "there")
    done = subprocess.run([promtool(), "check", "rules", rules], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    # What rules and the dashboard ask for is what is told.
    told = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert names_in(rules.name) <= told
    assert names_in(dashboard.name) <= told
    assert json.loads(dashboard.read_text())["panels"]


def test_the_rules_fire_and_stop(tmp_path: Path) -> None:
    (rules, _) = grafana.write_files(tmp_path)
    case = tmp_path / "case.yml"
    labels = 'check="hba-trust",group="access",instance="a"'
    case.write_text(
        f"""
rule_files: [{rules.name}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'aegis_up{{instance="a"}}'
        values: '1x10 0x10'
      - series: 'aegis_check_state{{{labels}}}'
        values: '3x4 0x20'
    alert_rule_test:
      - eval_time: 3m
        alertname: AegisCheckCritical
        exp_alerts:
          - exp_labels: {{severity: critical, check: hba-trust, group: access, instance: a}}
            exp_annotations:
              summary: Check hba-trust is critical.
              description: See `aegis doctor --only hba-trust --fix-hint` on a.
      - eval_time: 8m
        alertname: AegisCheckCritical
        exp_alerts: []
      - eval_time: 8m
        alertname: AegisDatabaseDown
        exp_alerts: []
      - eval_time: 15m
        alertname: AegisDatabaseDown
        exp_alerts:
          - exp_labels: {{severity: critical, instance: a}}
            exp_annotations:
              summary: The database does not answer.
              description: a serves, but its database does not answer.
"""
    )
    done = subprocess.run(
        [promtool(), "test", "rules", case], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_values_and_labels_are_escaped() -> None:
    family = Family(
        name="m",
        help="a\\b\nc",
        samples=[({"t": 'x"\\\n'}, float("nan")), ({}, float("inf")), ({}, -float("inf"))],
    )
    assert render([family, Family(name="none", help="")]) == (
        '# HELP m a\\\\b\\nc\n# TYPE m gauge\nm{t="x\\"\\\\\\n"} NaN\nm +Inf\nm -Inf\n'
    )


async def test_a_database_that_is_gone_is_told_as_such(db: Database, settings: Settings) -> None:
    health = Health(db, settings)
    await db.close()
    text = await expose(db, health, now=datetime.now(UTC))
    assert "aegis_up 0\n" in text
    assert "aegis_pool_waiting 0\n" in text


async def test_many_who_ask_are_answered_by_one_look(db: Database, settings: Settings) -> None:
    health = Health(db, settings)
    first = await health.recent()
    assert await health.recent() is first
    assert await health.recent(max_age_s=0) is not first


async def _get(
    client: Aegis, path: str, *, host: str, headers: dict[str, str] | None = None
) -> int:
    transport = httpx2.ASGITransport(app=create_app(client, token=TOKEN), client=(host, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        return (await http.get(path, headers=headers or {})).status_code


async def test_the_operator_reads_metrics_and_others_only_if_a_setting_says_so(
    db: Database, settings: Settings
) -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}
    closed = Aegis(db, None, replace(settings, embedder="none"))
    assert await _get(closed, "/metrics", host="127.0.0.1") == 401
    assert await _get(closed, "/metrics", host="10.0.0.9", headers=token) == 200
    opened = Aegis(db, None, replace(settings, embedder="none", prometheus_access="loopback"))
    assert await _get(opened, "/metrics", host="127.0.0.1") == 200
    assert await _get(opened, "/metrics", host="::1") == 200
    assert await _get(opened, "/metrics", host="10.0.0.9") == 401
    # Behind a proxy on this machine everybody would come from here.
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert await _get(opened, "/metrics", host="127.0.0.1", headers={name: "x"}) == 401
    assert await _get(opened, "/v1/health/checks", host="127.0.0.1") == 401
