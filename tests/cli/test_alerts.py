"""`aegis alerts …`, `aegis metrics collect|watch|rules`, `aegis sessions prices`."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import psycopg

import aegis as library
from aegis.alerts.models import Condition

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def observe(dsn: str, **more: Any) -> None:
    async def work() -> None:
        async with library.connect(dsn) as a:
            fields: dict[str, Any] = {
                "id": "backup.age",
                "source": "doctor",
                "state": "warning",
                "title": "Backup is 31 hours old",
                "observed": "31 h",
                "threshold": "26 h",
                "hold_s": 0,
                **more,
            }
            condition = Condition(**fields)
            await a.alerts.observe("doctor", [condition])

    asyncio.run(work())


def test_an_alert_is_listed_shown_taken_on_and_marked(aegis: Shell, dsn: str) -> None:
    assert "Nothing is wrong" in aegis("alerts", "list").err
    observe(dsn)
    listed = aegis("alerts", "list")
    assert all(text in listed.out for text in ("Backup is 31 hours old", "26 h", "firing"))
    (item,) = aegis("alerts", "list", "--json").json["items"]
    number = str(item["id"])
    taken = aegis("alerts", "ack", number, "--note", "running one", "--by", "ann")
    assert taken.out == f"Alert {number} (Backup is 31 hours old): acknowledged.\n"
    shown = aegis("alerts", "show", number)
    assert all(text in shown.out for text in ("running one", "ann", "fired"))
    assert aegis("alerts", "false", number).out.endswith(": false.\n")
    assert "marked_false" in aegis("alerts", "history").out
    wrong = aegis("alerts", "ack", "999")
    assert (wrong.status != 0, "[not_found]" in wrong.err) == (True, True)


def test_silences_and_rules(aegis: Shell, dsn: str) -> None:
    made = aegis("alerts", "silence", "--condition", "backup.*", "--for", "2h", "--json").json
    assert "backup.*" in aegis("alerts", "silences").out
    assert aegis("alerts", "unsilence", str(made["id"])).status == 0
    assert "Nothing is silenced" in aegis("alerts", "silences").err
    for wrong in (["--for", "soon"], [], ["--for", "2h", "--label", "x"]):
        assert aegis("alerts", "silence", "--source", "a", *wrong).status == 2
    assert aegis("alerts", "rules", "set", "night", "--hold", "5m", "--condition", "b*").status == 0
    assert aegis("alerts", "rules", "set", "night", "--least", "critical").status == 0
    (rule,) = [
        one for one in aegis("alerts", "rules", "list", "--json").json["items"]
        if one["name"] == "night"
    ]  # fmt: skip
    assert (rule["hold_s"], rule["condition"], rule["least_severity"]) == (300, "b*", "critical")
    assert "night" in aegis("alerts", "rules", "list").out
    assert aegis("alerts", "rules", "delete", "night").status == 0


class Hook(http.server.BaseHTTPRequestHandler):
    got: list[Any]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        type(self).got.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


def test_channels_are_tested_and_an_alert_is_sent(aegis: Shell, dsn: str, monkeypatch: Any) -> None:
    handler = type("H", (Hook,), {"got": []})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/secret-token"
        monkeypatch.setenv(
            "AEGIS_ALERT_CHANNELS", f"ops={url} down=http://127.0.0.1:9/secret-token"
        )
        tested = aegis("alerts", "test")
        assert tested.status == 1
        assert "ops: arrived" in tested.out
        assert "down: Channel 'down' (http://127.0.0.1) cannot be reached" in tested.out
        assert aegis("alerts", "test", "ops").status == 0
        observe(dsn)
        # The first of a group waits for others, so that this comes with a later round.
        assert "wait" in aegis("alerts", "send").out
        listed = aegis("alerts", "channels")
        dead = aegis("alerts", "deliveries", "--json")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [message["alerts"][0]["kind"] for message in handler.got][:2] == ["test", "test"]
    assert "secret-token" not in tested.out + tested.err + listed.out + dead.out
    assert {item["channel"] for item in dead.json["items"]} == {"ops", "down"}


def test_metrics_are_collected_watched_and_ruled(aegis: Shell) -> None:
    once = aegis("metrics", "collect", "--once", "--source", "cgroup")
    assert once.status == 0, once.err
    assert "host/" in once.out
    done = aegis("metrics", "collect", "--once", "--source", "process", "--json").json
    assert done["recorded"] == 1
    assert done["samples"][0]["cpu_percent"] is not None
    assert aegis("metrics", "watch", "--json").json["points"] > 0
    assert "Nothing unusual" in aegis("metrics", "anomalies").err
    missing = aegis("metrics", "collect", "--once", "--source", "docker")
    assert (missing.status, "docker" in missing.err) == (1, True)
    rule = ["metrics", "rules", "set", "hot", "--kind", "threshold", "--value", "90"]
    assert aegis(*rule, "--for", "5m").status == 0
    assert "hot" in aegis("metrics", "rules", "list").out
    assert aegis("metrics", "rules", "delete", "hot").status == 0
    assert aegis("metrics", "collect", "--every", "0s").status == 2


def test_prices_of_models_are_shown_and_set(aegis: Shell) -> None:
    assert "list price" in aegis("sessions", "prices", "list").out
    done = aegis("sessions", "prices", "set", "claude-new", "--input", "4", "--output", "20")
    assert done.out == "claude-new is priced; 0 session(s) worked out anew.\n"
    (new,) = [
        one for one in aegis("sessions", "prices", "list", "--json").json["items"]
        if one["model"] == "claude-new"
    ]  # fmt: skip
    assert float(new["cache_read_usd"]) == 0.4


def test_messages_that_were_given_up_are_sent_again_by_number_or_channel(
    aegis: Shell, dsn: str
) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO alert_deliveries (channel, group_key, entries, critical, state) "
            "VALUES ('ops', 'a', '[]', false, 'dead'), ('team', 'b', '[]', false, 'dead')"
        )
    dead = aegis("alerts", "deliveries", "--state", "dead", "--json").json["items"]
    assert aegis("alerts", "deliveries", "--id", str(dead[0]["id"])).status == 2
    assert aegis("alerts", "deliveries", "--retry", "--id", "999").status == 3
    done = aegis("alerts", "deliveries", "--retry", "--channel", "ops")
    assert "1 message(s) will be tried again" in done.out + done.err
    number = next(item["id"] for item in dead if item["channel"] == "team")
    done = aegis("alerts", "deliveries", "--retry", "--id", str(number))
    assert "1 message(s) will be tried again" in done.out + done.err
    assert aegis("alerts", "deliveries", "--state", "dead", "--json").json["items"] == []
