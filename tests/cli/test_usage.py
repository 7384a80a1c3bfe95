"""`aegis usage`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def event(event_id: str, **fields: Any) -> str:
    given = {
        "event_id": event_id,
        "customer_id": "acme",
        "endpoint": "/things/{id}",
        "method": "GET",
        "status_code": 200,
        "response_time_ms": 20,
        "cost_usd": 0.1,
        **fields,
    }
    return json.dumps(given) + "\n"


def test_imported_once_shown_ranked_and_reconciled(aegis: Shell, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("".join(event(f"e{n}") for n in range(3)))
    done = aegis("usage", "import", str(file))
    assert (done.status, done.out.split(";")[0]) == (0, "Recorded 3 events")
    assert aegis("usage", "import", str(file), "--json").json["duplicates"] == 3
    report = aegis("usage", "show", "--customer", "acme", "--by", "all", "--json").json
    assert [(i["calls"], i["cost_usd"]) for i in report["items"]] == [(3, "0.300000")]
    shown = aegis("usage", "show", "--group", "endpoint")
    assert "GET /things/{id}" in shown.out
    assert "acme" in aegis("usage", "top").out
    assert aegis("usage", "top", "endpoint", "--json").json["items"][0]["calls"] == 3
    page = aegis("usage", "events", "-n", "2", "--json").json
    rest = aegis("usage", "events", "-n", "2", "--cursor", page["next_cursor"], "--json").json
    assert len({e["id"] for e in page["items"] + rest["items"]}) == 3
    assert "More: --cursor" in aegis("usage", "events", "-n", "2").err
    assert "what the events add up to" in aegis("usage", "reconcile").out
    assert aegis("usage", "reconcile", "--json", "--fix").json["differences"] == []
    assert aegis("usage", "reconcile", "--month", "1999-01").status != 0
    assert aegis("usage", "show", "--by", "week").status != 0


def test_a_bad_line_is_named_and_the_rest_can_be_kept(aegis: Shell, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    late = (datetime.now(UTC) - timedelta(days=36)).isoformat()
    file.write_text(event("a") + event("b", created_at=late) + event("c"))
    refused = aegis("usage", "import", str(file))
    assert refused.status != 0
    assert "line 2: created_at is" in refused.err
    kept = aegis("usage", "import", str(file), "--partial")
    assert kept.out.startswith("Recorded 2 events; 0 were known, 1 refused")
    assert kept.err.startswith("line 2: created_at is")
    file.write_text(event("d") + "{nonsense\n")
    assert "Line 2 of" in aegis("usage", "import", str(file)).err
    file.write_bytes(b"\xff\xfe\n")
    assert "cannot be read" in aegis("usage", "import", str(file)).err
    assert "cannot be read" in aegis("usage", "import", str(tmp_path / "none")).err


def test_months_are_listed_and_kept(aegis: Shell) -> None:
    now = datetime.now(UTC)
    listed = aegis("usage", "partitions", "--json").json
    assert f"{now:%Y-%m}-01" in [p["month"] for p in listed["items"]]
    assert f"{now:%Y-%m}" in aegis("usage", "partitions").out
    assert "--yes" in aegis("usage", "partitions", "--keep-house").err
    assert aegis("usage", "partitions", "--keep-house", "--yes").status == 0
    assert "late events still come" in aegis("usage", "export", f"{now:%Y-%m}").err
    assert "write one such as 2026-05" in aegis("usage", "export", "May").err
