"""`aegis hook` as Claude Code runs it: a process that always ends with 0 and loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aegis.config import spool_folder
from aegis.sessions.spool import claim, read_batches
from tests.serving import CALL, environment, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def hook(
    data_dir: Path, event: str, given: Any, **settings: str
) -> subprocess.CompletedProcess[str]:
    text = given if isinstance(given, str) else json.dumps({"session_id": "s1", **given})
    return subprocess.run(
        [*CALL, "hook", event],
        input=text,
        capture_output=True,
        text=True,
        env=environment(data_dir, **settings),
    )


def spooled(data_dir: Path, url: str | None = None) -> list[Any]:
    path = claim(spool_folder(data_dir, url))
    if path is None:
        return []
    return [json.loads(line) for batch in read_batches(path, 100) for line in batch]


def test_event_is_kept_where_there_is_no_database(tmp_path: Path) -> None:
    for n in range(3):
        done = hook(tmp_path, "UserPromptSubmit", {"prompt": f"p{n}"})
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [e["text"] for e in spooled(tmp_path)] == ["p0", "p1", "p2"]


@pytest.mark.parametrize(
    ("event", "given"),
    [("Stop", ""), ("Stop", "{"), ("Stop", "[1]"), ("Stop", "{}"), ("No such event!", "null"),
     ("Stop", '{"a":' * 50_000)],
)  # fmt: skip
def test_broken_input_ends_with_0_and_says_nothing_to_the_agent(
    tmp_path: Path, event: str, given: str
) -> None:
    done = hook(tmp_path, event, given)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("aegis hook: ")
    assert len(done.stderr.splitlines()) == 1


def test_event_that_nobody_knows_is_kept(tmp_path: Path) -> None:
    assert hook(tmp_path, "BrandNew", {}).returncode == 0
    assert [e["event"] for e in spooled(tmp_path)] == ["BrandNew"]


@pytest.mark.parametrize(
    "settings",
    [{"database_url": "postgresql://x:y@127.0.0.1:9/x"}, {"api_port": "many"}, {"namespace": " "}],
)
def test_wrong_settings_and_a_database_that_is_away_end_with_0(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    done = hook(tmp_path, "Stop", {}, **settings)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(spooled(tmp_path, settings.get("database_url"))) == 1


def test_folder_that_cannot_be_written_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hook(tmp_path / "file", "Stop", {})
    assert done.returncode == 0
    assert "cannot be written" in done.stderr


def test_input_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b'{"session_id": "s1"}')
        done = subprocess.run(
            [*CALL, "hook", "Stop"], stdin=reader, env=environment(tmp_path), timeout=60
        )
    finally:
        os.close(writer)
        os.close(reader)
    assert done.returncode == 0
    assert len(spooled(tmp_path)) == 1


@pytest.mark.parametrize("given", ["{", '{"session_id": "s1"}'])
def test_agent_that_is_gone_and_reads_nothing_is_no_error(tmp_path: Path, given: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*CALL, "hook", "Stop"], input=given.encode(), stdout=writer, stderr=writer,
            env=environment(tmp_path),
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == 0
    kept = [] if given == "{" else spooled(tmp_path)
    assert len(kept) == (given != "{")


def test_hook_loads_no_driver_no_click_and_no_http(tmp_path: Path) -> None:
    code = (
        "import sys; from aegis.cli.hook import run; run('Stop'); "
        "print(*(set(sys.modules) & {'click', 'psycopg', 'http.client', 'pydantic', 'asyncio'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input='{"session_id": "s"}', capture_output=True, text=True,
        env=environment(tmp_path),
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_served_database_answers_and_gets_what_was_spooled_before(tmp_path: Path, dsn: str) -> None:
    given = {"database_url": dsn, "embedder": "none"}
    hook(tmp_path, "PostToolUse", {"tool_name": "Edit"}, **given)
    with serving(tmp_path, **given) as served, served.http() as http:
        fact = {"event_type": "error", "summary": "The backup failed: the disk was full."}
        http.post("/v1/memory/episodes", json=fact).raise_for_status()
        # The first question waits for what a later one has loaded.
        http.post("/v1/memory/recall", json={"query": "backup"}).raise_for_status()
        asked = {"prompt": "Why did the backup fail?"}
        answers = [hook(tmp_path, "UserPromptSubmit", asked | {"session_id": f"q{n}"}, **given)
                   for n in range(5)]  # fmt: skip
        assert {done.returncode for done in answers} == {0}
        told = next(json.loads(done.stdout) for done in answers if done.stdout)
        output = told["hookSpecificOutput"]
        assert output["hookEventName"] == "UserPromptSubmit"
        assert "the disk was full" in output["additionalContext"]
        events = http.get("/v1/sessions/events").json()["items"]
        assert [e["event"] for e in events] == ["PostToolUse", *["UserPromptSubmit"] * 5]


def test_commands_show_what_hooks_spooled(
    aegis: Shell, environment: pytest.MonkeyPatch, tmp_path: Path, dsn: str
) -> None:
    given = {"prompt": "Add a cart", "cwd": "/srv/shop"}
    hook(tmp_path / "data", "UserPromptSubmit", given, database_url=dsn)
    assert "Add a cart" in aegis("sessions", "list").out
    page = aegis("sessions", "list", "--json").json
    assert [s["session_id"] for s in page["items"]] == ["s1"]
    assert "/srv/shop" in aegis("sessions", "show", "s1").out
    assert aegis("sessions", "show", "s1", "--json").json["session"]["prompts"] == 1
    assert json.loads(aegis("sessions", "tail", "--json").out)["event"] == "UserPromptSubmit"
    assert "Add a cart" in aegis("sessions", "tail", "s1").out
    assert aegis("sessions", "sweep", "--json").json["closed"] == []
    assert aegis("sessions", "show", "nobody").status == 3
    (tmp_path / "old.jsonl").write_text('{"sessionId": "s2", "timestamp": "2026-05-01T09:00:00Z"}')
    report = aegis("sessions", "import", str(tmp_path / "old.jsonl"), "--json").json
    assert (report["files"], report["sessions"]) == (1, 1)


def test_install_and_uninstall_leave_the_settings_as_they_were(
    aegis: Shell, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    environment.chdir(tmp_path)
    path = tmp_path / "settings.json"
    path.write_text('{\n    "permissions": {"allow": ["Bash(ls)"]}\n}')
    before = path.read_bytes()
    assert aegis("hook", "install").status == 0
    command = json.loads(path.read_text())["hooks"]["Stop"][0]["hooks"][0]["command"]
    assert command.endswith(" hook Stop")
    assert aegis("hook", "install", "--json").json["changed"] is False
    assert aegis("hook", "install", "--uninstall").status == 0
    assert path.read_bytes() == before
    assert aegis("hook", "install", "--project").status == 0
    assert (tmp_path / ".claude" / "settings.json").exists()
    path.write_text("{ broken")
    refused = aegis("hook", "install", "--user")
    assert refused.status == 8
    assert "line 1" in refused.err
    assert aegis("hook", "plugin", str(tmp_path / "plugin")).status == 0
